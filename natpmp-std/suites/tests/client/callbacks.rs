//! Callbacks of kept mappings.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use natpmp_proto::wire::Request;
use natpmp_std::{Backoff, Change, Ending, Error, Event, MapRequest, Protocol};
use natpmp_suites::{
    Adapter, ClientSetup, ClientUnderTest, KeptUnderTest, SubscriptionUnderTest, listening, on_each_adapter,
};
use natpmp_testkit::gateway::{Announces, Gateway};
use natpmp_testkit::scripted::{Scripted, granted};
use natpmp_testkit::waiting::{SOON, begin, eventually, in_time};

use super::{SHORT, TCP, UDP, client, gateway, keep, setup, start};

on_each_adapter!(
    it_is_told_the_first_time_and_once,
    it_is_told_of_a_mapping_whose_address_is_not_known,
    it_is_told_of_a_mapping_at_a_gateway_that_never_says_its_address,
    it_is_told_of_every_change_of_the_port_once,
    it_is_told_of_an_announced_change_of_the_address_once,
    it_is_told_of_a_change_of_the_address_that_nobody_announced,
    it_is_told_of_a_loss_and_of_the_return,
    one_that_panics_harms_nothing_else_and_is_called_again,
    one_whose_captures_panic_when_dropped_does_no_harm,
    one_may_call_the_client,
    one_may_drop_its_own_handle,
    one_that_is_not_taken_may_hold_a_handle,
    one_is_dropped_with_its_mapping_and_told_of_no_more,
    a_second_keep_of_the_same_mapping_does_not_replace_the_callback,
    another_callback_is_no_change_to_the_first,
    one_that_holds_the_client_does_not_keep_it_alive,
);

fn it_is_told_the_first_time_and_once<A: Adapter>() {
    let gateway = gateway(|_| {});
    let client = client::<A>(&gateway);
    let reported = Calls::default();
    let kept = client.keep_with(&UDP, reported.callback()).unwrap();
    assert_eq!(reported.next(1), [(Some(4_000), HERE)]);
    // What is renewed as it was is no change.
    kept.refresh().unwrap();
    client.external_address().unwrap();
    settle(&client);
    assert_eq!(reported.all(), [(Some(4_000), HERE)]);
}

fn it_is_told_of_a_mapping_whose_address_is_not_known<A: Adapter>() {
    let gateway = gateway(|faults| faults.refuse_address = Some(3));
    let client = client::<A>(&gateway);
    let reported = Calls::default();
    let _kept = client.keep_with(&UDP, reported.callback()).unwrap();
    assert_eq!(reported.next(1), [(Some(4_000), None)]);
    gateway.turn(|faults| faults.refuse_address = None);
    client.external_address().unwrap();
    settle(&client);
    assert_eq!(reported.all(), [(Some(4_000), None), (Some(4_000), HERE)]);
}

/// The question for the address, which comes first, must not keep the mapping from being asked for for ever.
fn it_is_told_of_a_mapping_at_a_gateway_that_never_says_its_address<A: Adapter>() {
    let gateway = Scripted::start(granted);
    let client = start::<A>(ClientSetup {
        gateway: Some(gateway.address()),
        schedule: Some(SHORT),
        backoff: Some(Backoff::new(Duration::from_millis(50), Duration::from_millis(100))),
        ..ClientSetup::default()
    });
    let reported = Calls::default();
    let _kept = client.keep_with(&UDP, reported.callback()).unwrap();
    assert_eq!(reported.next(1), [(Some(4_000), None)]);
}

/// C24
fn it_is_told_of_every_change_of_the_port_once<A: Adapter>() {
    let gateway = gateway(|faults| faults.moves_ports = true);
    let client = client::<A>(&gateway);
    let (reported, other) = (Calls::default(), Calls::default());
    let kept = client.keep_with(&UDP, reported.callback()).unwrap();
    let _other = client.keep_with(&TCP, other.callback()).unwrap();
    reported.next(1);
    other.next(1);
    kept.refresh().unwrap();
    kept.refresh().unwrap();
    gateway.turn(|faults| faults.moves_ports = false);
    // What is renewed as it was is no change.
    kept.refresh().unwrap();
    settle(&client);
    assert_eq!(reported.all(), [(Some(4_000), HERE), (Some(4_001), HERE), (Some(4_002), HERE)]);
    assert_eq!(other.all(), [(Some(4_000), HERE)], "that was not its mapping");
}

