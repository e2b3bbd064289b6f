//! What is left behind when the last handle of a client is dropped.

use std::time::{Duration, Instant};

use natpmp_proto::wire::Request;
use natpmp_std::{MapRequest, Protocol};
use natpmp_testkit::gateway::Reach;

use natpmp_suites::{Adapter, ClientSetup, ClientUnderTest, KeptUnderTest, on_each_adapter};
use natpmp_testkit::waiting::{eventually, in_time};

use super::{UDP, client, gateway, keep, setup, start};

on_each_adapter!(
    dropping_everything_leaves_no_kept_mapping_behind,
    every_handle_keeps_its_client_at_work,
    a_mapping_made_once_outlives_its_client,
    a_silent_gateway_holds_up_the_last_drop_for_the_goodbye_and_no_longer,
    after_a_stop_in_vain_the_last_drop_is_soon_over,
    a_closed_port_does_not_hold_up_the_last_drop,
    without_a_kept_mapping_the_last_drop_waits_for_nothing,
    a_goodbye_of_no_time_still_sends_the_deletion,
);

/// C06
fn dropping_everything_leaves_no_kept_mapping_behind<A: Adapter>() {
    let gateway = gateway(|_| {});
    let client = client::<A>(&gateway);
    let kept: Vec<_> = (0..20).map(|index| keep(&client, &MapRequest::new(Protocol::Tcp, 5_000 + index))).collect();
    assert_eq!(gateway.leases(), kept.len());
    in_time(move || drop((kept, client)));
    assert_eq!(gateway.leases(), 0);
    assert_eq!(gateway.deletions().len(), 20);
}

fn every_handle_keeps_its_client_at_work<A: Adapter>() {
    let gateway = gateway(|_| {});
    let client = client::<A>(&gateway);
    let kept = keep(&client, &UDP);
    let clone = client.clone();
    drop(client);
    assert_eq!(kept.refresh().unwrap().external_port, 4_000);
    drop(kept);
    clone.external_address().unwrap();
    let kept = keep(&clone, &UDP);
    drop(clone);
    assert_eq!(kept.refresh().unwrap().external_port, 4_000);
    in_time(move || drop(kept));
    assert_eq!(gateway.leases(), 0);
}

fn a_mapping_made_once_outlives_its_client<A: Adapter>() {
    let gateway = gateway(|_| {});
    let first = client::<A>(&gateway);
    first.map(&UDP).unwrap();
    drop(first);
    assert_eq!(gateway.lease(Protocol::Udp, 4_000), Some(4_000));
    assert_eq!(gateway.deletions(), []);
}

/// However many there are to be deleted.
fn a_silent_gateway_holds_up_the_last_drop_for_the_goodbye_and_no_longer<A: Adapter>() {
    let gateway = gateway(|_| {});
    let goodbye = Duration::from_millis(400);
    let client = start::<A>(ClientSetup { goodbye: Some(goodbye), ..setup(&gateway) });
    let kept: Vec<_> = (0..20).map(|index| keep(&client, &MapRequest::new(Protocol::Tcp, 5_000 + index))).collect();
    gateway.reach(Reach::Silent);
    let began = Instant::now();
    in_time(move || drop((kept, client)));
    let took = began.elapsed();
    assert!(took >= goodbye && took < Duration::from_secs(2), "{took:?}");
    assert_eq!(gateway.deletions()[0], Request::delete(Protocol::Tcp, 5_000));
}

/// A deletion was waited for in vain: there is no point in waiting again.
fn after_a_stop_in_vain_the_last_drop_is_soon_over<A: Adapter>() {
    let gateway = gateway(|_| {});
    let goodbye = Duration::from_secs(2);
    let client = start::<A>(ClientSetup { goodbye: Some(goodbye), ..setup(&gateway) });
    let kept = keep(&client, &UDP);
    gateway.reach(Reach::Silent);
    in_time(move || kept.stop()).expect_err("there is no answer");
    let began = Instant::now();
    in_time(move || drop(client));
    assert!(began.elapsed() < goodbye / 2, "{:?}", began.elapsed());
}

fn a_closed_port_does_not_hold_up_the_last_drop<A: Adapter>() {
    let gateway = gateway(|_| {});
    let client = start::<A>(ClientSetup { goodbye: Some(Duration::from_secs(60)), ..setup(&gateway) });
    let kept = keep(&client, &UDP);
    gateway.reach(Reach::Closed);
    in_time(move || drop((kept, client)));
}

fn without_a_kept_mapping_the_last_drop_waits_for_nothing<A: Adapter>() {
    let gateway = gateway(|_| {});
    let client = start::<A>(ClientSetup { goodbye: Some(Duration::from_secs(60)), ..setup(&gateway) });
    client.map(&UDP).unwrap();
    gateway.reach(Reach::Silent);
    client.watch_external_address(true);
    in_time(move || drop(client));
    assert_eq!(gateway.deletions(), []);
    assert_eq!(gateway.lease(Protocol::Udp, 4_000), Some(4_000));
}

fn a_goodbye_of_no_time_still_sends_the_deletion<A: Adapter>() {
    let gateway = gateway(|_| {});
    let client = start::<A>(ClientSetup { goodbye: Some(Duration::ZERO), ..setup(&gateway) });
    let kept = keep(&client, &UDP);
    drop(kept);
    drop(client);
    eventually("it is deleted", || gateway.leases() == 0);
    assert_eq!(gateway.requests().last(), Some(&Request::delete(Protocol::Udp, 4_000)));
}
