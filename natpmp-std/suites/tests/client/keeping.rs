//! Kept mappings and their handles.

use std::time::{Duration, Instant};

use natpmp_proto::wire::Request;
use natpmp_std::{Backoff, Ending, Error, Event, LossCause, MapRequest, Protocol, Refusal, RequestError};
use natpmp_testkit::gateway::{Faults, Gateway, Grant, Reach, Vpn};

use natpmp_suites::{Adapter, ClientSetup, ClientUnderTest, KeptUnderTest, SubscriptionUnderTest, on_each_adapter};
use natpmp_testkit::scripted::{Scripted, granted};
use natpmp_testkit::waiting::{SOON, begin, eventually, in_time};

use super::{SHORT, TCP, UDP, client, gateway, keep, setup, start};

on_each_adapter!(
    the_state_tells_of_an_open_mapping_its_end_and_its_renewal,
    the_state_tells_why_a_mapping_is_not_open_and_when_it_is_tried_again,
    waiting_for_a_mapping_to_open_ends_when_it_is_open_or_the_time_is_over,
    the_end_of_a_wait_is_a_reason_to_wake_up,
    waiting_for_a_mapping_that_is_refused_says_so_at_its_end,
    waiting_for_a_mapping_to_open_ends_when_another_call_unmaps_it,
    a_refresh_asks_now_and_a_refusal_leaves_the_mapping_kept,
    a_refresh_that_brings_another_port_is_a_success,
    an_interval_of_ones_own_renews_without_being_asked,
    stopping_deletes_the_mapping_and_says_so,
    stopping_at_a_silent_gateway_waits_for_the_goodbye_and_no_longer_and_the_deletion_is_tried_on,
    stopping_says_what_the_gateway_said,
    a_mapping_that_was_asked_for_in_vain_is_deleted_all_the_same,
    a_mapping_is_kept_by_one_handle_at_a_time,
    dropping_the_handle_deletes_the_mapping_without_waiting,
    a_handle_of_a_mapping_that_another_call_took_back_is_harmless,
    a_mapping_made_once_can_be_kept_and_one_that_is_kept_stays_so_when_mapped,
    a_mapping_of_internal_port_0_is_left_to_lapse,
    what_is_kept_moves_to_another_gateway,
    a_changed_network_renews_what_is_kept,
    a_gateway_whose_port_closes_and_opens_has_the_mapping_back,
    a_mapping_that_cannot_be_renewed_is_lost_at_its_end_and_comes_back,
    a_mapping_that_is_never_answered_does_not_keep_others_from_being_asked_for,
);

/// C12: half of what was granted, not of what was asked.
fn the_state_tells_of_an_open_mapping_its_end_and_its_renewal<A: Adapter>() {
    let gateway = gateway(|faults| faults.grant = Grant::AtMost(100));
    let client = client::<A>(&gateway);
    let kept = keep(&client, &UDP);
    let state = kept.state();
    assert_eq!(state.mapping.map(|mapping| (mapping.external_port, mapping.lifetime)), Some((4_000, 100)));
    let (expires, renewal) = (state.expires_in.unwrap(), state.next_attempt_in.unwrap());
    assert!(expires <= Duration::from_secs(100) && expires > Duration::from_secs(90), "{expires:?}");
    assert_eq!(expires.saturating_sub(renewal), Duration::from_secs(50));
    assert_eq!((state.last_error, state.external_address), (None, None));
    client.external_address().unwrap();
    assert_eq!(kept.state().external_address, Some(Gateway::EXTERNAL));
    assert_eq!((kept.protocol(), kept.internal_port()), (Protocol::Udp, 4_000));
    assert!(format!("{kept:?}").contains("4000"));
}

