//! Packets through mappings, in every direction.

use std::net::{SocketAddrV4, TcpListener, UdpSocket};

use natpmp_proto::Protocol::{Tcp, Udp};

use super::RouterLab;
use super::traffic::{accept, connect, exchange, is_refused, listener, receive, talk, udp};

#[test]
fn what_comes_from_the_internet_reaches_the_client_who_sees_who_sent_it() {
    let Some(mut router_lab) = RouterLab::or_skip(1) else { return };
    let there = router_lab.install(router_lab.mapping(0, Udp, 4000, 5000));
    router_lab.install(router_lab.mapping(0, Tcp, 4001, 5000));
    let (client, peer) = (udp(router_lab.client(0), 4000), udp(router_lab.internet(), 7000));
    let peer_address = SocketAddrV4::new(router_lab.internet().address(), 7000);
    assert_eq!(exchange(&peer, there, &client), peer_address);

    let client = listener(router_lab.client(0), 4001);
    let mut outer = connect(router_lab.internet(), 7000, there).unwrap();
    let (mut inner, from) = accept(&client);
    assert_eq!(from, peer_address);
    talk(&mut outer, &mut inner);
    talk(&mut inner, &mut outer);
}

/// The mapping is of the client's port, whoever begins (RFC 6886, sections 2 and 3.3).
#[test]
fn what_the_client_sends_from_a_mapped_port_leaves_from_the_external_one() {
    let Some(mut router_lab) = RouterLab::or_skip(1) else { return };
    let there = router_lab.install(router_lab.mapping(0, Udp, 4000, 5000));
    router_lab.install(router_lab.mapping(0, Tcp, 4001, 5001));
    let (client, peer) = (udp(router_lab.client(0), 4000), udp(router_lab.internet(), 7000));
    let peer_address = SocketAddrV4::new(router_lab.internet().address(), 7000);
    assert_eq!(exchange(&client, peer_address, &peer), there);

    let outside = listener(router_lab.internet(), 7001);
    let outside_address = SocketAddrV4::new(router_lab.internet().address(), 7001);
    let mut stream = connect(router_lab.client(0), 4001, outside_address).unwrap();
    let (mut accepted, from) = accept(&outside);
    assert_eq!(from, SocketAddrV4::new(*there.ip(), 5001));
    talk(&mut stream, &mut accepted);

    // Of the other protocol, and of another port.
    connect(router_lab.client(0), 4000, outside_address).unwrap();
    assert_ne!(accept(&outside).1.port(), 5000);
    let from = exchange(&udp(router_lab.client(0), 4001), peer_address, &peer);
    assert_eq!(from, SocketAddrV4::new(*there.ip(), 4001), "as it was masqueraded before");
}

/// G22.
#[test]
fn clients_reach_each_other_and_themselves_by_the_external_address() {
    let Some(mut router_lab) = RouterLab::or_skip(2) else { return };
    filter_what_is_bridged(&router_lab, false);
    let (there, answering, accepting) = hairpin(&mut router_lab);
    let itself = udp(router_lab.client(1), 6001);
    assert_eq!(exchange(&itself, there, &answering).ip(), there.ip());
    let mut outer = connect(router_lab.client(1), 0, there).unwrap();
    let (mut inner, _) = accept(&accepting);
    talk(&mut outer, &mut inner);
}

/// G22. The router's bridge then turns it round without the router, as on hosts with containers.
#[test]
fn clients_reach_each_other_by_the_external_address_where_bridges_are_filtered() {
    let Some(mut router_lab) = RouterLab::or_skip(2) else { return };
    if filter_what_is_bridged(&router_lab, true) {
        hairpin(&mut router_lab);
    }
}

/// From the first client to the second one, who listens there still.
fn hairpin(router_lab: &mut RouterLab) -> (SocketAddrV4, UdpSocket, TcpListener) {
    let there = router_lab.install(router_lab.mapping(1, Udp, 4000, 5000));
    let own = router_lab.install(router_lab.mapping(0, Udp, 4000, 5001));
    router_lab.install(router_lab.mapping(1, Tcp, 4000, 5000));
    let (asking, answering) = (udp(router_lab.client(0), 4000), udp(router_lab.client(1), 4000));
    assert_eq!(exchange(&asking, there, &answering), own, "seen as the internet would see it");
    assert_eq!(exchange(&answering, own, &asking), there, "and the other way round");
    let unmapped = udp(router_lab.client(0), 6000);
    assert_eq!(exchange(&unmapped, there, &answering).ip(), there.ip());
    let accepting = listener(router_lab.client(1), 4000);
    let mut outer = connect(router_lab.client(0), 0, there).unwrap();
    let (mut inner, from) = accept(&accepting);
    assert_eq!(from.ip(), there.ip());
    talk(&mut outer, &mut inner);
    talk(&mut inner, &mut outer);
    (there, answering, accepting)
}

