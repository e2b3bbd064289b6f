//! What clients get.

use std::net::UdpSocket;

use natpmp_proto::gateway;
use natpmp_proto::wire::{Request, Response};
use natpmp_std::server::{CloseCause, NatMapping};
use natpmp_std::{Ending, MapRequest, Protocol};
use natpmp_suites::{Adapter, ClientUnderTest, ServerSetup, ServerUnderTest, SubscriptionUnderTest, on_each_adapter};
use natpmp_testkit::waiting::{SOON, begin, eventually};

use super::notes::{Manner, Notes};
use super::{Asker, INSIDE, OUTSIDE, client, inside, serve, setup, start};

on_each_adapter!(
    a_client_gets_the_address_a_mapping_and_its_deletion_and_the_events_tell_of_it,
    a_slow_nat_does_not_delay_the_answers_to_others,
    one_socket_that_asks_for_many_mappings_at_once_is_answered_for_each,
    two_hundred_clients_that_ask_at_once_are_all_answered,
    after_a_burst_the_next_request_is_heard,
    the_external_side_gets_no_answer,
    an_unknown_request_comes_back_whole,
    a_lease_that_ends_takes_its_mapping_with_it,
);

fn a_client_gets_the_address_a_mapping_and_its_deletion_and_the_events_tell_of_it<A: Adapter>() {
    let nat = Notes::default();
    let server = serve::<A>(&nat);
    let mut events = server.events();
    let client = client::<A>(&server);
    assert_eq!(client.external_address().unwrap(), OUTSIDE);
    let mapping = client.map(&MapRequest::new(Protocol::Udp, 4_000).lifetime(60)).unwrap();
    assert_eq!((mapping.external_port, mapping.lifetime), (4_000, 60));
    let standing = NatMapping { protocol: Protocol::Udp, internal: inside(4_000), external_port: 4_000 };
    assert_eq!(nat.standing(), [standing]);
    let open = server.mappings()[0];
    assert_eq!(open.mapping, standing);
    assert!((50..=61).contains(&server.time_left(&open).unwrap().as_secs()));
    assert_eq!(events.next_timeout(SOON), Some(gateway::Event::Opened(open)));
    assert_eq!(client.unmap(Protocol::Udp, 4_000).unwrap(), Ending::Unmapped);
    assert_eq!(nat.standing(), []);
    let closed = events.next_timeout(SOON);
    assert!(matches!(closed, Some(gateway::Event::Closed { cause: CloseCause::Removed, .. })), "{closed:?}");

    for port in 5_000..5_010 {
        client.map(&MapRequest::new(Protocol::Tcp, port)).unwrap();
    }
    assert_eq!(nat.standing().len(), 10);
    client.unmap_all(Protocol::Tcp).unwrap();
    assert_eq!(nat.standing(), []);
}

fn a_slow_nat_does_not_delay_the_answers_to_others<A: Adapter>() {
    let nat = Notes::default();
    let server = serve::<A>(&nat);
    nat.set(Manner::Blocking);
    let waiting = client::<A>(&server);
    let mapped = begin(move || waiting.map(&MapRequest::new(Protocol::Udp, 4_000)));
    nat.wait_until_it_waits();
    // The NAT is at it, and the external address is told all the same.
    for _ in 0..20 {
        assert_eq!(Asker::new(&server).external_address().1, OUTSIDE);
    }
    assert!(nat.is_waiting() && nat.standing().is_empty());
    nat.set(Manner::Well);
    assert_eq!(mapped.recv_timeout(SOON).unwrap().unwrap().external_port, 4_000);
}

/// Many programs of a host may share a socket, and none of them waits for another.
fn one_socket_that_asks_for_many_mappings_at_once_is_answered_for_each<A: Adapter>() {
    let nat = Notes::default();
    let server = serve::<A>(&nat);
    let socket = Asker::new(&server);
    nat.set(Manner::Blocking);
    for port in 4_000..4_010 {
        socket.send_map(port);
        nat.wait_until_it_waits();
    }
    nat.set(Manner::Well);
    let mut answered: Vec<u16> = (4_000..4_010)
        .map(|_| match socket.receive() {
            Response::Map { internal_port, .. } => internal_port,
            other => panic!("{other:?}"),
        })
        .collect();
    answered.sort_unstable();
    assert_eq!(answered, (4_000..4_010).collect::<Vec<_>>());
}

