//! The relay, over real sockets on the loopback interface: 127.0.0.1 is the inside, and each test has an outside of its
//! own.
#![cfg(target_os = "linux")]
#![forbid(unsafe_code)]
#![cfg(test)]
#![allow(
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    reason = "a test whose numbers overflow has failed"
)]

mod installing;
mod tcp;
mod udp;

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use natpmp_nat::{Nat, Relay, RelayLimits};
use natpmp_proto::Protocol;
use natpmp_proto::gateway::{NatFailure, NatMapping, NatRequest};

/// A relay with an external address.
struct Outside {
    relay: Relay,
    address: Ipv4Addr,
}

impl Outside {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut RelayLimits)) -> Self {
        let mut limits = RelayLimits::default();
        change(&mut limits);
        let mut relay = Relay::start(limits).unwrap();
        let address = fresh_address();
        relay.set_external_address(Some(address));
        Self { relay, address }
    }

    fn try_install(&mut self, protocol: Protocol, internal: SocketAddr, port: u16) -> Result<(), NatFailure> {
        self.one(NatRequest::Install(mapping(protocol, internal, port)))
    }

    /// The address that leads to `internal` from now on.
    fn install(&mut self, protocol: Protocol, internal: SocketAddr, port: u16) -> SocketAddr {
        self.try_install(protocol, internal, port).unwrap();
        self.at(port)
    }

    fn remove(&mut self, protocol: Protocol, internal: SocketAddr, port: u16) {
        self.one(NatRequest::Remove(mapping(protocol, internal, port))).unwrap();
    }

    fn at(&self, port: u16) -> SocketAddr {
        (self.address, port).into()
    }

    fn one(&mut self, request: NatRequest) -> Result<(), NatFailure> {
        let outcomes = self.relay.apply(&[request]);
        assert_eq!(outcomes.len(), 1);
        outcomes[0]
    }
}

fn mapping(protocol: Protocol, internal: SocketAddr, external_port: u16) -> NatMapping {
    let SocketAddr::V4(internal) = internal else { panic!("{internal} is not IPv4") };
    NatMapping { protocol, internal, external_port }
}

/// One that nobody else has, in this process or in another test run beside it.
fn fresh_address() -> Ipv4Addr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let run = std::process::id() % (100 * 200);
    Ipv4Addr::new(127, 100 + (run / 200) as u8, 1 + (run % 200) as u8, 1 + number as u8)
}

/// A UDP socket on the inside.
fn udp() -> UdpSocket {
    let socket = UdpSocket::bind(INSIDE).unwrap();
    socket.set_read_timeout(Some(SOON)).unwrap();
    socket
}

/// A peer that sends to this address only, and hears from it.
fn udp_peer(to: SocketAddr) -> UdpSocket {
    let socket = udp();
    socket.connect(to).unwrap();
    socket
}

/// What comes next, and from whom.
#[track_caller]
fn receive(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut buffer = vec![0; 65_535];
    let (length, from) = socket.recv_from(&mut buffer).expect("a datagram");
    buffer.truncate(length);
    (buffer, from)
}

fn listener() -> TcpListener {
    TcpListener::bind(INSIDE).unwrap()
}

fn connect(to: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect_timeout(&to, SOON).unwrap();
    with_patience(stream)
}

/// The next connection that the client gets.
fn accept(listener: &TcpListener) -> TcpStream {
    with_patience(listener.accept().unwrap().0)
}

fn with_patience(stream: TcpStream) -> TcpStream {
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream.set_write_timeout(Some(SOON)).unwrap();
    stream
}

/// Asks until the condition holds.
#[track_caller]
fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + SOON;
    while !condition() {
        assert!(Instant::now() < deadline, "not within {SOON:?}: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

const INSIDE: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0);
const PORT: u16 = 20_001;
const OTHER_PORT: u16 = 20_002;
/// Long enough for anything that is not meant to wait.
const SOON: Duration = Duration::from_secs(10);
