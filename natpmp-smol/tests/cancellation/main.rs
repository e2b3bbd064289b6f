//! Futures that are dropped half-way. The client, its driver and its gateway are moved by hand, in every order of a few steps,
//! and the future is dropped after each.
#![forbid(unsafe_code)]
#![cfg(test)]
#![allow(clippy::arithmetic_side_effects, reason = "a test whose numbers overflow has failed")]

mod ending;
mod hand;
mod kept;
mod known;
mod once;
mod race;

use std::fmt::Debug;
use std::future::Future;

use natpmp_smol::{Client, MapRequest, Protocol};

use hand::{Hand, Polled};

/// One party moves.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// The call is polled.
    Call,
    /// The driver is polled.
    ClientDriver,
    /// The gateway answers what it was asked.
    Gateway,
}

/// What a call had come to when it was dropped.
#[derive(Clone, Copy, Debug)]
struct Dropped {
    was_polled: bool,
    /// It was seen to succeed.
    was_heard: bool,
}

/// Drops a call after every order of steps. The client goes on after that, and holds whatever the gateway has. `check` sees to
/// what is the call's own, and says whether UDP 4000 stays at the gateway when client and driver have come to their end.
fn drop_everywhere<S, F: Future<Output = bool> + 'static>(
    prepare: impl Fn(&mut Hand) -> S,
    call: impl Fn(Client, &S) -> F,
    check: impl Fn(&mut Hand, &S, Dropped) -> bool,
) {
    let mut received = 0;
    for steps in orders(&[Step::Call, Step::ClientDriver, Step::Gateway], 6) {
        let mut hand = Hand::new();
        let state = prepare(&mut hand);
        let mut polled = Polled::new(call(hand.client(), &state));
        for step in &steps {
            match step {
                Step::Call => polled.poll(),
                Step::ClientDriver => hand.poll_driver(),
                Step::Gateway => hand.answer(),
            }
        }
        let dropped = Dropped { was_polled: polled.was_polled(), was_heard: polled.result() == Some(true) };
        received += u32::from(dropped.was_heard);
        polled.give_up();
        hand.check_nothing_is_lost(&steps);
        let stays = check(&mut hand, &state, dropped);
        hand.check_it_works(&steps);
        hand.check_nothing_is_lost(&steps);
        drop(state);
        assert_eq!(hand.end(), if stays { vec![4_000, OTHER] } else { vec![OTHER] }, "{steps:?}, {dropped:?}");
    }
    assert!(received > 0, "no order of steps was long enough");
}

/// Every order of up to so many of these steps.
fn orders<T: Copy>(steps: &[T], most: usize) -> Vec<Vec<T>> {
    let mut orders = vec![vec![]];
    let mut longest = orders.clone();
    for _ in 0..most {
        let longer = |order: &Vec<T>| steps.iter().map(|&step| [&order[..], &[step]].concat()).collect::<Vec<_>>();
        longest = longest.iter().flat_map(longer).collect();
        orders.extend_from_slice(&longest);
    }
    orders
}

const UDP: MapRequest = MapRequest::new(Protocol::Udp, 4_000);

/// The internal port of a mapping that is made after each drop, and is heard of.
const OTHER: u16 = 5_000;
