//! What a step of a client costs, by the number of mappings that it keeps.
//!
//! `cargo bench -p natpmp-proto --bench client`

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

use divan::{Bencher, black_box};

use work::client::{Keeper, SLOTS};

fn main() {
    divan::main();
}

/// Nothing is to be done: when will there be?
#[divan::bench(consts = SLOTS)]
fn poll<const N: usize>(bencher: Bencher<'_, '_>) {
    let mut keeper = Keeper::<N>::new();
    bencher.bench_local(|| keeper.poll());
}

/// A renewal is due, and goes out.
#[divan::bench(consts = SLOTS, sample_count = 2_000, sample_size = 1)]
fn timeout<const N: usize>(bencher: Bencher<'_, '_>) {
    let keeper = RefCell::new(Keeper::<N>::new());
    bencher
        .with_inputs(|| {
            let mut keeper = keeper.borrow_mut();
            // That of the turn before is answered.
            if let Some(answer) = keeper.answer() {
                let _ = keeper.take(&answer);
            }
            keeper.come_to_renewal();
        })
        .bench_local_values(|()| keeper.borrow_mut().send());
}

/// The answer to a renewal comes, is told, and there is nothing more to be done.
#[divan::bench(consts = SLOTS, sample_count = 2_000, sample_size = 1)]
fn datagram<const N: usize>(bencher: Bencher<'_, '_>) {
    let keeper = RefCell::new(Keeper::<N>::new());
    bencher
        .with_inputs(|| {
            let mut keeper = keeper.borrow_mut();
            keeper.come_to_renewal();
            keeper.send();
            keeper.answer().unwrap()
        })
        .bench_local_values(|answer| keeper.borrow_mut().take(black_box(&answer)));
}

/// It answers nothing.
#[divan::bench(consts = SLOTS)]
fn datagram_that_is_dropped<const N: usize>(bencher: Bencher<'_, '_>) {
    let mut keeper = Keeper::<N>::new();
    bencher.bench_local(|| keeper.drop(black_box(&[0, 129, 0, 0])));
}
