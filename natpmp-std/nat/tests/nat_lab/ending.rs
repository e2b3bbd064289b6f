//! What becomes of connections when their mapping ends (G21).

use std::net::SocketAddrV4;

use natpmp_proto::Protocol::{Tcp, Udp};
use natpmp_proto::gateway::NatRequest;

use super::RouterLab;
use super::traffic::{accept, connect, exchange, is_refused, is_reset_when_it_speaks, listener, receive, talk, udp};

#[test]
fn after_its_removal_a_mapping_is_closed_for_what_is_new() {
    let Some(mut router_lab) = RouterLab::or_skip(1) else { return };
    let (datagrams, streams) = (router_lab.mapping(0, Udp, 4000, 4000), router_lab.mapping(0, Tcp, 4000, 4000));
    let there = router_lab.install(datagrams);
    router_lab.install(streams);
    let (_client, _accepting) = (udp(router_lab.client(0), 4000), listener(router_lab.client(0), 4000));
    assert!(!is_refused(router_lab.internet(), there));
    router_lab.remove(datagrams);
    router_lab.remove(streams);
    assert!(is_refused(router_lab.internet(), there));
    assert!(is_refused(router_lab.client(0), there), "from within too");
    router_lab.remove(datagrams);
}

/// Whoever speaks first after the removal, also where the box would masquerade the client to the very same port.
#[test]
fn both_sides_of_a_tcp_connection_are_reset_when_they_speak_after_the_removal() {
    let Some(mut router_lab) = RouterLab::or_skip(1) else { return };
    let accepting = listener(router_lab.client(0), 4000);
    for (external_port, client_is_first) in [(4000, true), (4000, false), (5000, true), (5000, false)] {
        let mapping = router_lab.mapping(0, Tcp, 4000, external_port);
        let there = router_lab.install(mapping);
        let mut outer = connect(router_lab.internet(), 0, there).unwrap();
        let (mut inner, _) = accept(&accepting);
        talk(&mut outer, &mut inner);
        router_lab.remove(mapping);
        let mut sides = [&mut outer, &mut inner];
        if client_is_first {
            sides.reverse();
        }
        for side in sides {
            assert!(is_reset_when_it_speaks(side), "{external_port} {client_is_first}");
        }
    }
}

#[test]
fn connections_that_the_client_began_from_the_mapped_port_end_too() {
    let Some(mut router_lab) = RouterLab::or_skip(1) else { return };
    let outside = listener(router_lab.internet(), 7000);
    let to = SocketAddrV4::new(router_lab.internet().address(), 7000);
    for client_is_first in [true, false] {
        let mapping = router_lab.mapping(0, Tcp, 4000, 4000);
        router_lab.install(mapping);
        let mut inner = connect(router_lab.client(0), 4000, to).unwrap();
        let (mut outer, _) = accept(&outside);
        talk(&mut inner, &mut outer);
        router_lab.remove(mapping);
        let mut sides = [&mut outer, &mut inner];
        if client_is_first {
            sides.reverse();
        }
        for side in sides {
            assert!(is_reset_when_it_speaks(side));
        }
        // A new one is its own affair.
        let mut inner = connect(router_lab.client(0), 4000, to).unwrap();
        talk(&mut inner, &mut accept(&outside).0);
        // The port is to be had again at once.
        socket2::SockRef::from(&inner).set_linger(Some(std::time::Duration::ZERO)).unwrap();
    }
}

/// They were masqueraded to the same port before it was mapped: WireGuard and BitTorrent send from the port they listen on.
#[test]
fn what_the_client_began_before_the_mapping_goes_on_after_it() {
    let Some(mut router_lab) = RouterLab::or_skip(1) else { return };
    let to = SocketAddrV4::new(router_lab.internet().address(), 7000);
    let outside = listener(router_lab.internet(), 7000);
    let mut older = connect(router_lab.client(0), 4000, to).unwrap();
    let (mut older_outer, from) = accept(&outside);
    assert_eq!(from.port(), 4000, "masqueraded to its own port");
    let (client, peer) = (udp(router_lab.client(0), 4000), udp(router_lab.internet(), 7000));
    let seen_as = exchange(&client, to, &peer);

    let (datagrams, streams) = (router_lab.mapping(0, Udp, 4000, 4000), router_lab.mapping(0, Tcp, 4000, 4000));
    let there = router_lab.install(datagrams);
    router_lab.install(streams);
    // On the mappings.
    let accepting = listener(router_lab.internet(), 7001);
    let since_to = SocketAddrV4::new(router_lab.internet().address(), 7001);
    let mut since = connect(router_lab.client(0), 4000, since_to).unwrap();
    let (mut since_outer, _) = accept(&accepting);
    talk(&mut since, &mut since_outer);
    let other_peer = udp(router_lab.internet(), 7001);
    exchange(&other_peer, there, &client);

    router_lab.remove(datagrams);
    router_lab.remove(streams);
    talk(&mut older, &mut older_outer);
    assert_eq!(exchange(&client, to, &peer), seen_as);
    peer.send_to(b"back", seen_as).unwrap();
    receive(&client, b"back");
    assert!(is_reset_when_it_speaks(&mut since));
    assert!(is_refused(router_lab.internet(), there), "nothing comes in");
}

