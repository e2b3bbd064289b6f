//! Several threads, one client.

use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use natpmp_proto::wire::Request;
use natpmp_std::{Client, Ending, Error, KeptMapping, MapRequest, Mapping, Protocol, Subscription};
use natpmp_testkit::gateway::{Gateway, Reach, Served};

use super::{SOON, UDP, begin, client, eventually, gateway, keep, lease, leases, reach, requests};

#[test]
fn clients_handles_and_subscriptions_can_be_sent_and_shared() {
    fn is_shareable<T: Send + Sync + 'static>() {}
    is_shareable::<Client>();
    is_shareable::<KeptMapping>();
    is_shareable::<Error>();
    is_shareable::<Subscription<Mapping>>();
}

/// C02: they wait for each other, since one request is in flight at a time.
#[test]
fn several_threads_map_different_ports_side_by_side() {
    let delay = Duration::from_millis(3);
    let gateway = gateway(|faults| faults.delay = delay);
    let client = client(&gateway);
    let together = Arc::new(Barrier::new(8));
    let threads: Vec<_> = (0..8)
        .map(|thread| {
            let (client, together) = (client.clone(), Arc::clone(&together));
            thread::spawn(move || {
                together.wait();
                for port in (0..5).map(|index| 5_000 + thread * 100 + index) {
                    let mapping = client.map(&MapRequest::new(Protocol::Tcp, port)).unwrap();
                    assert_eq!((mapping.internal_port, mapping.external_port), (port, port));
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(leases(&gateway), 40);
    let times: Vec<_> = gateway.with(|gateway, _| gateway.received().iter().map(|received| received.at).collect());
    let gaps = times.windows(2).map(|pair| pair[1].saturating_since(pair[0]));
    assert!(gaps.min() >= Some(delay), "a request was sent before the one in flight was answered");
}

#[test]
fn several_threads_that_ask_for_the_same_all_get_the_answer() {
    let gateway = gateway(|faults| faults.delay = Duration::from_millis(20));
    let client = client(&gateway);
    let waiting: Vec<_> = (0..8)
        .map(|_| {
            let client = client.clone();
            begin(move || (client.map(&UDP).unwrap().external_port, client.external_address().unwrap()))
        })
        .collect();
    for answer in waiting {
        assert_eq!(answer.recv_timeout(SOON).unwrap(), (4_000, Gateway::EXTERNAL));
    }
    assert_eq!(leases(&gateway), 1);
}

#[test]
fn a_call_that_maps_is_interrupted_by_one_that_unmaps() {
    let gateway = gateway(|faults| faults.reach = Reach::Silent);
    let client = client(&gateway);
    let mapping = calling(&client, |client| client.map(&UDP).map(drop));
    await_request(&gateway, |request| matches!(request, Request::Map { lifetime: 1.., .. }));
    let unmapping = calling(&client, |client| client.unmap(Protocol::Udp, 4_000));
    await_request(&gateway, |request| matches!(request, Request::Map { lifetime: 0, .. }));
    reach(&gateway, Reach::Open);
    assert!(matches!(mapping.recv_timeout(SOON).unwrap(), Err(Error::Interrupted)));
    assert!(matches!(unmapping.recv_timeout(SOON).unwrap(), Ok(Ending::Unmapped)));
    assert_eq!(lease(&gateway, Protocol::Udp, 4_000), None);
}

#[test]
fn a_call_that_maps_is_interrupted_by_one_that_unmaps_all() {
    let gateway = gateway(|faults| faults.reach = Reach::Silent);
    let client = client(&gateway);
    let mapping = calling(&client, |client| client.map(&UDP).map(drop));
    await_request(&gateway, |request| matches!(request, Request::Map { lifetime: 1.., .. }));
    let unmapping = calling(&client, |client| client.unmap_all(Protocol::Udp));
    await_request(&gateway, |&request| request == Request::delete(Protocol::Udp, 0));
    reach(&gateway, Reach::Open);
    assert!(matches!(mapping.recv_timeout(SOON).unwrap(), Err(Error::Interrupted)));
    unmapping.recv_timeout(SOON).unwrap().unwrap();
}

#[test]
fn a_call_that_unmaps_is_interrupted_by_one_that_maps() {
    let gateway = gateway(|_| {});
    let client = client(&gateway);
    client.map(&UDP).unwrap();
    reach(&gateway, Reach::Silent);
    let unmapping = calling(&client, |client| client.unmap(Protocol::Udp, 4_000));
    await_request(&gateway, |request| matches!(request, Request::Map { lifetime: 0, .. }));
    let mapping = calling(&client, |client| client.map(&UDP).map(|mapping| mapping.external_port));
    reach(&gateway, Reach::Open);
    assert!(matches!(unmapping.recv_timeout(SOON).unwrap(), Err(Error::Interrupted)));
    assert_eq!(mapping.recv_timeout(SOON).unwrap().unwrap(), 4_000);
    assert_eq!(lease(&gateway, Protocol::Udp, 4_000), Some(4_000));
}

#[test]
fn a_refresh_is_interrupted_by_a_call_that_unmaps() {
    let gateway = gateway(|_| {});
    let client = client(&gateway);
    let kept = keep(&client, &UDP);
    reach(&gateway, Reach::Silent);
    let refreshing = begin(move || (kept.refresh().map(drop), kept));
    eventually("it is asked for", || requests(&gateway).len() > 1);
    let unmapping = calling(&client, |client| client.unmap(Protocol::Udp, 4_000));
    await_request(&gateway, |request| matches!(request, Request::Map { lifetime: 0, .. }));
    reach(&gateway, Reach::Open);
    let (refreshed, kept) = refreshing.recv_timeout(SOON).unwrap();
    assert!(matches!(refreshed, Err(Error::Interrupted)));
    unmapping.recv_timeout(SOON).unwrap().unwrap();
    assert_eq!(kept.stop().unwrap(), Ending::Unmapped);
}

/// A deletion has no business at a gateway that never had the mapping.
#[test]
fn another_gateway_interrupts_a_deletion_and_answers_what_else_waits() {
    let (silent, second) = (gateway(|_| {}), gateway(|_| {}));
    let client = client(&silent);
    client.map(&UDP).unwrap();
    reach(&silent, Reach::Silent);
    let unmapping = calling(&client, |client| client.unmap(Protocol::Udp, 4_000));
    await_request(&silent, |request| matches!(request, Request::Map { lifetime: 0, .. }));
    let address = calling(&client, Client::external_address);
    let mapping = calling(&client, |client| client.map(&MapRequest::new(Protocol::Tcp, 4_001)));
    client.set_gateway(second.address());
    assert!(matches!(unmapping.recv_timeout(SOON).unwrap(), Err(Error::Interrupted)));
    assert_eq!(address.recv_timeout(SOON).unwrap().unwrap(), Gateway::EXTERNAL);
    assert_eq!(mapping.recv_timeout(SOON).unwrap().unwrap().external_port, 4_001);
    assert_eq!(lease(&second, Protocol::Tcp, 4_001), Some(4_001));
}

/// Calls the client on a thread of its own.
fn calling<T: Send + 'static>(
    client: &Client,
    call: impl FnOnce(&Client) -> T + Send + 'static,
) -> std::sync::mpsc::Receiver<T> {
    let client = client.clone();
    begin(move || call(&client))
}

#[track_caller]
fn await_request(gateway: &Served, is_awaited: impl Fn(&Request) -> bool) {
    eventually("the request is sent", || requests(gateway).iter().any(&is_awaited));
}
