//! Calls of a kept mapping, and the next event.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use natpmp_smol::{Client, Event, KeptMapping};
use natpmp_testkit::gateway::Gateway;
use smol::stream::StreamExt;

use super::hand::{Hand, Polled};
use super::{Dropped, Step, UDP, drop_everywhere, orders};

#[test]
fn a_refresh_of_a_kept_mapping_may_be_dropped_at_any_time() {
    let call = |_: Client, kept: &Rc<KeptMapping>| {
        let kept = Rc::clone(kept);
        async move { kept.refresh().await.is_ok() }
    };
    drop_everywhere(open, call, stays_kept);
}

#[test]
fn waiting_for_a_kept_mapping_to_open_may_end_at_any_time() {
    let call = |_: Client, kept: &Rc<KeptMapping>| {
        let kept = Rc::clone(kept);
        async move { kept.wait_open(LONG).await.is_ok() }
    };
    drop_everywhere(|hand| Rc::new(hand.client().keep(&UDP).unwrap()), call, stays_kept);
}

#[test]
fn a_stop_that_is_dropped_at_any_time_deletes_the_mapping_all_the_same() {
    let prepare = |hand: &mut Hand| RefCell::new(Rc::into_inner(open(hand)));
    let call = |_: Client, kept: &RefCell<Option<KeptMapping>>| {
        let kept = kept.take().unwrap();
        async move { kept.stop().await.is_ok() }
    };
    drop_everywhere(prepare, call, |hand, _, _| {
        hand.until(|hand| !hand.has(4_000));
        false
    });
}

/// It may have been granted, and it may not.
#[test]
fn a_stop_of_a_mapping_that_is_being_made_deletes_it_whenever_it_is_dropped() {
    let prepare = |hand: &mut Hand| {
        let kept = hand.client().keep(&UDP).unwrap();
        hand.poll_driver();
        RefCell::new(Some(kept))
    };
    let call = |_: Client, kept: &RefCell<Option<KeptMapping>>| {
        let kept = kept.take().unwrap();
        async move { kept.stop().await.is_ok() }
    };
    drop_everywhere(prepare, call, |_, _, _| false);
}

#[test]
fn news_that_nobody_waited_for_any_more_comes_next() {
    let mut received = 0;
    for steps in orders(&[Step::Call, Step::ClientDriver, Step::Gateway], 6) {
        let mut hand = Hand::new();
        let client = hand.client();
        let mut events = client.events();
        let mut asking = Polled::new(client.external_address());
        asking.poll();
        let mut next = Polled::new(events.next());
        for step in &steps {
            match step {
                Step::Call => next.poll(),
                Step::ClientDriver => hand.poll_driver(),
                Step::Gateway => hand.answer(),
            }
        }
        let first = next.result().flatten();
        received += u32::from(first.is_some());
        drop(next);
        let first = first.or_else(|| hand.finish(events.next()));
        assert_eq!(first, Some(Event::ExternalAddress(Ok(Gateway::EXTERNAL))), "{steps:?}");
        let mapping = hand.finish(client.map(&UDP)).unwrap();
        assert_eq!(hand.finish(events.next()), Some(Event::Mapped(mapping)), "{steps:?}");
        drop(asking);
        drop(client);
        assert_eq!(hand.end(), [4_000], "{steps:?}");
    }
    assert!(received > 0, "no order of steps was long enough");
}

fn open(hand: &mut Hand) -> Rc<KeptMapping> {
    let kept = hand.client().keep(&UDP).unwrap();
    hand.finish(kept.wait_open(LONG)).unwrap();
    Rc::new(kept)
}

/// For as long as its handle exists, and no longer.
fn stays_kept(hand: &mut Hand, kept: &Rc<KeptMapping>, _: Dropped) -> bool {
    assert_eq!(hand.finish(kept.refresh()).unwrap().external_port, 4_000);
    assert!(kept.state().next_attempt_in.is_some());
    false
}

const LONG: Duration = Duration::from_secs(3_600);
