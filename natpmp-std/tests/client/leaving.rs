//! What is left behind when the last handle of a client is dropped.

use std::time::{Duration, Instant};

use natpmp_proto::wire::Request;
use natpmp_std::{MapRequest, Protocol};
use natpmp_testkit::gateway::Reach;

use super::{TCP, UDP, builder, client, deletions, eventually, gateway, in_time, keep, lease, leases, reach, requests};

/// C06
#[test]
fn dropping_everything_leaves_no_kept_mapping_behind() {
    let gateway = gateway(|_| {});
    let client = client(&gateway);
    let kept: Vec<_> = (0..20).map(|index| keep(&client, &MapRequest::new(Protocol::Tcp, 5_000 + index))).collect();
    assert_eq!(leases(&gateway), kept.len());
    in_time(move || {
        drop(kept);
        drop(client);
    });
    assert_eq!(leases(&gateway), 0);
}

#[test]
fn a_handle_keeps_its_client_at_work() {
    let gateway = gateway(|_| {});
    let client = client(&gateway);
    let kept = keep(&client, &UDP);
    drop(client);
    assert_eq!(kept.refresh().unwrap().external_port, 4_000);
    in_time(move || drop(kept));
    assert_eq!(leases(&gateway), 0);
}

#[test]
fn a_mapping_made_once_outlives_its_client() {
    let gateway = gateway(|_| {});
    let first = client(&gateway);
    first.map(&UDP).unwrap();
    drop(first);
    assert_eq!(lease(&gateway, Protocol::Udp, 4_000), Some(4_000));
    assert_eq!(deletions(&gateway), []);
}

#[test]
fn a_silent_gateway_holds_up_the_last_drop_for_the_goodbye_and_no_longer() {
    let gateway = gateway(|_| {});
    let goodbye = Duration::from_millis(200);
    let client = builder(&gateway).goodbye(goodbye).build().unwrap();
    let kept = [keep(&client, &UDP), keep(&client, &TCP)];
    reach(&gateway, Reach::Silent);
    let began = Instant::now();
    in_time(move || {
        drop(kept);
        drop(client);
    });
    let took = began.elapsed();
    assert!(took >= goodbye && took < Duration::from_secs(2), "{took:?}");
    assert_eq!(deletions(&gateway)[0], Request::delete(Protocol::Udp, 4_000));
}

#[test]
fn a_closed_port_does_not_hold_up_the_last_drop() {
    let gateway = gateway(|_| {});
    let client = builder(&gateway).goodbye(Duration::from_secs(60)).build().unwrap();
    let kept = keep(&client, &UDP);
    reach(&gateway, Reach::Closed);
    in_time(move || {
        drop(kept);
        drop(client);
    });
}

#[test]
fn without_a_kept_mapping_the_last_drop_waits_for_nothing() {
    let gateway = gateway(|_| {});
    let client = builder(&gateway).goodbye(Duration::from_secs(60)).build().unwrap();
    client.map(&UDP).unwrap();
    reach(&gateway, Reach::Silent);
    client.watch_external_address(true);
    in_time(move || drop(client));
}

#[test]
fn a_goodbye_of_no_time_still_sends_the_deletion() {
    let gateway = gateway(|_| {});
    let client = builder(&gateway).goodbye(Duration::ZERO).build().unwrap();
    let kept = keep(&client, &UDP);
    drop(kept);
    drop(client);
    eventually("it is deleted", || leases(&gateway) == 0);
    assert_eq!(requests(&gateway).last(), Some(&Request::delete(Protocol::Udp, 4_000)));
}
