//! What a client promises whose calls block and whose callbacks have a thread. All else is in `natpmp-std/suites`.
#![forbid(unsafe_code)]
#![cfg(test)]

use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use natpmp_proto::wire::Request;
use natpmp_std::{Change, Client, Ending, Error, KeptMapping, MapRequest, Mapping, Protocol, Subscription};
use natpmp_testkit::gateway::{Gateway, Served};
use natpmp_testkit::waiting::{SOON, eventually};

#[test]
fn one_that_calls_the_client_does_not_wait_for_itself() {
    let gateway = Served::start(Gateway::new());
    let client = client(&gateway);
    let (sender, answers) = mpsc::channel();
    let caller = client.clone();
    let kept = client
        .keep_with(&UDP, move |_| {
            let made = caller.map(&MapRequest::new(Protocol::Tcp, 5_000)).unwrap();
            let also = caller.keep(&MapRequest::new(Protocol::Tcp, 5_001)).unwrap();
            let _ = sender.send((caller.external_address().unwrap(), made.external_port, also.stop().unwrap()));
        })
        .unwrap();
    assert_eq!(answers.recv_timeout(SOON).unwrap(), (Gateway::EXTERNAL, 5_000, Ending::Unmapped));
    kept.stop().unwrap();
}

#[test]
fn one_may_stop_its_own_mapping() {
    let gateway = Served::start(Gateway::new());
    let client = client(&gateway);
    let slot: Arc<Mutex<Option<KeptMapping>>> = Arc::default();
    let (sender, endings) = mpsc::channel();
    let own = Arc::clone(&slot);
    let mut held = slot.lock().unwrap();
    *held = Some(
        client
            .keep_with(&UDP, move |_| {
                let kept = own.lock().unwrap().take();
                let _ = sender.send(kept.map(KeptMapping::stop));
            })
            .unwrap(),
    );
    drop(held);
    assert_eq!(endings.recv_timeout(SOON).unwrap().unwrap().unwrap(), Ending::Unmapped);
    assert_eq!(gateway.leases(), 0);
}

/// It runs on a thread of its own: the mapping is renewed while it blocks, and by its own interval.
#[test]
fn one_that_blocks_delays_no_renewal_and_no_call() {
    let gateway = Served::start(Gateway::new());
    let client = client(&gateway);
    let (release, released) = mpsc::channel::<()>();
    let (began, begun) = mpsc::channel();
    let kept = client
        .keep_with(&UDP.refresh_interval(1), move |_| {
            let _ = began.send(());
            let _ = released.recv();
        })
        .unwrap();
    begun.recv_timeout(SOON).unwrap();
    kept.refresh().unwrap();
    client.external_address().unwrap();
    let renewals = || gateway.requests().iter().filter(|request| matches!(request, Request::Map { .. })).count();
    eventually("it is renewed by itself", || renewals() > 2);
    drop(release);
}

#[test]
fn changes_wait_for_one_that_blocks_and_come_in_order() {
    let gateway = Served::start(Gateway::new());
    gateway.turn(|faults| faults.moves_ports = true);
    let client = client(&gateway);
    let (release, released) = mpsc::channel::<()>();
    let (sender, reported) = mpsc::channel();
    let kept = client
        .keep_with(&UDP, move |change| {
            let _ = sender.send((change.mapping.map(|mapping| mapping.external_port), thread::current().id()));
            let _ = released.recv();
        })
        .unwrap();
    let (first, thread) = reported.recv_timeout(SOON).unwrap();
    assert_eq!(first, Some(4_000));
    for _ in 0..3 {
        kept.refresh().unwrap();
    }
    assert!(reported.try_recv().is_err(), "the first call has not returned");
    drop(release);
    for port in [4_001, 4_002, 4_003] {
        assert_eq!(reported.recv_timeout(SOON).unwrap(), (Some(port), thread));
    }
}

#[test]
fn callbacks_are_called_neither_by_the_worker_nor_by_whoever_waits() {
    let gateway = Served::start(Gateway::new());
    let client = client(&gateway);
    let (sender, reported) = mpsc::channel();
    let report = move |_: &Change| {
        let _ = sender.send(thread::current().name().map(str::to_owned));
    };
    let kept = client.keep_with(&UDP, report).unwrap();
    kept.refresh().unwrap();
    let name = reported.recv_timeout(SOON).unwrap();
    assert_ne!(name.as_deref(), Some("natpmp"));
    assert_ne!(name.as_deref(), thread::current().name());
}

#[test]
fn waiting_for_one_ends_with_the_timeout() {
    let gateway = Served::start(Gateway::new());
    let client = client(&gateway);
    let mut events = client.events();
    let (began, timeout) = (Instant::now(), Duration::from_millis(30));
    assert_eq!(events.next_timeout(timeout), None);
    assert!(began.elapsed() >= timeout);
}

#[test]
fn clients_handles_and_subscriptions_can_be_sent_and_shared() {
    fn is_shareable<T: Send + Sync + 'static>() {}
    is_shareable::<Client>();
    is_shareable::<KeptMapping>();
    is_shareable::<Error>();
    is_shareable::<Subscription<Mapping>>();
}

fn client(gateway: &Served) -> Client {
    Client::builder().gateway(gateway.address()).announcements(false).build().expect("a client")
}

const UDP: MapRequest = MapRequest::new(Protocol::Udp, 4_000);
