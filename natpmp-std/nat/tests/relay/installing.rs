//! What is installed, what is refused, and what becomes of it.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};

use natpmp_nat::{Nat, Relay, RelayLimits};
use natpmp_proto::Protocol::{Tcp, Udp};
use natpmp_proto::gateway::{NatFailure, NatRequest};

use super::{OTHER_PORT, Outside, PORT, accept, connect, fresh_address, listener, mapping, receive, udp, udp_peer};

#[test]
fn without_an_external_address_of_this_host_nothing_is_installed() {
    let mut outside = Outside::new();
    let internal = udp().local_addr().unwrap();
    for address in [None, Some(Ipv4Addr::new(192, 0, 2, 1)), Some(Ipv4Addr::UNSPECIFIED)] {
        outside.relay.set_external_address(address);
        for protocol in [Udp, Tcp] {
            assert_eq!(outside.try_install(protocol, internal, PORT), Err(NatFailure::Network), "{address:?}");
        }
    }
}

#[test]
fn a_port_that_somebody_else_has_is_refused_until_it_is_free() {
    let mut outside = Outside::new();
    let client = udp();
    let internal = client.local_addr().unwrap();
    let taken_udp = UdpSocket::bind(outside.at(PORT)).unwrap();
    let taken_tcp = TcpListener::bind(outside.at(PORT)).unwrap();
    assert_eq!(outside.try_install(Udp, internal, PORT), Err(NatFailure::Resources));
    assert_eq!(outside.try_install(Tcp, internal, PORT), Err(NatFailure::Resources));
    drop((taken_udp, taken_tcp));
    outside.install(Tcp, internal, PORT);
    let peer = udp_peer(outside.install(Udp, internal, PORT));
    peer.send(b"?").unwrap();
    receive(&client);
    assert_eq!(outside.try_install(Udp, udp().local_addr().unwrap(), PORT), Err(NatFailure::Resources));
}

/// G11: it would be a loop.
#[test]
fn a_mapping_that_leads_to_the_external_address_or_to_many_is_refused() {
    let mut outside = Outside::new();
    let addresses = [outside.address, Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST, Ipv4Addr::new(224, 0, 0, 1)];
    for address in addresses {
        for protocol in [Udp, Tcp] {
            let refused = outside.try_install(protocol, (address, OTHER_PORT).into(), PORT);
            assert_eq!(refused, Err(NatFailure::Network), "{address}");
        }
    }
}

#[test]
fn outcomes_come_in_the_order_of_the_requests() {
    let mut outside = Outside::new();
    let _taken = UdpSocket::bind(outside.at(OTHER_PORT)).unwrap();
    let (client, other) = (udp(), udp());
    let (internal, other_internal) = (client.local_addr().unwrap(), other.local_addr().unwrap());
    let outcomes = outside.relay.apply(&[
        NatRequest::Remove(mapping(Udp, internal, PORT)),
        NatRequest::Install(mapping(Udp, internal, PORT)),
        NatRequest::Install(mapping(Udp, other_internal, OTHER_PORT)),
        NatRequest::Install(mapping(Udp, other_internal, PORT)),
        NatRequest::Remove(mapping(Udp, internal, PORT)),
        NatRequest::Install(mapping(Udp, other_internal, PORT)),
    ]);
    let taken = Err(NatFailure::Resources);
    assert_eq!(outcomes, [Ok(()), Ok(()), taken, taken, Ok(()), Ok(())]);
    udp_peer(outside.at(PORT)).send(b"?").unwrap();
    receive(&other);
    assert_eq!(outside.relay.apply(&[]), []);
}

#[test]
fn installing_it_again_leaves_its_connections_and_another_port_moves_it() {
    let mut outside = Outside::new();
    let client = listener();
    let internal = client.local_addr().unwrap();
    let there = outside.install(Tcp, internal, PORT);
    let (mut peer, mut inner) = (connect(there), accept(&client));
    outside.install(Tcp, internal, PORT);
    peer.write_all(b"?").unwrap();
    inner.read_exact(&mut [0; 1]).unwrap();

    let elsewhere = outside.install(Tcp, internal, OTHER_PORT);
    assert!(peer.read(&mut [0; 1]).is_err());
    assert_eq!(TcpStream::connect(there).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    let (mut peer, mut inner) = (connect(elsewhere), accept(&client));
    outside.remove(Tcp, internal, PORT);
    peer.write_all(b"?").unwrap();
    inner.read_exact(&mut [0; 1]).unwrap();
}

#[test]
fn a_new_external_address_ends_what_came_through_the_old_one() {
    let mut outside = Outside::new();
    let (client, stream_client) = (udp(), listener());
    let (internal, stream_internal) = (client.local_addr().unwrap(), stream_client.local_addr().unwrap());
    let old = outside.install(Udp, internal, PORT);
    let mut stream = connect(outside.install(Tcp, stream_internal, PORT));
    let mut inner = accept(&stream_client);

    outside.relay.set_external_address(Some(outside.address));
    stream.write_all(b"?").unwrap();
    inner.read_exact(&mut [0; 1]).unwrap();

    outside.address = fresh_address();
    outside.relay.set_external_address(Some(outside.address));
    assert!(stream.read(&mut [0; 1]).is_err());
    let new = outside.install(Udp, internal, PORT);
    outside.install(Tcp, stream_internal, PORT);
    let peer = udp_peer(old);
    peer.send(b"?").unwrap();
    assert_eq!(peer.recv(&mut [0; 1]).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    udp_peer(new).send(b"at the new one").unwrap();
    assert_eq!(receive(&client).0, b"at the new one");
    let (mut stream, mut inner) = (connect(new), accept(&stream_client));
    stream.write_all(b"?").unwrap();
    inner.read_exact(&mut [0; 1]).unwrap();
}

#[test]
fn its_end_and_its_drop_close_everything() {
    for is_dropped in [false, true] {
        let mut relay = Relay::start(RelayLimits::default()).unwrap();
        let address = fresh_address();
        relay.set_external_address(Some(address));
        let client = listener();
        let install = NatRequest::Install(mapping(Tcp, client.local_addr().unwrap(), PORT));
        assert_eq!(relay.apply(&[install]), [Ok(())]);
        let (mut peer, mut inner) = (connect((address, PORT).into()), accept(&client));
        if is_dropped {
            drop(relay);
        } else {
            relay.end();
        }
        assert!(peer.read(&mut [0; 1]).is_err() && inner.read(&mut [0; 1]).is_err());
        assert_eq!(TcpStream::connect((address, PORT)).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    }
}
