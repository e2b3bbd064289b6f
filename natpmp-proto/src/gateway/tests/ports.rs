//! Which external port a new mapping gets.

use super::*;

/// G10
#[test]
fn the_suggested_port_is_given_if_it_is_free() {
    let mut rig = Rig::new();
    assert_eq!(rig.opens(client(2), &map(UDP, 4000, 5000, 600)), 5000);
    assert_eq!(rig.opens(client(2), &map(UDP, 4001, 1024, 600)), 1024);
    assert_eq!(rig.opens(client(2), &map(UDP, 4002, 65_535, 600)), 65_535);
}

/// G10
#[test]
fn a_suggested_port_that_is_taken_reserved_denied_or_0_becomes_another_that_is_free() {
    let config = Config::new().deny(PortRange::new(7000, 7000).unwrap()).unwrap();
    let mut rig: Rig = Rig::with(config);
    rig.opens(client(3), &map(UDP, 5000, 5000, 600));
    rig.opens(client(3), &map(TCP, 6000, 6000, 600));
    for (port, suggested) in [(4000, 0), (4001, 5000), (4002, 6000), (4003, 7000), (4004, 80)] {
        assert_eq!(rig.opens(client(2), &map(UDP, port, suggested, 600)), port, "the same as inside, if it is free");
    }
    for (port, suggested) in [(5000, 0), (6000, 6000), (7000, 7000)] {
        let given = rig.opens(client(2), &map(UDP, port, suggested, 600));
        assert!(given >= 1024 && given != 7000 && rig.open_ports().iter().filter(|&&open| open == given).count() == 1);
    }
}

/// G09: the four combinations of client and protocol on one external port.
#[test]
fn the_companion_port_is_for_the_same_client_only() {
    for protocol in Protocol::ALL {
        let other = if protocol == UDP { TCP } else { UDP };
        let mut rig = Rig::new();
        rig.opens(client(2), &map(protocol, 4000, 5000, 600));
        assert_ne!(rig.opens(client(3), &map(protocol, 4000, 5000, 600)), 5000, "taken");
        assert_ne!(rig.opens(client(3), &map(other, 4001, 5000, 600)), 5000, "reserved for the first");
        assert_ne!(rig.opens(client(2), &map(protocol, 4002, 5000, 600)), 5000, "taken by itself");
        assert_eq!(rig.opens(client(2), &map(other, 4003, 5000, 600)), 5000, "its companion");
        assert_ne!(rig.opens(client(2), &map(other, 4004, 5000, 600)), 5000, "both are taken now");
    }
}

/// G09: while the mapping lives.
#[test]
fn the_companion_port_is_reserved_until_the_last_of_both_is_gone() {
    let mut rig = Rig::new();
    rig.opens(client(2), &map(UDP, 4000, 5000, 600));
    rig.opens(client(2), &map(TCP, 4000, 5000, 600));
    for protocol in Protocol::ALL {
        assert_ne!(rig.opens(client(3), &map(UDP, 1 + u16::from(protocol.opcode()), 5000, 600)), 5000);
        rig.waits(client(2), &Request::delete(protocol, 4000));
        assert_eq!(rig.settle().len(), 1);
    }
    assert_eq!(rig.opens(client(3), &map(UDP, 4000, 5000, 600)), 5000);
}

/// G09: from the request on.
#[test]
fn a_port_that_the_nat_is_being_asked_for_is_taken() {
    let mut rig = Rig::new();
    rig.waits(client(2), &map(UDP, 4000, 5000, 600));
    rig.waits(client(3), &map(TCP, 4000, 5000, 600));
    let (first, second) = (rig.nat(), rig.nat());
    assert_eq!(first.mapping().external_port, 5000);
    assert_ne!(second.mapping().external_port, 5000);
}

/// G09: UDP and TCP are mapped apart.
#[test]
fn the_two_protocols_of_one_internal_port_are_two_mappings() {
    let mut rig = Rig::new();
    rig.opens(client(2), &map(UDP, 4000, 5000, 60));
    rig.opens(client(2), &map(TCP, 4000, 6000, 600));
    rig.pass(61);
    assert_eq!(rig.nat().mapping().protocol, UDP);
    rig.nat_is_left_alone();
    let granted = rig.mapped(TCP, 4000, 6000, 600);
    assert_eq!(rig.answer(client(2), &map(TCP, 4000, 0, 600)), granted);
}

/// What keeps others from guessing.
#[test]
fn a_port_of_the_gateways_own_choice_depends_on_the_seed() {
    let mut given: Vec<u16> = (0..50)
        .map(|seed| {
            let mut rig: Rig = Rig::with(Config::new().seed(seed));
            rig.opens(client(2), &map(UDP, 80, 0, 600))
        })
        .collect();
    given.sort_unstable();
    given.dedup();
    assert!(given.len() > 45, "{given:?}");
}

/// A full range is not searched again for everybody who asks.
#[test]
fn that_no_port_is_free_is_remembered_until_one_is_and_companions_are_found_all_the_same() {
    let config = Config::new().ports(PortRange::new(6000, 6003).unwrap());
    let mut rig: Rig = Rig::with(config);
    for port in 0..4 {
        rig.opens(client(2), &map(UDP, 100 + port, 0, 600));
    }
    let refused = |rig: &mut Rig, number, protocol| {
        let expected = rig.refused(protocol, 200, Refusal::OutOfResources);
        assert_eq!(rig.answer(client(number), &map(protocol, 200, 0, 600)), expected);
    };
    refused(&mut rig, 2, UDP);
    // A search begins with a random port.
    let state = rig.gateway.random.state();
    refused(&mut rig, 3, UDP);
    refused(&mut rig, 3, TCP);
    let mut companions: Vec<u16> = (0..4).map(|port| rig.opens(client(2), &map(TCP, 100 + port, 0, 600))).collect();
    companions.sort_unstable();
    assert_eq!(companions, [6000, 6001, 6002, 6003]);
    refused(&mut rig, 2, TCP);
    assert_eq!(rig.gateway.random.state(), state, "nothing was searched for");

    let of_it: Vec<_> = rig.gateway.mappings().filter(|open| open.mapping.external_port == 6002).collect();
    for open in of_it {
        let NatMapping { protocol, internal, .. } = open.mapping;
        rig.waits(client(2), &Request::delete(protocol, internal.port()));
        assert_eq!(rig.settle().len(), 1);
    }
    assert_eq!(rig.opens(client(3), &map(UDP, 300, 0, 600)), 6002, "it is free for everybody");
    refused(&mut rig, 3, UDP);
}

/// The search for a free port comes round at the end of all ports.
#[test]
fn a_range_of_ports_that_ends_at_65535_and_is_used_up_is_refused() {
    for seed in 0..8 {
        let ports = PortRange::new(65_530, 65_535).unwrap();
        let mut rig: Rig = Rig::with(Config::new().seed(seed).ports(ports));
        for port in 0..6 {
            rig.opens(client(2), &map(UDP, 4000 + port, 0, 600));
        }
        assert_eq!(rig.open_ports(), [65_530, 65_531, 65_532, 65_533, 65_534, 65_535]);
        let refused = rig.refused(UDP, 4000, Refusal::OutOfResources);
        assert_eq!(rig.answer(client(3), &map(UDP, 4000, 0, 600)), refused);
    }
}