/// The gateway says so many times over, and it is asked each time.
fn it_is_told_of_an_announced_change_of_the_address_once<A: Adapter>() {
    let gateway = gateway(|faults| faults.announces = Announces::NatPmp);
    let (client, announcements) = listening::<A::Client>(&setup(&gateway));
    gateway.announce_to(announcements);
    let reported = Calls::default();
    let _kept = client.keep_with(&UDP, reported.callback()).unwrap();
    reported.next(1);
    gateway.forget();
    gateway.with(|gateway, now| gateway.change_address(now, Some(ELSEWHERE)));
    let expected = [(Some(4_000), HERE), (Some(4_000), Some(ELSEWHERE))];
    assert_eq!(reported.next(2), expected);
    let questions = || gateway.requests().iter().filter(|&&request| request == Request::ExternalAddress).count();
    eventually("a second announcement is checked", || questions() > 1);
    settle(&client);
    assert_eq!(reported.all(), expected);
}

fn it_is_told_of_a_change_of_the_address_that_nobody_announced<A: Adapter>() {
    let gateway = gateway(|_| {});
    let client = start::<A>(ClientSetup { external_address_interval: Some(Duration::from_secs(1)), ..setup(&gateway) });
    let reported = Calls::default();
    let _kept = client.keep_with(&UDP, reported.callback()).unwrap();
    reported.next(1);
    // Whoever else watched it does so no more; the callback does.
    client.watch_external_address(true);
    client.watch_external_address(false);
    client.external_address().unwrap();
    gateway.with(|gateway, now| gateway.change_address(now, Some(ELSEWHERE)));
    assert_eq!(reported.next(2), [(Some(4_000), HERE), (Some(4_000), Some(ELSEWHERE))]);
}

/// C25
fn it_is_told_of_a_loss_and_of_the_return<A: Adapter>() {
    let gateway = gateway(|_| {});
    let client = client::<A>(&gateway);
    let reported = Calls::default();
    let _kept = client.keep_with(&UDP.lifetime(2), reported.callback()).unwrap();
    reported.next(1);
    gateway.turn(|faults| faults.refuse_map = Some(4));
    assert_eq!(reported.next(2), [(Some(4_000), HERE), (None, HERE)]);
    gateway.turn(|faults| faults.refuse_map = None);
    assert_eq!(reported.next(3)[2], (Some(4_000), HERE));
}

fn one_that_panics_harms_nothing_else_and_is_called_again<A: Adapter>() {
    let gateway = gateway(|faults| faults.moves_ports = true);
    let client = client::<A>(&gateway);
    let (reported, other) = (Calls::default(), Calls::default());
    let mut report = reported.callback();
    let kept = client
        .keep_with(&UDP, move |change| {
            report(change);
            std::panic::resume_unwind(Box::new("a callback that panics"));
        })
        .unwrap();
    reported.next(1);
    let neighbour = client.keep_with(&TCP, other.callback()).unwrap();
    assert_eq!(other.next(1), [(Some(4_000), HERE)]);
    kept.refresh().unwrap();
    neighbour.refresh().unwrap();
    assert_eq!(other.next(2)[1], (Some(4_001), HERE));
    assert_eq!(reported.next(2)[1], (Some(4_001), HERE));
    assert_eq!(kept.stop().unwrap(), Ending::Unmapped);
}

fn one_whose_captures_panic_when_dropped_does_no_harm<A: Adapter>() {
    struct Panics;
    impl Drop for Panics {
        fn drop(&mut self) {
            std::panic::resume_unwind(Box::new("a capture that panics"));
        }
    }
    let gateway = gateway(|_| {});
    let client = client::<A>(&gateway);
    let panics = Panics;
    let callback = move |_: &Change| {
        let _panics = &panics;
    };
    let kept = client.keep_with(&UDP, callback).unwrap();
    kept.refresh().unwrap();
    assert_eq!(kept.stop().unwrap(), Ending::Unmapped);
    client.external_address().unwrap();
}

