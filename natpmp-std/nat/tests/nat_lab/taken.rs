//! A client and a peer whose tuple another host uses: the kernel would drop what has a fixed port.

use std::net::SocketAddrV4;

use natpmp_proto::Protocol::{Tcp, Udp};

use super::RouterLab;
use super::traffic::{accept, connect, exchange, listener, talk, udp};

/// Two consoles play on port 3074, two phones call from port 5060: the other one spoke to this peer first.
#[test]
fn datagrams_to_a_peer_whose_tuple_is_taken_leave_from_another_port_and_to_others_from_the_mapped_one() {
    let Some(mut router_lab) = RouterLab::or_skip(2) else { return };
    let (peer, other_peer) = (udp(router_lab.internet(), 7000), udp(router_lab.internet(), 7001));
    let [peer_address, other_address] =
        [7000, 7001].map(|port| SocketAddrV4::new(router_lab.internet().address(), port));
    for (internal, external) in [(4000, 4000), (4001, 5000), (6000, 5500)] {
        let (client, other) = (udp(router_lab.client(0), internal), udp(router_lab.client(1), external));
        let taken = exchange(&other, peer_address, &peer);
        assert_eq!(taken.port(), external, "it is masqueraded to its own port");
        let there = router_lab.install(router_lab.mapping(0, Udp, internal, external));
        let from = exchange(&client, peer_address, &peer);
        assert_eq!((from.ip(), from != taken), (there.ip(), true), "{from}");
        // Wherever it is free, also after it was not.
        assert_eq!(exchange(&client, other_address, &other_peer), there);
        exchange(&other_peer, there, &client);
        assert_eq!(exchange(&other, peer_address, &peer), taken, "the other one goes on");
    }
    assert_eq!(router_lab.failed_insertions(), 0);
}

#[test]
fn connections_to_a_peer_whose_tuple_is_taken_leave_from_another_port_and_to_others_from_the_mapped_one() {
    let Some(mut router_lab) = RouterLab::or_skip(2) else { return };
    let (peer, other_peer) = (listener(router_lab.internet(), 7000), listener(router_lab.internet(), 7001));
    let [peer_address, other_address] =
        [7000, 7001].map(|port| SocketAddrV4::new(router_lab.internet().address(), port));
    for (internal, external) in [(4000, 4000), (4001, 5000), (6000, 5500)] {
        let mut other = connect(router_lab.client(1), external, peer_address).unwrap();
        let (mut other_accepted, taken) = accept(&peer);
        assert_eq!(taken.port(), external);
        let there = router_lab.install(router_lab.mapping(0, Tcp, internal, external));
        let mut stream = connect(router_lab.client(0), internal, peer_address).unwrap();
        let (mut accepted, from) = accept(&peer);
        assert_eq!((from.ip(), from != taken), (there.ip(), true), "{from}");
        talk(&mut stream, &mut accepted);
        let mut stream = connect(router_lab.client(0), internal, other_address).unwrap();
        let (mut accepted, from) = accept(&other_peer);
        assert_eq!(from, there);
        talk(&mut stream, &mut accepted);
        talk(&mut other, &mut other_accepted);
    }
    assert_eq!(router_lab.failed_insertions(), 0);
}

/// What the box masquerades to any port must not decide for the mapped ones.
#[test]
fn where_the_box_masquerades_at_random_what_is_mapped_keeps_its_port() {
    let Some(mut router_lab) = RouterLab::or_skip(1) else { return };
    router_lab.lab.router().nft("insert rule inet filter postrouting oifname wan0 masquerade random");
    let peer = udp(router_lab.internet(), 7000);
    let peer_address = SocketAddrV4::new(router_lab.internet().address(), 7000);
    for (internal, external) in [(4000, 4000), (4001, 5000)] {
        let there = router_lab.install(router_lab.mapping(0, Udp, internal, external));
        assert_eq!(exchange(&udp(router_lab.client(0), internal), peer_address, &peer), there);
    }
}