/// C25
fn the_state_tells_why_a_mapping_is_not_open_and_when_it_is_tried_again<A: Adapter>() {
    let gateway = gateway(|faults| faults.refuse_map = Some(4));
    let client = client::<A>(&gateway);
    let kept = client.keep(&UDP).unwrap();
    let error = RequestError::Refused(Refusal::OutOfResources);
    eventually("it was refused", || kept.state().last_error == Some(error));
    let state = kept.state();
    assert_eq!((state.mapping, state.expires_in), (None, None));
    assert!(state.next_attempt_in.is_some_and(|pause| pause <= Duration::from_millis(400)), "{state:?}");
    gateway.turn(|faults| faults.refuse_map = None);
    assert!(kept.wait_open(SOON).is_ok());
    assert_eq!(kept.state().last_error, None);
}

fn waiting_for_a_mapping_to_open_ends_when_it_is_open_or_the_time_is_over<A: Adapter>() {
    let gateway = gateway(|faults| faults.reach = Reach::Silent);
    let client = client::<A>(&gateway);
    let kept = client.keep(&UDP).unwrap();
    let (began, bound) = (Instant::now(), Duration::from_millis(30));
    assert!(matches!(kept.wait_open(bound), Err(Error::NoAnswer { waited, .. }) if waited == bound));
    assert!(began.elapsed() >= bound);
    assert!(kept.wait_open(Duration::ZERO).is_err());
    gateway.reach(Reach::Open);
    let port = in_time(move || kept.wait_open(Duration::MAX).map(|mapping| mapping.external_port));
    assert_eq!(port.ok(), Some(4_000));
}

fn waiting_for_a_mapping_that_is_refused_says_so_at_its_end<A: Adapter>() {
    let gateway = gateway(|faults| faults.refuse_map = Some(2));
    let client = client::<A>(&gateway);
    let kept = client.keep(&UDP).unwrap();
    eventually("it was refused", || kept.state().last_error.is_some());
    let error = kept.wait_open(Duration::from_millis(30)).unwrap_err();
    assert!(matches!(error, Error::Refused { refusal: Some(Refusal::NotAuthorized), .. }), "{error}");
    assert!(kept.state().next_attempt_in.is_some(), "it is asked for again");
}

/// Nothing else is due for an hour.
fn the_end_of_a_wait_is_a_reason_to_wake_up<A: Adapter>() {
    let gateway = gateway(|faults| faults.refuse_map = Some(4));
    let hour = Duration::from_secs(3_600);
    let client = start::<A>(ClientSetup { backoff: Some(Backoff::new(hour, hour)), ..setup(&gateway) });
    let kept = client.keep(&UDP).unwrap();
    kept.refresh().expect_err("it is refused");
    in_time(move || assert!(kept.wait_open(Duration::from_millis(30)).is_err()));
}

fn waiting_for_a_mapping_to_open_ends_when_another_call_unmaps_it<A: Adapter>() {
    let gateway = gateway(|faults| faults.refuse_map = Some(2));
    let client = client::<A>(&gateway);
    let kept = client.keep(&UDP).unwrap();
    let waiting = begin(move || (kept.wait_open(Duration::MAX), kept));
    eventually("it is asked for", || !gateway.requests().is_empty());
    client.unmap(Protocol::Udp, 4_000).unwrap();
    let (mapping, kept) = waiting.recv_timeout(SOON).unwrap();
    assert!(matches!(mapping, Err(Error::Interrupted)));
    assert!(matches!(kept.wait_open(Duration::MAX), Err(Error::Interrupted)));
}

fn a_refresh_asks_now_and_a_refusal_leaves_the_mapping_kept<A: Adapter>() {
    let gateway = gateway(|_| {});
    let client = client::<A>(&gateway);
    let kept = keep(&client, &UDP);
    gateway.forget();
    assert_eq!(kept.refresh().unwrap().external_port, 4_000);
    assert_eq!(gateway.requests().len(), 1);
    gateway.turn(|faults| faults.refuse_map = Some(2));
    let error = kept.refresh().expect_err("it is refused");
    assert!(matches!(error, Error::Refused { refusal: Some(Refusal::NotAuthorized), .. }), "{error:?}");
    assert!(kept.state().mapping.is_some(), "its lease goes on");
    gateway.turn(|faults| faults.refuse_map = None);
    assert_eq!(kept.refresh().unwrap().external_port, 4_000);
}

