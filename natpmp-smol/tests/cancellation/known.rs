//! Two calls that make the same mapping: it stays if one of them was heard.

use std::future::Future;

use natpmp_smol::{Client, KeptMapping};

use super::hand::{Hand, Polled};
use super::{OTHER, UDP, orders};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Poll(usize),
    Drop(usize),
    /// The driver is polled, then the gateway answers.
    Others,
}

#[test]
fn a_mapping_that_two_calls_make_stays_if_one_of_them_is_heard() {
    drop_either(
        |_| (),
        |client| async move { client.map(&UDP).await.is_ok() },
        |client| async move { client.map(&UDP).await.is_ok() },
    );
}

#[test]
fn a_mapping_that_is_being_deleted_and_made_again_stays_if_that_is_heard() {
    drop_either(
        |hand| {
            let client = hand.client();
            hand.finish(client.map(&UDP)).unwrap();
            let mut unmapping = Polled::new(client.unmap(UDP.protocol(), UDP.internal_port()));
            unmapping.poll();
            hand.poll_driver();
        },
        |client| async move { client.map(&UDP).await.is_ok() },
        |client| async move { client.map(&UDP.lifetime(600)).await.is_ok() },
    );
}

/// The handle is gone at the end, and with it the mapping, unless a call was heard that made it again.
#[test]
fn a_mapping_whose_handle_was_dropped_stays_if_a_call_makes_it_again_and_is_heard() {
    drop_either(
        |hand| {
            let kept: KeptMapping = hand.client().keep(&UDP).unwrap();
            hand.finish(kept.refresh()).unwrap();
        },
        |client| async move { client.map(&UDP).await.is_ok() },
        |client| async move { client.map(&UDP).await.is_ok() },
    );
}

fn drop_either<A: Future<Output = bool> + 'static, B: Future<Output = bool> + 'static>(
    prepare: impl Fn(&mut Hand),
    one: impl Fn(Client) -> A,
    another: impl Fn(Client) -> B,
) {
    let mut endings = [0; 2];
    for steps in orders(&[Step::Poll(0), Step::Poll(1), Step::Drop(0), Step::Drop(1), Step::Others], 6) {
        if !makes_sense(&steps) {
            continue;
        }
        let mut hand = Hand::new();
        prepare(&mut hand);
        let mut calls = [Some(Polled::new(one(hand.client()))), Some(Polled::new(another(hand.client())))];
        let mut is_heard = false;
        for &step in &steps {
            match step {
                Step::Poll(call) => {
                    let call = calls[call].as_mut().unwrap();
                    call.poll();
                    is_heard |= call.result() == Some(true);
                }
                Step::Drop(call) => calls[call] = None,
                Step::Others => {
                    hand.poll_driver();
                    hand.answer();
                }
            }
        }
        drop(calls);
        hand.check_nothing_is_lost(&steps);
        hand.check_it_works(&steps);
        endings[usize::from(is_heard)] += 1;
        assert_eq!(hand.end(), if is_heard { vec![4_000, OTHER] } else { vec![OTHER] }, "{steps:?}");
    }
    assert!(endings.iter().all(|&count| count > 50), "{endings:?}");
}

/// What was dropped is dropped; and what is done twice in a row is done once.
fn makes_sense(steps: &[Step]) -> bool {
    let is_twice = steps.windows(2).any(|pair| pair[0] == pair[1] && pair[0] != Step::Others);
    let is_after_drop = (0..2).any(|call| {
        let mut after = steps.iter().skip_while(|&&step| step != Step::Drop(call)).skip(1);
        after.any(|&step| step == Step::Drop(call) || step == Step::Poll(call))
    });
    !is_twice && !is_after_drop
}
