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

mod work;

use std::cell::RefCell;
use std::net::Ipv4Addr;

use divan::{Bencher, black_box};
use natpmp_proto::gateway::RateLimit;
use natpmp_proto::wire::Request;
use natpmp_proto::{Instant, Protocol};

use work::gateway::{FILLS, Fill, INTERNAL, SIZES, Served, client, mapping, new, stranger};

fn main() {
    // A gateway for 65,534 mappings is made on the stack here, which has to be large enough.
    let thread = std::thread::Builder::new().stack_size(64 << 20);
    thread.spawn(divan::main).unwrap().join().unwrap();
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