#[test]
fn connections_between_clients_by_the_external_address_end_too() {
    let Some(mut router_lab) = RouterLab::or_skip(2) else { return };
    let accepting = listener(router_lab.client(1), 4000);
    let mapping = router_lab.mapping(1, Tcp, 4000, 5000);
    let there = router_lab.install(mapping);
    let mut outer = connect(router_lab.client(0), 0, there).unwrap();
    let (mut inner, _) = accept(&accepting);
    talk(&mut outer, &mut inner);
    router_lab.remove(mapping);
    assert!(is_reset_when_it_speaks(&mut inner) && is_reset_when_it_speaks(&mut outer));
}

#[test]
fn connections_on_other_mappings_and_on_none_stay() {
    let Some(mut router_lab) = RouterLab::or_skip(2) else { return };
    let (accepting, other_accepting) = (listener(router_lab.client(0), 4000), listener(router_lab.client(1), 4000));
    let outside = listener(router_lab.internet(), 7000);
    let (mapping, other) = (router_lab.mapping(0, Tcp, 4000, 4000), router_lab.mapping(1, Tcp, 4000, 4001));
    let (there, other_there) = (router_lab.install(mapping), router_lab.install(other));
    let mut ended = connect(router_lab.internet(), 0, there).unwrap();
    let _inner = accept(&accepting);
    let mut kept = connect(router_lab.internet(), 0, other_there).unwrap();
    let (mut kept_inner, _) = accept(&other_accepting);
    let mut begun =
        connect(router_lab.client(0), 4001, SocketAddrV4::new(router_lab.internet().address(), 7000)).unwrap();
    let (mut begun_outer, _) = accept(&outside);
    // Of the same port, and the other protocol.
    router_lab.install(router_lab.mapping(0, Udp, 4000, 4000));
    let (client, peer) = (udp(router_lab.client(0), 4000), udp(router_lab.internet(), 7001));
    exchange(&peer, there, &client);

    router_lab.remove(mapping);
    assert!(is_reset_when_it_speaks(&mut ended));
    talk(&mut kept, &mut kept_inner);
    talk(&mut begun, &mut begun_outer);
    exchange(&peer, there, &client);
}

#[test]
fn a_peer_that_goes_on_sending_reaches_whoever_has_the_port_now() {
    let Some(mut router_lab) = RouterLab::or_skip(2) else { return };
    let (mapping, other) = (router_lab.mapping(0, Udp, 4000, 5000), router_lab.mapping(1, Udp, 4000, 5000));
    let there = router_lab.install(mapping);
    let (client, other_client) = (udp(router_lab.client(0), 4000), udp(router_lab.client(1), 4000));
    let peer = udp(router_lab.internet(), 7000);
    exchange(&peer, there, &client);
    let outcomes = router_lab.apply(&[NatRequest::Remove(mapping), NatRequest::Install(other)]);
    assert_eq!(outcomes, [Ok(()), Ok(())]);
    exchange(&peer, there, &other_client);
    router_lab.remove(other);
    peer.send_to(b"?", there).unwrap();
    router_lab.install(mapping);
    peer.send_to(b"again", there).unwrap();
    receive(&client, b"again");
    other_client.set_nonblocking(true).unwrap();
    assert!(other_client.recv(&mut [0; 8]).is_err(), "nothing came here since");
}

/// A mapping that is removed and made again in one go still loses its connections; they belonged to the one before.
#[test]
fn a_connection_does_not_outlive_its_mapping_because_another_took_its_place() {
    let Some(mut router_lab) = RouterLab::or_skip(1) else { return };
    let accepting = listener(router_lab.client(0), 4000);
    let mapping = router_lab.mapping(0, Tcp, 4000, 4000);
    let there = router_lab.install(mapping);
    let mut outer = connect(router_lab.internet(), 0, there).unwrap();
    let (mut inner, _) = accept(&accepting);
    router_lab.apply(&[NatRequest::Remove(mapping), NatRequest::Install(mapping)]);
    assert!(is_reset_when_it_speaks(&mut inner) && is_reset_when_it_speaks(&mut outer));
    let mut outer = connect(router_lab.internet(), 0, there).unwrap();
    talk(&mut outer, &mut accept(&accepting).0);
}