/// All that does not wait.
fn one_may_call_the_client<A: Adapter>() {
    let gateway = gateway(|_| {});
    let client = client::<A>(&gateway);
    let slot = Arc::new(Mutex::new(None));
    let (caller, made) = (client.clone(), Arc::clone(&slot));
    let mut first = Some(keep(&client, &MapRequest::new(Protocol::Tcp, 5_000)));
    let kept = client
        .keep_with(&UDP, move |_| {
            let events = caller.events();
            let kept = caller.keep(&MapRequest::new(Protocol::Tcp, 5_001)).unwrap();
            *made.lock().unwrap() = Some((kept, events));
            assert!(matches!(caller.keep(&UDP), Err(Error::AlreadyKept)));
            caller.watch_external_address(true);
            caller.network_changed();
            drop((caller.clone(), first.take(), caller.mappings(), caller.local_address()));
        })
        .unwrap();
    eventually("it is called", || slot.lock().unwrap().is_some());
    let (other, mut events) = slot.lock().unwrap().take().unwrap();
    assert!(other.wait_open(SOON).is_ok());
    let of_other = std::iter::from_fn(|| events.next_timeout(SOON))
        .find(|event| event.mapping_key() == Some((Protocol::Tcp, 5_001)));
    assert!(matches!(of_other, Some(Event::Mapped(_))), "{of_other:?}");
    eventually("the first is deleted", || gateway.leases() == 2);
    // The callback holds the client.
    kept.stop().unwrap();
    in_time(move || drop((other, client)));
    eventually("the end has come", || gateway.leases() == 0);
}

fn one_may_drop_its_own_handle<A: Adapter>() {
    let gateway = gateway(|_| {});
    let client = client::<A>(&gateway);
    let mut events = client.events();
    let slot = Arc::new(Mutex::new(None));
    let own = Arc::clone(&slot);
    let mut held = slot.lock().unwrap();
    *held = Some(client.keep_with(&UDP, move |_| drop(own.lock().unwrap().take())).unwrap());
    drop((held, client));
    // It was the last handle.
    in_time(move || while events.next().is_some() {});
    assert!(slot.lock().unwrap().is_none());
    assert_eq!(gateway.leases(), 0);
}

/// The handle that it holds takes the client's lock when it is dropped.
fn one_that_is_not_taken_may_hold_a_handle<A: Adapter>() {
    let gateway = gateway(|_| {});
    let client = client::<A>(&gateway);
    in_time(move || {
        let kept = keep(&client, &UDP);
        for request in [UDP, TCP.lifetime(0)] {
            let held = client.keep(&MapRequest::new(Protocol::Tcp, 5_000)).unwrap();
            let callback = move |_: &Change| assert!(held.state().mapping.is_none());
            client.keep_with(&request, callback).expect_err("it is kept already, or makes no sense");
        }
        client.external_address().unwrap();
        assert!(kept.state().mapping.is_some());
    });
    assert_eq!(gateway.leases(), 0);
}

fn one_is_dropped_with_its_mapping_and_told_of_no_more<A: Adapter>() {
    let gateway = gateway(|_| {});
    let client = client::<A>(&gateway);
    let token = Arc::new(());
    let [kept, kept_too, unmapped] = [4_000, 4_001, 4_002].map(|port| {
        let (reported, held) = (Calls::default(), Arc::clone(&token));
        let mut report = reported.callback();
        let callback = move |change: &Change| {
            let _held = &held;
            report(change);
        };
        (client.keep_with(&MapRequest::new(Protocol::Udp, port), callback).unwrap(), reported)
    });
    let all_told = [&kept.1, &kept_too.1, &unmapped.1].map(Calls::clone);
    all_told.iter().for_each(|reported| assert_eq!(reported.next(1).len(), 1));
    kept.0.stop().unwrap();
    drop(kept_too);
    client.unmap(Protocol::Udp, 4_002).unwrap();
    eventually("all are dropped", || Arc::strong_count(&token) == 1);
    settle(&client);
    // Only what another call took back is told of as lost.
    assert_eq!(all_told.map(|reported| reported.all().len()), [1, 1, 2]);
}

