//! What it costs to write and to read each packet.
//!
//! `cargo bench -p natpmp-proto --bench wire`

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

use divan::{Bencher, black_box};
use natpmp_proto::wire::{Request, Response};

use work::wire::{OF_PCP, REQUESTS, RESPONSES};

fn main() {
    divan::main();
}

#[divan::bench(args = REQUESTS.map(|(name, _)| name))]
fn encode_request(bencher: Bencher<'_, '_>, name: &str) {
    let request = of(&REQUESTS, name);
    bencher.bench_local(|| black_box(&request).encode());
}

#[divan::bench(args = REQUESTS.map(|(name, _)| name))]
fn decode_request(bencher: Bencher<'_, '_>, name: &str) {
    let bytes = of(&REQUESTS, name).encode();
    bencher.bench_local(|| Request::decode(black_box(&bytes)));
}

#[divan::bench(args = RESPONSES.map(|(name, _)| name))]
fn encode_response(bencher: Bencher<'_, '_>, name: &str) {
    let response = of(&RESPONSES, name);
    bencher.bench_local(|| black_box(&response).encode());
}

#[divan::bench(args = RESPONSES.map(|(name, _)| name))]
fn decode_response(bencher: Bencher<'_, '_>, name: &str) {
    let bytes = of(&RESPONSES, name).encode();
    bencher.bench_local(|| Response::decode(black_box(&bytes)));
}

#[divan::bench]
fn decode_response_of_pcp(bencher: Bencher<'_, '_>) {
    bencher.bench_local(|| Response::decode(black_box(&OF_PCP)));
}

fn of<T: Copy>(all: &[(&str, T)], name: &str) -> T {
    all.iter().find(|(its_name, _)| *its_name == name).unwrap().1
}
