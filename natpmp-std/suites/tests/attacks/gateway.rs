//! Against a gateway: more requests than anybody needs.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::time::{Duration, Instant};

use natpmp_proto::Protocol;
use natpmp_proto::wire::Request;
use natpmp_std::server::nat::Nat;
use natpmp_std::server::{External, Internal, NatFailure, NatRequest};
use natpmp_suites::{Adapter, ServerSetup, ServerUnderTest, on_each_adapter};
use natpmp_testkit::waiting::{SOON, eventually};

on_each_adapter!(
    a_client_is_answered_no_more_often_than_its_rate_and_nobody_else_waits_for_it,
    no_kind_of_request_gets_around_the_rate,
    the_rate_is_generous_by_default_and_none_if_none_is_wanted,
    an_answer_that_comes_back_is_not_answered,
);

/// Each has its own share, and what is dropped is counted.
fn a_client_is_answered_no_more_often_than_its_rate_and_nobody_else_waits_for_it<A: Adapter>() {
    let server = serve::<A>(Some(Some(10)));
    let [flooding, other] = [2, 3].map(|number| socket(number, &server));
    let began = Instant::now();
    for _ in 0..SENT {
        flooding.send(&Request::ExternalAddress.encode()).unwrap();
    }
    assert!(is_answered(&other), "there and then");
    let answers = answers(&flooding);
    let most = 20 + usize::try_from(began.elapsed().as_millis() / 100).unwrap() + 1;
    assert!((20..=most).contains(&answers), "{answers} answers");
    // Some may have been lost where they waited to be read.
    assert!((1..=SENT as u64 - 20).contains(&server.dropped_requests()), "{}", server.dropped_requests());
}

/// Whatever it is that is sent: mappings that are refused, what comes back whole, what another version gets.
fn no_kind_of_request_gets_around_the_rate<A: Adapter>() {
    for request in [
        &[0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1][..], // refused
        &[0, 1, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0],     // deleted, which it is already
        &[0, 99, 0, 0],                            // unknown
        &[1, 0],                                   // of another version
        &[0, 0],
    ] {
        let server = serve::<A>(Some(Some(1)));
        let flooding = socket(2, &server);
        let began = Instant::now();
        for _ in 0..SENT {
            flooding.send(request).unwrap();
        }
        let answers = answers(&flooding);
        let most = 2 + usize::try_from(began.elapsed().as_secs()).unwrap() + 1;
        assert!((1..=most).contains(&answers), "{request:?}: {answers} answers");
    }
}

/// By default no client that waits for its answers meets it, and it can be switched off.
fn the_rate_is_generous_by_default_and_none_if_none_is_wanted<A: Adapter>() {
    for (rate, requests) in [(None, 1_500), (Some(None), 5_000)] {
        let server = serve::<A>(rate);
        let client = socket(2, &server);
        for number in 0..requests {
            assert!(is_answered(&client), "request {number}");
        }
        assert_eq!(server.dropped_requests(), 0);
    }
}

/// A service that answers whatever it gets is no partner for an endless conversation.
fn an_answer_that_comes_back_is_not_answered<A: Adapter>() {
    let server = serve::<A>(None);
    let reflector = socket(2, &server);
    for request in [&[0, 0][..], &[0, 99, 0, 0], &[1, 0], &[2, 0, 0, 0]] {
        reflector.send(request).unwrap();
        let mut buffer = [0; 64];
        let length = reflector.recv(&mut buffer).unwrap();
        reflector.send(&buffer[..length]).unwrap();
        assert_eq!(answers(&reflector), 0, "{request:?}");
    }
}

/// A server whose NAT takes everything, on a port of the loopback interface.
fn serve<A: Adapter>(requests_per_second: Option<Option<u32>>) -> A::Server {
    A::Server::start(ServerSetup {
        internal: Some(Internal::Address(Ipv4Addr::LOCALHOST)),
        external: Some(External::Address(Ipv4Addr::new(127, 0, 0, 9))),
        announce_to: Some(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 9)),
        requests_per_second,
        ..ServerSetup::new(Yes)
    })
    .unwrap()
}

struct Yes;

impl Nat for Yes {
    fn apply(&mut self, requests: &[NatRequest]) -> Vec<Result<(), NatFailure>> {
        vec![Ok(()); requests.len()]
    }

    fn set_external_address(&mut self, _address: Option<Ipv4Addr>) {}

    fn end(&mut self) {}
}

/// A client at 127.0.0.NUMBER.
fn socket(number: u8, server: &impl ServerUnderTest) -> UdpSocket {
    let socket = UdpSocket::bind((Ipv4Addr::new(127, 0, 0, number), 0)).unwrap();
    socket.connect(server.addresses()[0]).unwrap();
    socket.set_read_timeout(Some(SOON)).unwrap();
    socket
}

fn is_answered(socket: &UdpSocket) -> bool {
    socket
        .send(
            &Request::Map { protocol: Protocol::Udp, internal_port: 9, suggested_external_port: 9, lifetime: 60 }
                .encode(),
        )
        .unwrap();
    socket.recv(&mut [0; 64]).is_ok()
}

/// How many answers come until the gateway has read all, which its answer to another client shows.
fn answers(socket: &UdpSocket) -> usize {
    let gateway = socket.peer_addr().unwrap();
    let witness = UdpSocket::bind((Ipv4Addr::new(127, 0, 0, 200), 0)).unwrap();
    witness.connect(gateway).unwrap();
    witness.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    // It has a rate as well.
    eventually("the gateway answers another client", || {
        let _ = witness.send(&[0, 0]);
        witness.recv(&mut [0; 64]).is_ok()
    });
    socket.set_nonblocking(true).unwrap();
    let mut answers = 0;
    loop {
        match socket.recv(&mut [0; 64]) {
            Ok(_) => answers += 1,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => panic!("{error}"),
        }
    }
    socket.set_nonblocking(false).unwrap();
    answers
}

/// What a socket's buffer has room for.
const SENT: usize = 150;