fn a_second_keep_of_the_same_mapping_does_not_replace_the_callback<A: Adapter>() {
    let gateway = gateway(|faults| faults.moves_ports = true);
    let client = client::<A>(&gateway);
    let (reported, other) = (Calls::default(), Calls::default());
    let kept = client.keep_with(&UDP, reported.callback()).unwrap();
    assert!(matches!(client.keep_with(&UDP, other.callback()), Err(Error::AlreadyKept)));
    reported.next(1);
    kept.refresh().unwrap();
    assert_eq!(reported.next(2)[1], (Some(4_001), HERE));
    assert_eq!(other.all(), []);
}

/// The address is asked for again when the second one comes; that it is unknown meanwhile is no change.
fn another_callback_is_no_change_to_the_first<A: Adapter>() {
    let gateway = gateway(|_| {});
    let client = client::<A>(&gateway);
    let (reported, other) = (Calls::default(), Calls::default());
    let kept = client.keep_with(&UDP, reported.callback()).unwrap();
    reported.next(1);
    // The answer to this renewal comes when the second callback is there already.
    gateway.turn(|faults| faults.delay = Duration::from_millis(100));
    gateway.forget();
    let refreshing = begin(move || (kept.refresh().unwrap(), kept));
    eventually("it is asked for", || !gateway.requests().is_empty());
    let _other = client.keep_with(&TCP, other.callback()).unwrap();
    let (_, _kept) = refreshing.recv_timeout(SOON).unwrap();
    assert_eq!(other.next(1), [(Some(4_000), HERE)]);
    settle(&client);
    assert_eq!(reported.all(), [(Some(4_000), HERE)]);
}

/// The last handle may be the one that a callback holds: it is dropped on the callbacks' own thread.
fn one_that_holds_the_client_does_not_keep_it_alive<A: Adapter>() {
    let gateway = gateway(|_| {});
    let client = client::<A>(&gateway);
    let mut events = client.events();
    let reported = Calls::default();
    let (mut report, held) = (reported.callback(), client.clone());
    let kept = client
        .keep_with(&UDP, move |change| {
            report(change);
            assert!(held.local_address().is_some());
        })
        .unwrap();
    reported.next(1);
    drop((client, kept));
    in_time(move || while events.next().is_some() {});
    assert_eq!(gateway.leases(), 0);
}

/// With what a callback was called: the port, and the address.
#[derive(Clone, Default)]
struct Calls(Arc<Mutex<Vec<At>>>);

type At = (Option<u16>, Option<Ipv4Addr>);

impl Calls {
    fn callback(&self) -> impl FnMut(&Change) + Send + 'static {
        let reported = self.clone();
        move |change: &Change| {
            let port = change.mapping.map(|mapping| {
                assert_eq!((mapping.protocol, mapping.internal_port), (change.protocol, change.internal_port));
                mapping.external_port
            });
            reported.0.lock().unwrap().push((port, change.external_address));
        }
    }

    fn all(&self) -> Vec<At> {
        self.0.lock().unwrap().clone()
    }

    /// Waits until it was told this often.
    #[track_caller]
    fn next(&self, count: usize) -> Vec<At> {
        eventually("the callback is called", || self.all().len() >= count);
        let all = self.all();
        assert_eq!(all.len(), count, "called too often: {all:?}");
        all
    }
}

/// Waits until every call that is due by now has been made: they come one after the other.
fn settle(client: &impl ClientUnderTest) {
    let reported = Calls::default();
    let last = client.keep_with(&MapRequest::new(Protocol::Udp, 9_999), reported.callback()).unwrap();
    eventually("the last call is made", || !reported.all().is_empty());
    last.stop().unwrap();
}

const HERE: Option<Ipv4Addr> = Some(Gateway::EXTERNAL);
const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(11, 99, 0, 7);