/// Whether it could be done, on this kernel.
fn filter_what_is_bridged(router_lab: &RouterLab, yes: bool) -> bool {
    let value = if yes { "1" } else { "0" };
    router_lab.router().within(|| std::fs::write("/proc/sys/net/bridge/bridge-nf-call-iptables", value)).is_ok()
}

#[test]
fn what_the_router_passes_between_clients_without_a_mapping_is_left_alone() {
    let Some(mut router_lab) = RouterLab::or_skip(2) else { return };
    router_lab.install(router_lab.mapping(1, Udp, 4000, 4000));
    router_lab.lab.router().nft("insert rule inet filter forward iifname lan0 oifname lan0 accept");
    let to = router_lab.client(1).address();
    router_lab.client(0).ip(&["route", "add", &format!("{to}/32"), "via", "192.168.1.1"]);
    let (asking, answering) = (udp(router_lab.client(0), 6000), udp(router_lab.client(1), 4000));
    asking.send_to(b"directly", (to, 4000)).unwrap();
    assert_eq!(receive(&answering, b"directly"), SocketAddrV4::new(router_lab.client(0).address(), 6000));
}

#[test]
fn two_clients_have_the_same_port_each_by_another_external_one() {
    let Some(mut router_lab) = RouterLab::or_skip(2) else { return };
    let first = router_lab.install(router_lab.mapping(0, Udp, 4000, 4000));
    let second = router_lab.install(router_lab.mapping(1, Udp, 4000, 4001));
    let (one, other) = (udp(router_lab.client(0), 4000), udp(router_lab.client(1), 4000));
    let peer = udp(router_lab.internet(), 7000);
    let peer_address = SocketAddrV4::new(router_lab.internet().address(), 7000);
    exchange(&peer, first, &one);
    exchange(&peer, second, &other);
    assert_eq!(exchange(&one, peer_address, &peer), first);
    assert_eq!(exchange(&other, peer_address, &peer), second);
}

/// Somebody who goes on sending would otherwise stay with the decision of his first packet.
#[test]
fn a_peer_that_sent_before_the_port_was_mapped_comes_through_after() {
    let Some(mut router_lab) = RouterLab::or_skip(1) else { return };
    let mapping = router_lab.mapping(0, Udp, 4000, 5000);
    let there = SocketAddrV4::new(router_lab.lab.external_address(), 5000);
    let (client, peer) = (udp(router_lab.client(0), 4000), udp(router_lab.internet(), 7000));
    peer.connect(there).unwrap();
    peer.send(b"too early").unwrap();
    assert!(peer.recv(&mut [0; 1]).is_err(), "refused");
    router_lab.install(mapping);
    peer.send(b"now").unwrap();
    receive(&client, b"now");
}

#[test]
fn a_port_that_the_box_forwards_itself_stays_with_its_owner() {
    let Some(mut router_lab) = RouterLab::or_skip(2) else { return };
    let other = router_lab.client(1).address();
    router_lab
        .lab
        .router()
        .nft(&format!("insert rule inet filter prerouting iifname wan0 udp dport 5000 dnat ip to {other}"));
    let there = router_lab.install(router_lab.mapping(0, Udp, 4000, 5000));
    exchange(&udp(router_lab.internet(), 7000), there, &udp(router_lab.client(1), 5000));
}

#[test]
fn after_a_change_of_address_mappings_are_at_the_new_one() {
    let Some(mut router_lab) = RouterLab::or_skip(1) else { return };
    let (datagrams, streams) = (router_lab.mapping(0, Udp, 4000, 5000), router_lab.mapping(0, Tcp, 4000, 5000));
    let old = router_lab.install(datagrams);
    router_lab.install(streams);
    let (client, peer) = (udp(router_lab.client(0), 4000), udp(router_lab.internet(), 7000));
    let accepting = listener(router_lab.client(0), 4000);
    let _outer = connect(router_lab.internet(), 0, old).unwrap();
    let (mut inner, _) = accept(&accepting);
    exchange(&peer, old, &client);

    let new = "11.99.0.1".parse().unwrap();
    router_lab.lab.router().change_external_address(new);
    router_lab.set_external_address(Some(new));
    let outcomes = router_lab.apply(&[datagrams, streams].map(natpmp_proto::gateway::NatRequest::Install));
    assert_eq!(outcomes, [Ok(()), Ok(())]);
    let there = SocketAddrV4::new(new, 5000);
    exchange(&peer, there, &client);
    assert_eq!(exchange(&client, SocketAddrV4::new(router_lab.internet().address(), 7000), &peer), there);
    let mut outer = connect(router_lab.internet(), 0, there).unwrap();
    let (mut new_inner, _) = accept(&accepting);
    talk(&mut outer, &mut new_inner);
    assert!(super::traffic::is_reset_when_it_speaks(&mut inner), "what came through the old one has ended");

    router_lab.set_external_address(None);
    assert!(is_refused(router_lab.internet(), there));
    assert!(super::traffic::is_reset_when_it_speaks(&mut outer));
}
