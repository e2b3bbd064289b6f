//! Several threads, one client.

use std::sync::mpsc::Receiver;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use natpmp_proto::wire::Request;
use natpmp_std::{Ending, Error, MapRequest, Protocol};
use natpmp_testkit::gateway::{Gateway, Reach, Served};

use natpmp_suites::{Adapter, ClientUnderTest, KeptUnderTest, on_each_adapter};
use natpmp_testkit::waiting::{SOON, begin, eventually, in_time};

use super::{UDP, client, gateway, keep};

on_each_adapter!(
    several_threads_map_different_ports_side_by_side,
    several_threads_that_ask_for_the_same_all_get_the_answer,
    two_hundred_kept_mappings_and_fifty_callers_are_served,
    a_call_that_maps_is_interrupted_by_one_that_unmaps,
    a_call_that_maps_is_interrupted_by_one_that_unmaps_all,
    a_call_that_unmaps_is_interrupted_by_one_that_maps,
    a_refresh_is_interrupted_by_a_call_that_unmaps,
    another_gateway_interrupts_a_deletion_and_answers_what_else_waits,
);

/// C02: they wait for each other, since one request is in flight at a time.
fn several_threads_map_different_ports_side_by_side<A: Adapter>() {
    let delay = Duration::from_millis(3);
    let gateway = gateway(|faults| faults.delay = delay);
    let client = client::<A>(&gateway);
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
    assert_eq!(gateway.leases(), 40);
    let times: Vec<_> = gateway.with(|gateway, _| gateway.received().iter().map(|received| received.at).collect());
    let gaps = times.windows(2).map(|pair| pair[1].saturating_since(pair[0]));
    assert!(gaps.min() >= Some(delay), "a request was sent before the one in flight was answered");
}

fn several_threads_that_ask_for_the_same_all_get_the_answer<A: Adapter>() {
    let gateway = gateway(|faults| faults.delay = Duration::from_millis(20));
    let client = client::<A>(&gateway);
    let waiting: Vec<_> = (0..8)
        .map(|_| {
            let client = client.clone();
            begin(move || (client.map(&UDP).unwrap().external_port, client.external_address().unwrap()))
        })
        .collect();
    for answer in waiting {
        assert_eq!(answer.recv_timeout(SOON).unwrap(), (4_000, Gateway::EXTERNAL));
    }
    assert_eq!(gateway.leases(), 1);
}

fn two_hundred_kept_mappings_and_fifty_callers_are_served<A: Adapter>() {
    let gateway = gateway(|_| {});
    let client = client::<A>(&gateway);
    let kept: Vec<_> =
        (0..200).map(|index| client.keep(&MapRequest::new(Protocol::Udp, 10_000 + index)).unwrap()).collect();
    let callers: Vec<_> = (20_000..20_050)
        .map(|port| {
            calling(&client, move |client| {
                let request = MapRequest::new(Protocol::Tcp, port);
                assert_eq!(client.external_address().unwrap(), Gateway::EXTERNAL);
                let mapping = client.map(&request).unwrap();
                assert_eq!(mapping.external_port, port);
                assert_eq!(client.delete(&mapping).unwrap(), Ending::Unmapped);
                let mapping = client.map(&request).unwrap();
                assert_eq!(client.refresh(&mapping).unwrap(), mapping);
            })
        })
        .collect();
    callers.iter().for_each(|caller| caller.recv_timeout(SOON).unwrap());
    for kept in &kept {
        assert_eq!(kept.wait_open(SOON).unwrap().external_port, kept.internal_port());
    }
    assert_eq!(gateway.leases(), 250);
    assert_eq!(client.mappings().len(), 250);
    in_time(move || drop((kept, client)));
    assert_eq!(gateway.leases(), 50, "what is kept is deleted at the end");
}

fn a_call_that_maps_is_interrupted_by_one_that_unmaps<A: Adapter>() {
    let gateway = gateway(|faults| faults.reach = Reach::Silent);
    let client = client::<A>(&gateway);
    let mapping = calling(&client, |client| client.map(&UDP).map(drop));
    await_request(&gateway, |request| matches!(request, Request::Map { lifetime: 1.., .. }));
    let unmapping = calling(&client, |client| client.unmap(Protocol::Udp, 4_000));
    await_request(&gateway, |request| matches!(request, Request::Map { lifetime: 0, .. }));
    gateway.reach(Reach::Open);
    assert!(matches!(mapping.recv_timeout(SOON).unwrap(), Err(Error::Interrupted)));
    assert!(matches!(unmapping.recv_timeout(SOON).unwrap(), Ok(Ending::Unmapped)));
    assert_eq!(gateway.lease(Protocol::Udp, 4_000), None);
}

