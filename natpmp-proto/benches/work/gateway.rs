//! A gateway whose table is filled, and requests to it.

use std::hint::black_box;
use std::net::{Ipv4Addr, SocketAddrV4};

use natpmp_proto::gateway::{Config, Gateway};
use natpmp_proto::wire::{Encoded, Request};
use natpmp_proto::{Instant, Protocol, SocketId};

/// The last one is as large as a table can be.
pub(crate) const SIZES: [usize; 4] = [16, 256, 4_096, 65_534];
pub(crate) const FILLS: [Fill; 3] = [Fill::Empty, Fill::Half, Fill::Full];

#[derive(Clone, Copy, Debug)]
pub(crate) enum Fill {
    Empty,
    Half,
    Full,
}

/// A gateway, and what the adapter would do.
pub(crate) struct Served<const N: usize> {
    pub(crate) gateway: Box<Gateway<N>>,
    now: Instant,
}

impl<const N: usize> Served<N> {
    /// One place is left for what is new.
    pub(crate) fn filled(fill: Fill) -> Self {
        let count = match fill {
            Fill::Empty => 1,
            Fill::Half => N / 2,
            Fill::Full => N - 1,
        };
        let mut new = Self::new();
        for number in 0..count {
            let (from, request) = mapping(number);
            new.ask_and_wait(from, &request);
        }
        assert_eq!(new.gateway.len(), count);
        new
    }

    pub(crate) fn with_ports_taken(taken: usize) -> Self {
        let mut new = Self::new();
        for number in 0..taken {
            let port = LOWEST + number as u16;
            let request = Request::Map {
                protocol: Protocol::Udp,
                internal_port: port,
                suggested_external_port: port,
                lifetime: 86_400,
            };
            new.ask_and_wait(client(number / 64), &request.encode());
        }
        assert_eq!(new.gateway.len(), taken);
        new
    }

    fn new() -> Self {
        let config = Config::new().per_client(64).seed(7);
        let mut new = Self { gateway: Box::new(Gateway::new(config)), now: Instant::from_secs(1) };
        new.gateway.start(new.now, 0);
        new.gateway.set_external_address(new.now, Some(Ipv4Addr::new(11, 22, 33, 44)));
        new.send();
        new
    }

    pub(crate) fn ask(&mut self, from: SocketAddrV4, request: &[u8]) {
        self.gateway.handle_datagram(self.now, SOCKET, from, request).unwrap();
        assert_eq!(self.send(), 1, "not answered at once");
        while let Some(event) = self.gateway.poll_event() {
            black_box(event);
        }
    }

    pub(crate) fn ask_and_wait(&mut self, from: SocketAddrV4, request: &[u8]) {
        self.gateway.handle_datagram(self.now, SOCKET, from, request).unwrap();
        self.send();
        while let Some(request) = self.gateway.poll_nat() {
            self.gateway.handle_nat(self.now, &request, Ok(()));
            self.send();
        }
        while let Some(event) = self.gateway.poll_event() {
            black_box(event);
        }
    }

    /// How many datagrams there were to send.
    fn send(&mut self) -> usize {
        let mut sent = 0;
        while let Some(transmit) = self.gateway.poll_transmit(self.now) {
            black_box(transmit);
            sent += 1;
        }
        sent
    }
}

/// The `number`-th mapping of a full table: 64 for each client, UDP and TCP in turns on one port, leases of all lengths.
pub(crate) fn mapping(number: usize) -> (SocketAddrV4, Encoded) {
    let port = LOWEST + (number / 2) as u16;
    let lifetime = 3_600 + (number * 7_919 % 80_000) as u32;
    let protocol = Protocol::ALL[number % 2];
    let request = Request::Map { protocol, internal_port: port, suggested_external_port: port, lifetime };
    (client(number / 64), request.encode())
}

pub(crate) fn new() -> Encoded {
    let request =
        Request::Map { protocol: Protocol::Udp, internal_port: INTERNAL, suggested_external_port: 0, lifetime: 7_200 };
    request.encode()
}

pub(crate) fn client(number: usize) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::from_bits(0x0a00_0100 + number as u32), 50_000)
}

/// Not one of those that fill the table.
pub(crate) fn stranger(turn: u32) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::from_bits(0x0aff_0000 + turn), 50_000)
}

const SOCKET: SocketId = SocketId(0);
const LOWEST: u16 = 1_024;
pub(crate) const INTERNAL: u16 = 60_000;
