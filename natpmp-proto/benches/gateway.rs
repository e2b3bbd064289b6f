//! What an answer of the gateway costs, by the size of its table and by how full it is: the same everywhere, but for the
//! memory that is not in the processor's cache.
//!
//! `cargo bench -p natpmp-proto --bench gateway`

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    reason = "a benchmark whose assumptions fail should end"
)]

use std::cell::RefCell;
use std::net::{Ipv4Addr, SocketAddrV4};

use divan::{Bencher, black_box};
use natpmp_proto::gateway::{Gateway, GatewayConfig, RateLimit, Reply};
use natpmp_proto::wire::{Encoded, Request};
use natpmp_proto::{Instant, Protocol};

fn main() {
    // A gateway for 65,534 mappings is made on the stack here, which has to be large enough.
    let thread = std::thread::Builder::new().stack_size(64 << 20);
    thread.spawn(divan::main).unwrap().join().unwrap();
}

const SIZES: [usize; 4] = [16, 256, 4_096, 65_534];
const FILLS: [Fill; 3] = [Fill::Empty, Fill::Half, Fill::Full];

#[derive(Clone, Copy, Debug)]
enum Fill {
    Empty,
    Half,
    Full,
}

#[divan::bench(consts = SIZES, args = FILLS)]
fn external_address<const N: usize>(bencher: Bencher<'_, '_>, fill: Fill) {
    let mut served = Served::<N>::filled(fill);
    let request = Request::ExternalAddress.encode();
    bencher.bench_local(|| served.ask(client(0), black_box(&request)));
}

/// What an adapter pays for a bound on each client's rate, with 1,024 clients remembered: of one that is, and of ever other ones.
#[divan::bench(args = [1, 100_000])]
fn rate_limit(bencher: Bencher<'_, '_>, clients: u32) {
    let mut limit: Box<RateLimit<1_024>> = Box::new(RateLimit::new(1_000, 7));
    let (mut micros, mut number) = (0, 0);
    bencher.bench_local(|| {
        micros += 10;
        number = (number + 1) % clients;
        limit.admits(Instant::from_micros(micros), black_box(Ipv4Addr::from_bits(0x0a00_0000 + number)))
    });
}

/// Of one after the other, in an order that the processor cannot foresee.
#[divan::bench(consts = SIZES, args = FILLS)]
fn renewal<const N: usize>(bencher: Bencher<'_, '_>, fill: Fill) {
    let mut served = Served::<N>::filled(fill);
    let count = served.gateway.len();
    let requests: Vec<_> = (0..4_096).map(|number| number * 40_503 % count).map(mapping).collect();
    let mut turn = 0;
    bencher.bench_local(|| {
        turn = (turn + 1) % requests.len();
        let (from, request) = &requests[turn];
        served.ask(*from, black_box(request));
    });
}

#[divan::bench(consts = SIZES, args = FILLS, sample_count = 2_000, sample_size = 1)]
fn new_mapping_and_its_outcome<const N: usize>(bencher: Bencher<'_, '_>, fill: Fill) {
    let served = RefCell::new(Served::<N>::filled(fill));
    let mut turn = 0;
    bencher
        .with_inputs(|| {
            served.borrow_mut().ask_and_wait(stranger(turn), &Request::delete(Protocol::Udp, INTERNAL).encode());
            turn += 1;
            stranger(turn)
        })
        .bench_local_values(|from| served.borrow_mut().ask_and_wait(from, black_box(&new())));
}

#[divan::bench(consts = SIZES, args = FILLS, sample_count = 2_000, sample_size = 1)]
fn deletion_and_its_outcome<const N: usize>(bencher: Bencher<'_, '_>, fill: Fill) {
    let served = RefCell::new(Served::<N>::filled(fill));
    let mut turn = 0;
    bencher
        .with_inputs(|| {
            turn += 1;
            served.borrow_mut().ask_and_wait(stranger(turn), &new());
            (stranger(turn), Request::delete(Protocol::Udp, INTERNAL).encode())
        })
        .bench_local_values(|(from, request)| served.borrow_mut().ask_and_wait(from, black_box(&request)));
}

