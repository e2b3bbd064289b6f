use std::collections::HashMap;
use std::vec::Vec;

use super::*;

fn key(client: u8, protocol: Protocol, internal_port: u16) -> Key {
    Key { client: Ipv4Addr::new(10, 0, 0, client), protocol, internal_port }
}

#[test]
fn a_mapping_takes_no_more_than_48_bytes() {
    let growth = size_of::<Table<1000>>() - size_of::<Table<0x10>>();
    assert!(growth <= 48 * (1000 - 16), "{growth}");
}

/// Against a plain map, through tens of thousands of random operations on a small table that is often full.
#[test]
fn it_agrees_with_a_plain_map_through_any_history() {
    const N: usize = 12;
    for seed in 1..40u32 {
        let mut table: Table<N> = Table::new(seed);
        let mut model: HashMap<(u8, u8, u16), (u16, u16, u32)> = HashMap::new();
        let mut random = seed;
        let mut next = |limit: u32| {
            random ^= random << 13;
            random ^= random >> 17;
            random ^= random << 5;
            random % limit
        };
        for _ in 0..1_500 {
            let protocol = Protocol::ALL[next(2) as usize];
            let (client, port) = (next(4) as u8, next(6) as u16);
            let key = key(client, protocol, port);
            let id = (client, protocol.opcode(), port);
            match (table.find(&key), next(4)) {
                (None, _) => {
                    assert!(!model.contains_key(&id));
                    let external = 100 + next(8) as u16;
                    let is_free = model.iter().all(|(&(other, opcode, _), &(_, taken, _))| {
                        taken != external || (other == client && opcode != protocol.opcode())
                    });
                    assert_eq!(table.is_port_free(external, protocol, key.client), is_free);
                    if !is_free {
                        continue;
                    }
                    let inserted = table.insert(&key, external);
                    assert_eq!(inserted.is_some(), model.len() < N, "full is full");
                    if let Some(index) = inserted {
                        let look = next(50);
                        table.add_check(index, look);
                        model.insert(id, (index, external, look));
                    }
                }
                (Some(index), 0) => {
                    assert_eq!(model.remove(&id).map(|entry| entry.0), Some(index));
                    table.remove(index);
                }
                (Some(index), 1) => {
                    let look = next(50);
                    table.move_check(index, look);
                    model.get_mut(&id).unwrap().2 = look;
                }
                (Some(index), _) => {
                    table.cancel_check(index);
                    let look = next(50);
                    table.add_check(index, look);
                    model.get_mut(&id).unwrap().2 = look;
                }
            }
            check(&table, &model);
        }
    }
}

fn check<const N: usize>(table: &Table<N>, model: &HashMap<(u8, u8, u16), (u16, u16, u32)>) {
    assert_eq!(table.len(), model.len());
    assert_eq!(table.iter().count(), model.len());
    assert_eq!(table.first_check().map(|(_, look)| look), model.values().map(|entry| entry.2).min());
    for client in 0..4 {
        let address = Ipv4Addr::new(10, 0, 0, client);
        let expected = model.keys().filter(|id| id.0 == client).count();
        assert_eq!(usize::from(table.count_of(address)), expected);
        let listed: Vec<u16> = std::iter::successors(table.first_of(address), |&index| table.next_of(index)).collect();
        assert_eq!(listed.len(), expected);
    }
}

#[test]
fn the_queue_gives_what_came_first() {
    let mut table: Table<4> = Table::new(7);
    let indices: Vec<u16> =
        (0..3).map(|port| table.insert(&key(1, Protocol::Udp, port), 100 + port).unwrap()).collect();
    for &index in &indices {
        table.enqueue(index, Phase::ToInstall);
    }
    assert_eq!(table.dequeue(), Some(indices[0]));
    table.enqueue(indices[0], Phase::ToRemove);
    assert_eq!(
        [table.dequeue(), table.dequeue(), table.dequeue()],
        [Some(indices[1]), Some(indices[2]), Some(indices[0])]
    );
    assert_eq!(table.dequeue(), None);
}

/// What is looked for is found after a few steps, whatever the clients choose.
#[test]
fn what_differs_in_anything_is_spread_over_the_places_of_the_table() {
    const N: usize = 256;
    let table: Table<N> = Table::new(7);
    let different = |places: &mut dyn Iterator<Item = usize>| places.collect::<std::collections::HashSet<_>>().len();
    let of_ports = |first: u16| first..first + 256;
    // At random, 162 of 256 are taken on the average.
    for protocol in Protocol::ALL {
        for first in [0, 1_024, 65_000] {
            let places = different(&mut of_ports(first).map(|port| table.key_bucket(&key(1, protocol, port))));
            assert!(places > 130, "{places} by internal port");
            let places = different(&mut of_ports(first).map(|port| table.port_bucket(port)));
            assert!(places > 130, "{places} by external port");
        }
    }
    let places = different(&mut (0..=255).map(|client| table.key_bucket(&key(client, Protocol::Udp, 4000))));
    assert!(places > 130, "{places} by client");
    let apart = of_ports(0).filter(|&port| {
        table.key_bucket(&key(1, Protocol::Udp, port)) != table.key_bucket(&key(1, Protocol::Tcp, port))
    });
    assert!(apart.count() > 240, "by protocol");
    let seeds = (0..256).map(|seed| Table::<N>::new(seed).key_bucket(&key(1, Protocol::Udp, 4000)));
    assert!(different(&mut seeds.into_iter()) > 130, "by seed");
}

#[test]
fn clients_come_and_go_in_any_order_and_no_other_is_lost_with_them() {
    const N: usize = 16;
    for seed in 0..20 {
        let mut table: Table<N> = Table::new(seed);
        for round in 0..4 {
            let clients = round * 16..(round + 1) * 16;
            let mut indices: Vec<(u8, u16)> = Vec::new();
            for client in clients {
                let index = table.insert(&key(client, Protocol::Udp, 4000), u16::from(client));
                indices.push((client, index.expect("as many clients as mappings")));
            }
            for step in 0..N {
                let (gone, index) = indices.remove((7 * step + usize::from(round)) % indices.len());
                table.remove(index);
                assert_eq!(table.count_of(Ipv4Addr::new(10, 0, 0, gone)), 0);
                for (client, index) in &indices {
                    assert_eq!(table.first_of(Ipv4Addr::new(10, 0, 0, *client)), Some(*index), "after {gone} went");
                }
            }
        }
    }
}