fn two_hundred_clients_that_ask_at_once_are_all_answered<A: Adapter>() {
    let nat = Notes::default();
    let server = start::<A>(ServerSetup { config: Some(gateway::Config::new().per_client(CLIENTS)), ..setup(&nat) });
    let clients: Vec<_> = (10_000..10_000 + CLIENTS).map(|port| (port, Asker::new(&server))).collect();
    for _ in 0..3 {
        pursue(
            &clients,
            |(_, client)| client.send(&Request::ExternalAddress.encode()),
            |(_, client)| client.receive_soon(|answer| matches!(answer, Response::ExternalAddress { .. })),
        );
        pursue(
            &clients,
            |(port, client)| client.send_map(*port),
            |(_, client)| client.receive_soon(|answer| matches!(answer, Response::Map { .. })),
        );
    }
    assert_eq!(nat.installed(), usize::from(CLIENTS), "the NAT was asked once for each");
}

/// All of them ask at once, and those that get no answer ask again.
fn pursue<C>(clients: &[C], ask: impl Fn(&C), is_answered: impl Fn(&C) -> bool) {
    let mut waiting: Vec<&C> = clients.iter().collect();
    eventually("all are answered", || {
        waiting.iter().for_each(|client| ask(client));
        waiting.retain(|client| !is_answered(client));
        waiting.is_empty()
    });
}

/// More than it reads at a time; the system drops some of them, and the server goes on.
fn after_a_burst_the_next_request_is_heard<A: Adapter>() {
    let nat = Notes::default();
    let server = serve::<A>(&nat);
    let flood = UdpSocket::bind((INSIDE, 0)).unwrap();
    for _ in 0..1_000 {
        flood.send_to(&Request::ExternalAddress.encode(), server.addresses()[0]).unwrap();
    }
    assert_eq!(client::<A>(&server).external_address().unwrap(), OUTSIDE);
}

/// G11, G23: who sends from the external address is not served; nor is what cannot be answered.
fn the_external_side_gets_no_answer<A: Adapter>() {
    let nat = Notes::default();
    let server = serve::<A>(&nat);
    let outside = UdpSocket::bind((OUTSIDE, 0)).unwrap();
    outside.send_to(&Request::ExternalAddress.encode(), server.addresses()[0]).unwrap();
    let short = UdpSocket::bind((INSIDE, 0)).unwrap();
    short.send_to(&[0], server.addresses()[0]).unwrap();
    // What was sent before has been read when this is answered.
    assert_eq!(client::<A>(&server).external_address().unwrap(), OUTSIDE);
    let mut buffer = [0; 64];
    for socket in [outside, short] {
        socket.set_nonblocking(true).unwrap();
        assert_eq!(socket.recv(&mut buffer).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    }
}

/// G03: also one that is longer than any packet of NAT-PMP.
fn an_unknown_request_comes_back_whole<A: Adapter>() {
    let nat = Notes::default();
    let server = serve::<A>(&nat);
    let socket = UdpSocket::bind((INSIDE, 0)).unwrap();
    socket.set_read_timeout(Some(SOON)).unwrap();
    let mut request = [7; 1_000];
    request[0] = 0;
    socket.send_to(&request, server.addresses()[0]).unwrap();
    let mut buffer = [0; 2_000];
    let length = socket.recv(&mut buffer).unwrap();
    request[1..4].copy_from_slice(&[135, 0, 5]);
    assert_eq!(&buffer[..length], &request[..]);
}

/// G16: and what the lease was for is closed.
fn a_lease_that_ends_takes_its_mapping_with_it<A: Adapter>() {
    let nat = Notes::default();
    let server = serve::<A>(&nat);
    client::<A>(&server).map(&MapRequest::new(Protocol::Udp, 4_000).lifetime(1)).unwrap();
    assert_eq!(nat.standing().len(), 1);
    eventually("its lease has ended", || nat.standing().is_empty());
    assert!(server.mappings().is_empty());
}

const CLIENTS: u16 = 200;