/// Not flat: a port is looked for, one after the other from a random one on. This many of 64,512 are taken.
#[divan::bench(args = [0, 32_256, 64_000, 64_448, 64_512], sample_count = 500, sample_size = 1)]
fn any_port_where_many_are_taken(bencher: Bencher<'_, '_>, taken: usize) {
    let served = RefCell::new(Served::<65_534>::with_ports_taken(taken));
    let mut turn = 0;
    // Internal port 80 cannot be given, and none is suggested.
    let request =
        Request::Map { protocol: Protocol::Udp, internal_port: 80, suggested_external_port: 0, lifetime: 600 };
    let request = request.encode();
    bencher
        .with_inputs(|| {
            served.borrow_mut().ask_and_wait(stranger(turn), &Request::delete(Protocol::Udp, 80).encode());
            turn += 1;
            stranger(turn)
        })
        .bench_local_values(|from| served.borrow_mut().ask_and_wait(from, black_box(&request)));
}

/// A gateway, and what the adapter would do.
struct Served<const N: usize> {
    gateway: Box<Gateway<N>>,
    now: Instant,
    buffer: [u8; 16],
}

impl<const N: usize> Served<N> {
    /// One place is left for what is new.
    fn filled(fill: Fill) -> Self {
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

    fn with_ports_taken(taken: usize) -> Self {
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
        let config = GatewayConfig::new().per_client(64).seed(7);
        let mut new = Self { gateway: Box::new(Gateway::new(config)), now: Instant::from_secs(1), buffer: [0; 16] };
        new.gateway.start(new.now, 0);
        new.gateway.set_external_address(new.now, Some(Ipv4Addr::new(11, 22, 33, 44)));
        new
    }

    fn ask(&mut self, from: SocketAddrV4, request: &[u8]) {
        match self.gateway.handle_datagram(self.now, from, request) {
            Ok(Reply::Now(answer)) => {
                black_box(answer.write(&mut self.buffer));
            }
            other => panic!("not answered at once: {other:?}"),
        }
        while let Some(event) = self.gateway.poll_event() {
            black_box(event);
        }
    }

    fn ask_and_wait(&mut self, from: SocketAddrV4, request: &[u8]) {
        if let Ok(Reply::Now(answer)) = self.gateway.handle_datagram(self.now, from, request) {
            black_box(answer.write(&mut self.buffer));
        }
        while let Some(request) = self.gateway.poll_nat() {
            black_box(self.gateway.handle_nat(self.now, &request, Ok(())));
        }
        while let Some(event) = self.gateway.poll_event() {
            black_box(event);
        }
    }
}

/// The `number`-th mapping of a full table: 64 for each client, UDP and TCP in turns on one port, leases of all lengths.
fn mapping(number: usize) -> (SocketAddrV4, Encoded) {
    let port = LOWEST + (number / 2) as u16;
    let lifetime = 3_600 + (number * 7_919 % 80_000) as u32;
    let protocol = Protocol::ALL[number % 2];
    let request = Request::Map { protocol, internal_port: port, suggested_external_port: port, lifetime };
    (client(number / 64), request.encode())
}

fn new() -> Encoded {
    let request =
        Request::Map { protocol: Protocol::Udp, internal_port: INTERNAL, suggested_external_port: 0, lifetime: 7_200 };
    request.encode()
}

fn client(number: usize) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::from_bits(0x0a00_0100 + number as u32), 50_000)
}

/// Not one of those that fill the table.
fn stranger(turn: u32) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::from_bits(0x0aff_0000 + turn), 50_000)
}

const LOWEST: u16 = 1_024;
const INTERNAL: u16 = 60_000;