/// C24
fn a_refresh_that_brings_another_port_is_a_success<A: Adapter>() {
    let gateway = gateway(|_| {});
    let client = client::<A>(&gateway);
    let kept = keep(&client, &UDP);
    gateway.turn(|faults| faults.moves_ports = true);
    assert_eq!(kept.refresh().unwrap().external_port, 4_001);
    assert_eq!(kept.state().mapping.map(|mapping| mapping.external_port), Some(4_001));
    // After a refusal as well.
    gateway.turn(|faults| faults.refuse_map = Some(2));
    kept.refresh().expect_err("it is refused");
    gateway.turn(|faults| faults.refuse_map = None);
    assert_eq!(kept.refresh().unwrap().external_port, 4_002);
}

fn an_interval_of_ones_own_renews_without_being_asked<A: Adapter>() {
    let gateway = gateway(|_| {});
    let client = client::<A>(&gateway);
    let kept = keep(&client, &UDP.refresh_interval(1));
    let next = kept.state().next_attempt_in.unwrap();
    assert!(next <= Duration::from_secs(1), "{next:?}");
    let mut events = client.events();
    for _ in 0..2 {
        assert!(matches!(events.next_timeout(SOON), Some(Event::Renewed(_))));
    }
}

/// C06, C14
fn stopping_deletes_the_mapping_and_says_so<A: Adapter>() {
    let gateway = gateway(|_| {});
    let client = client::<A>(&gateway);
    let kept = keep(&client, &UDP);
    let other = keep(&client, &TCP);
    assert_eq!(kept.stop().unwrap(), Ending::Unmapped);
    assert_eq!(gateway.lease(Protocol::Udp, 4_000), None);
    assert_eq!(gateway.deletions(), [Request::delete(Protocol::Udp, 4_000)]);
    assert!(other.state().mapping.is_some());
}