fn a_call_that_maps_is_interrupted_by_one_that_unmaps_all<A: Adapter>() {
    let gateway = gateway(|faults| faults.reach = Reach::Silent);
    let client = client::<A>(&gateway);
    let mapping = calling(&client, |client| client.map(&UDP).map(drop));
    await_request(&gateway, |request| matches!(request, Request::Map { lifetime: 1.., .. }));
    let unmapping = calling(&client, |client| client.unmap_all(Protocol::Udp));
    await_request(&gateway, |&request| request == Request::delete(Protocol::Udp, 0));
    gateway.reach(Reach::Open);
    assert!(matches!(mapping.recv_timeout(SOON).unwrap(), Err(Error::Interrupted)));
    unmapping.recv_timeout(SOON).unwrap().unwrap();
}

fn a_call_that_unmaps_is_interrupted_by_one_that_maps<A: Adapter>() {
    let gateway = gateway(|_| {});
    let client = client::<A>(&gateway);
    client.map(&UDP).unwrap();
    gateway.reach(Reach::Silent);
    let unmapping = calling(&client, |client| client.unmap(Protocol::Udp, 4_000));
    await_request(&gateway, |request| matches!(request, Request::Map { lifetime: 0, .. }));
    let mapping = calling(&client, |client| client.map(&UDP).map(|mapping| mapping.external_port));
    gateway.reach(Reach::Open);
    assert!(matches!(unmapping.recv_timeout(SOON).unwrap(), Err(Error::Interrupted)));
    assert_eq!(mapping.recv_timeout(SOON).unwrap().unwrap(), 4_000);
    assert_eq!(gateway.lease(Protocol::Udp, 4_000), Some(4_000));
}

fn a_refresh_is_interrupted_by_a_call_that_unmaps<A: Adapter>() {
    let gateway = gateway(|_| {});
    let client = client::<A>(&gateway);
    let kept = keep(&client, &UDP);
    gateway.reach(Reach::Silent);
    let refreshing = begin(move || (kept.refresh().map(drop), kept));
    eventually("it is asked for", || gateway.requests().len() > 1);
    let unmapping = calling(&client, |client| client.unmap(Protocol::Udp, 4_000));
    await_request(&gateway, |request| matches!(request, Request::Map { lifetime: 0, .. }));
    gateway.reach(Reach::Open);
    let (refreshed, kept) = refreshing.recv_timeout(SOON).unwrap();
    assert!(matches!(refreshed, Err(Error::Interrupted)));
    unmapping.recv_timeout(SOON).unwrap().unwrap();
    assert_eq!(kept.stop().unwrap(), Ending::Unmapped);
}

/// A deletion has no business at a gateway that never had the mapping.
fn another_gateway_interrupts_a_deletion_and_answers_what_else_waits<A: Adapter>() {
    let (silent, second) = (gateway(|_| {}), gateway(|_| {}));
    let client = client::<A>(&silent);
    client.map(&UDP).unwrap();
    silent.reach(Reach::Silent);
    let unmapping = calling(&client, |client| client.unmap(Protocol::Udp, 4_000));
    await_request(&silent, |request| matches!(request, Request::Map { lifetime: 0, .. }));
    let address = calling(&client, A::Client::external_address);
    let mapping = calling(&client, |client| client.map(&MapRequest::new(Protocol::Tcp, 4_001)));
    client.set_gateway(second.address());
    assert!(matches!(unmapping.recv_timeout(SOON).unwrap(), Err(Error::Interrupted)));
    assert_eq!(address.recv_timeout(SOON).unwrap().unwrap(), Gateway::EXTERNAL);
    assert_eq!(mapping.recv_timeout(SOON).unwrap().unwrap().external_port, 4_001);
    assert_eq!(second.lease(Protocol::Tcp, 4_001), Some(4_001));
}

/// Calls the client on a thread of its own.
fn calling<C: ClientUnderTest, T: Send + 'static>(
    client: &C,
    call: impl FnOnce(&C) -> T + Send + 'static,
) -> Receiver<T> {
    let client = client.clone();
    begin(move || call(&client))
}

#[track_caller]
fn await_request(gateway: &Served, is_awaited: impl Fn(&Request) -> bool) {
    eventually("the request is sent", || gateway.requests().iter().any(&is_awaited));
}