fn stopping_at_a_silent_gateway_waits_for_the_goodbye_and_no_longer_and_the_deletion_is_tried_on<A: Adapter>() {
    let gateway = gateway(|_| {});
    let goodbye = Duration::from_millis(100);
    let client = start::<A>(ClientSetup { goodbye: Some(goodbye), ..setup(&gateway) });
    let kept = keep(&client, &UDP);
    gateway.reach(Reach::Silent);
    let began = Instant::now();
    let error = in_time(move || kept.stop()).expect_err("there is no answer");
    assert!(began.elapsed() >= goodbye && began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    assert!(
        matches!(error, Error::NoAnswer { gateway: asked, waited } if asked == gateway.address() && waited == goodbye),
        "{error:?}"
    );
    gateway.reach(Reach::Open);
    eventually("the deletion comes through", || gateway.leases() == 0);
}

fn stopping_says_what_the_gateway_said<A: Adapter>() {
    let gateway = gateway(|_| {});
    let client = client::<A>(&gateway);
    let kept = keep(&client, &UDP);
    gateway.turn(|faults| faults.refuse_unmap = Some(2));
    let error = kept.stop().expect_err("it is refused");
    assert!(matches!(error, Error::Refused { refusal: Some(Refusal::NotAuthorized), .. }), "{error:?}");

    gateway.turn(|faults| faults.refuse_unmap = None);
    let kept = keep(&client, &TCP);
    gateway.reach(Reach::Closed);
    let error = kept.stop().expect_err("there is nobody");
    assert!(matches!(error, Error::PortUnreachable { .. }), "{error:?}");
    gateway.reach(Reach::Open);
}

/// The request may have been granted although no answer was heard.
fn a_mapping_that_was_asked_for_in_vain_is_deleted_all_the_same<A: Adapter>() {
    let gateway = gateway(|faults| faults.reach = Reach::Silent);
    let client = client::<A>(&gateway);
    let kept = client.keep(&UDP).unwrap();
    eventually("it is asked for", || !gateway.requests().is_empty());
    gateway.reach(Reach::Open);
    assert_eq!(kept.stop().unwrap(), Ending::Unmapped);
    assert_eq!(gateway.deletions(), [Request::delete(Protocol::Udp, 4_000)]);
}

fn a_mapping_is_kept_by_one_handle_at_a_time<A: Adapter>() {
    let gateway = gateway(|_| {});
    let client = client::<A>(&gateway);
    let kept = keep(&client, &UDP);
    assert!(matches!(client.keep(&UDP), Err(Error::AlreadyKept)));
    assert!(matches!(client.clone().keep_with(&UDP, |_| {}), Err(Error::AlreadyKept)));
    // It is told apart by protocol and internal port.
    let other = keep(&client, &TCP);
    kept.stop().unwrap();
    let again = keep(&client, &UDP);
    drop((again, other));
}

fn dropping_the_handle_deletes_the_mapping_without_waiting<A: Adapter>() {
    let gateway = gateway(|_| {});
    let client = client::<A>(&gateway);
    let kept = keep(&client, &UDP);
    gateway.reach(Reach::Silent);
    in_time(move || drop(kept));
    assert!(gateway.lease(Protocol::Udp, 4_000).is_some(), "nobody has answered");
    gateway.reach(Reach::Open);
    eventually("it is deleted", || gateway.leases() == 0);
    client.external_address().unwrap();
    // Before it was open, and before it was asked for.
    drop(client.keep(&UDP).unwrap());
    assert_eq!(client.unmap(Protocol::Udp, 4_000).unwrap(), Ending::Unmapped);
}

fn a_handle_of_a_mapping_that_another_call_took_back_is_harmless<A: Adapter>() {
    let gateway = gateway(|_| {});
    let client = client::<A>(&gateway);
    let old = keep(&client, &UDP);
    assert_eq!(client.unmap(Protocol::Udp, 4_000).unwrap(), Ending::Unmapped);
    assert_eq!(old.state().mapping, None);
    assert_eq!(old.state().next_attempt_in, None);
    assert!(matches!(old.refresh(), Err(Error::Interrupted)));

    let new = keep(&client, &UDP);
    drop(old);
    client.external_address().unwrap();
    assert_eq!(gateway.lease(Protocol::Udp, 4_000), Some(4_000), "that was not the old handle's to delete");
    assert!(new.state().mapping.is_some());
    assert_eq!(client.unmap(Protocol::Udp, 4_000).unwrap(), Ending::Unmapped);
    assert_eq!(new.stop().unwrap(), Ending::Unmapped);
}

fn a_mapping_made_once_can_be_kept_and_one_that_is_kept_stays_so_when_mapped<A: Adapter>() {
    let gateway = gateway(|_| {});
    let client = client::<A>(&gateway);
    client.map(&UDP).unwrap();
    let kept = keep(&client, &UDP);
    assert_eq!(client.map(&UDP).unwrap().external_port, 4_000);
    assert!(kept.state().next_attempt_in.is_some(), "it is renewed still");
    kept.stop().unwrap();
    assert_eq!(gateway.leases(), 0);
}

/// C23
fn a_mapping_of_internal_port_0_is_left_to_lapse<A: Adapter>() {
    let gateway = gateway(|faults| *faults = Faults::vpn(Vpn::AnswersMapped));
    let client = client::<A>(&gateway);
    let request = MapRequest::new(Protocol::Tcp, 0).external_port(1);
    let kept = keep(&client, &request);
    assert_eq!(kept.state().mapping.map(|mapping| (mapping.internal_port, mapping.lifetime)), Some((0, 60)));
    assert_eq!(kept.stop().unwrap(), Ending::LeftToLapse);
    drop(keep(&client, &request));
    drop(client);
    assert_eq!(gateway.deletions(), []);
    assert_eq!(gateway.leases(), 1);
}

fn what_is_kept_moves_to_another_gateway<A: Adapter>() {
    let (first, second) = (gateway(|_| {}), gateway(|_| {}));
    let client = client::<A>(&first);
    let kept = keep(&client, &UDP);
    let mut events = client.events();
    first.forget();
    client.set_gateway(second.address());
    assert_eq!(client.gateway(), second.address());
    assert_eq!(events.next_timeout(SOON), Some(Event::GatewayChanged(second.address())));
    let lost = events.next_timeout(SOON);
    assert!(matches!(lost, Some(Event::Lost { cause: LossCause::GatewayChanged, .. })), "{lost:?}");
    assert!(kept.wait_open(SOON).is_ok());
    assert_eq!(second.lease(Protocol::Udp, 4_000), Some(4_000));
    kept.stop().unwrap();
    assert_eq!(second.leases(), 0);
    assert_eq!(first.requests(), [], "it is the second's from that moment on");
}

fn a_changed_network_renews_what_is_kept<A: Adapter>() {
    let gateway = gateway(|_| {});
    let client = client::<A>(&gateway);
    let _kept = keep(&client, &UDP);
    client.map(&TCP).unwrap();
    gateway.forget();
    let mut events = client.events();
    client.network_changed();
    assert!(matches!(events.next_timeout(SOON), Some(Event::Renewed(mapping)) if mapping.protocol == Protocol::Udp));
    assert_eq!(gateway.requests().len(), 1, "what is held once is not renewed");
}

/// C04, C05, C25: a daemon that is stopped, and started again.
fn a_gateway_whose_port_closes_and_opens_has_the_mapping_back<A: Adapter>() {
    let gateway = gateway(|_| {});
    let client = client::<A>(&gateway);
    let kept = keep(&client, &UDP);
    gateway.reach(Reach::Closed);
    gateway.with(|gateway, _| gateway.drop_mappings());
    assert!(matches!(kept.refresh(), Err(Error::PortUnreachable { .. })));
    eventually("it is tried again", || kept.state().last_error == Some(RequestError::PortUnreachable));
    gateway.reach(Reach::Open);
    // What was learned of the port is forgotten by itself.
    eventually("it is open again", || gateway.lease(Protocol::Udp, 4_000) == Some(4_000));
    eventually("it is known", || kept.state().last_error.is_none());
}

/// C12, C25
fn a_mapping_that_cannot_be_renewed_is_lost_at_its_end_and_comes_back<A: Adapter>() {
    let gateway = gateway(|_| {});
    let client = start::<A>(ClientSetup { schedule: Some(SHORT), ..setup(&gateway) });
    let kept = client.keep(&UDP.lifetime(2)).unwrap();
    kept.wait_open(SOON).unwrap();
    let mut events = client.events();
    gateway.reach(Reach::Silent);
    let lost = std::iter::from_fn(|| events.next_timeout(SOON)).find(|event| matches!(event, Event::Lost { .. }));
    assert!(matches!(lost, Some(Event::Lost { external_port: 4_000, cause: LossCause::Expired, .. })), "{lost:?}");
    assert_eq!(kept.state().mapping, None);
    let waiting = begin(move || (kept.wait_open(SOON), kept));
    gateway.reach(Reach::Open);
    let (mapping, _kept) = waiting.recv_timeout(SOON).unwrap();
    assert_eq!(mapping.map(|mapping| mapping.external_port).ok(), Some(4_000));
}

/// Some filters drop what they do not like. One request is in flight at a time, and each is to have its turn.
fn a_mapping_that_is_never_answered_does_not_keep_others_from_being_asked_for<A: Adapter>() {
    let gateway = Scripted::start(|request| match request {
        Request::Map { internal_port: 4_000, .. } => None,
        request => granted(request),
    });
    let client = start::<A>(ClientSetup {
        gateway: Some(gateway.address()),
        schedule: Some(SHORT),
        backoff: Some(Backoff::new(Duration::from_millis(50), Duration::from_millis(100))),
        goodbye: Some(Duration::ZERO),
        ..ClientSetup::default()
    });
    let unheard = client.keep(&UDP).unwrap();
    let others = [4_001, 4_002].map(|port| client.keep(&MapRequest::new(Protocol::Udp, port)).unwrap());
    for kept in &others {
        assert_eq!(kept.wait_open(SOON).map(|mapping| mapping.external_port).ok(), Some(kept.internal_port()));
    }
    assert_eq!(unheard.state().last_error, Some(RequestError::NoAnswer));
}
