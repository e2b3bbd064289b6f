//! Kept mappings and their handles.

use std::time::{Duration, Instant};

use natpmp_proto::wire::Request;
use natpmp_std::{Backoff, Client, Ending, Error, Event, LossCause, MachineError, MapRequest, Protocol, Refusal};
use natpmp_testkit::gateway::{Gateway, Grant, Knobs, Reach, Vpn};

use super::{
    SHORT, SOON, TCP, UDP, begin, builder, client, deletions, eventually, forget, gateway, in_time, keep, lease,
    leases, reach, requests, turn,
};
use natpmp_testkit::scripted::{Scripted, granted};

/// C12: half of what was granted, not of what was asked.
#[test]
fn the_state_tells_of_an_open_mapping_its_end_and_its_renewal() {
    let gateway = gateway(|knobs| knobs.grant = Grant::AtMost(100));
    let client = client(&gateway);
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
#[test]
fn the_state_tells_why_a_mapping_is_not_open_and_when_it_is_tried_again() {
    let gateway = gateway(|knobs| knobs.refuse_map = Some(4));
    let client = client(&gateway);
    let kept = client.keep(&UDP).unwrap();
    let error = MachineError::Refused(Refusal::OutOfResources);
    eventually("it was refused", || kept.state().last_error == Some(error));
    let state = kept.state();
    assert_eq!((state.mapping, state.expires_in), (None, None));
    assert!(state.next_attempt_in.is_some_and(|pause| pause <= Duration::from_millis(400)), "{state:?}");
    turn(&gateway, |knobs| knobs.refuse_map = None);
    assert!(kept.wait_open(SOON).is_ok());
    assert_eq!(kept.state().last_error, None);
}

#[test]
fn waiting_for_a_mapping_to_open_ends_when_it_is_open_or_the_time_is_over() {
    let gateway = gateway(|knobs| knobs.reach = Reach::Silent);
    let client = client(&gateway);
    let kept = client.keep(&UDP).unwrap();
    let (began, bound) = (Instant::now(), Duration::from_millis(30));
    assert!(matches!(kept.wait_open(bound), Err(Error::NoAnswer { waited, .. }) if waited == bound));
    assert!(began.elapsed() >= bound);
    assert!(kept.wait_open(Duration::ZERO).is_err());
    reach(&gateway, Reach::Open);
    let port = in_time(move || kept.wait_open(Duration::MAX).map(|mapping| mapping.external_port));
    assert_eq!(port.ok(), Some(4_000));
}

#[test]
fn waiting_for_a_mapping_that_is_refused_says_so_at_its_end() {
    let gateway = gateway(|knobs| knobs.refuse_map = Some(2));
    let client = client(&gateway);
    let kept = client.keep(&UDP).unwrap();
    eventually("it was refused", || kept.state().last_error.is_some());
    let error = kept.wait_open(Duration::from_millis(30)).unwrap_err();
    assert!(matches!(error, Error::Refused { refusal: Some(Refusal::NotAuthorized), .. }), "{error}");
    assert!(kept.state().next_attempt_in.is_some(), "it is asked for again");
}

#[test]
fn waiting_for_a_mapping_to_open_ends_when_another_call_unmaps_it() {
    let gateway = gateway(|knobs| knobs.refuse_map = Some(2));
    let client = client(&gateway);
    let kept = client.keep(&UDP).unwrap();
    let waiting = begin(move || (kept.wait_open(Duration::MAX), kept));
    eventually("it is asked for", || !requests(&gateway).is_empty());
    client.unmap(Protocol::Udp, 4_000).unwrap();
    let (mapping, kept) = waiting.recv_timeout(SOON).unwrap();
    assert!(matches!(mapping, Err(Error::Interrupted)));
    assert!(matches!(kept.wait_open(Duration::MAX), Err(Error::Interrupted)));
}

#[test]
fn a_refresh_asks_now_and_a_refusal_leaves_the_mapping_kept() {
    let gateway = gateway(|_| {});
    let client = client(&gateway);
    let kept = keep(&client, &UDP);
    forget(&gateway);
    assert_eq!(kept.refresh().unwrap().external_port, 4_000);
    assert_eq!(requests(&gateway).len(), 1);
    turn(&gateway, |knobs| knobs.refuse_map = Some(2));
    let error = kept.refresh().expect_err("it is refused");
    assert!(matches!(error, Error::Refused { refusal: Some(Refusal::NotAuthorized), .. }), "{error:?}");
    assert!(kept.state().mapping.is_some(), "its lease goes on");
    turn(&gateway, |knobs| knobs.refuse_map = None);
    assert_eq!(kept.refresh().unwrap().external_port, 4_000);
}

/// C24
#[test]
fn a_refresh_that_brings_another_port_is_a_success() {
    let gateway = gateway(|_| {});
    let client = client(&gateway);
    let kept = keep(&client, &UDP);
    turn(&gateway, |knobs| knobs.moves_ports = true);
    assert_eq!(kept.refresh().unwrap().external_port, 4_001);
    assert_eq!(kept.state().mapping.map(|mapping| mapping.external_port), Some(4_001));
}

#[test]
fn an_interval_of_ones_own_renews_without_being_asked() {
    let gateway = gateway(|_| {});
    let client = client(&gateway);
    let kept = keep(&client, &UDP.refresh_interval(1));
    let next = kept.state().next_attempt_in.unwrap();
    assert!(next <= Duration::from_secs(1), "{next:?}");
    let mut events = client.events();
    assert!(matches!(events.next_timeout(SOON), Some(Event::Renewed(_))));
}

/// C06, C14
#[test]
fn stopping_deletes_the_mapping_and_says_so() {
    let gateway = gateway(|_| {});
    let client = client(&gateway);
    let kept = keep(&client, &UDP);
    let other = keep(&client, &TCP);
    assert_eq!(kept.stop().unwrap(), Ending::Unmapped);
    assert_eq!(lease(&gateway, Protocol::Udp, 4_000), None);
    assert_eq!(deletions(&gateway), [Request::delete(Protocol::Udp, 4_000)]);
    assert!(other.state().mapping.is_some());
}

#[test]
fn stopping_at_a_silent_gateway_waits_for_the_goodbye_and_no_longer_and_the_deletion_is_tried_on() {
    let gateway = gateway(|_| {});
    let goodbye = Duration::from_millis(100);
    let client = builder(&gateway).goodbye(goodbye).build().unwrap();
    let kept = keep(&client, &UDP);
    reach(&gateway, Reach::Silent);
    let began = Instant::now();
    let error = in_time(move || kept.stop()).expect_err("there is no answer");
    assert!(began.elapsed() >= goodbye);
    assert!(
        matches!(error, Error::NoAnswer { gateway: asked, waited } if asked == gateway.address() && waited == goodbye),
        "{error:?}"
    );
    reach(&gateway, Reach::Open);
    eventually("the deletion comes through", || leases(&gateway) == 0);
}

#[test]
fn stopping_says_what_the_gateway_said() {
    let gateway = gateway(|_| {});
    let client = client(&gateway);
    let kept = keep(&client, &UDP);
    turn(&gateway, |knobs| knobs.refuse_unmap = Some(2));
    let error = kept.stop().expect_err("it is refused");
    assert!(matches!(error, Error::Refused { refusal: Some(Refusal::NotAuthorized), .. }), "{error:?}");

    turn(&gateway, |knobs| knobs.refuse_unmap = None);
    let kept = keep(&client, &TCP);
    reach(&gateway, Reach::Closed);
    let error = kept.stop().expect_err("there is nobody");
    assert!(matches!(error, Error::PortUnreachable { .. }), "{error:?}");
    reach(&gateway, Reach::Open);
}

/// The request may have been granted although no answer was heard.
#[test]
fn a_mapping_that_was_asked_for_in_vain_is_deleted_all_the_same() {
    let gateway = gateway(|knobs| knobs.reach = Reach::Silent);
    let client = client(&gateway);
    let kept = client.keep(&UDP).unwrap();
    eventually("it is asked for", || !requests(&gateway).is_empty());
    reach(&gateway, Reach::Open);
    assert_eq!(kept.stop().unwrap(), Ending::Unmapped);
    assert_eq!(deletions(&gateway), [Request::delete(Protocol::Udp, 4_000)]);
}

#[test]
fn a_mapping_is_kept_by_one_handle_at_a_time() {
    let gateway = gateway(|_| {});
    let client = client(&gateway);
    let kept = keep(&client, &UDP);
    assert!(matches!(client.keep(&UDP), Err(Error::AlreadyKept)));
    assert!(matches!(client.clone().keep_with(&UDP, |_| {}), Err(Error::AlreadyKept)));
    // It is told apart by protocol and internal port.
    let other = keep(&client, &TCP);
    kept.stop().unwrap();
    let again = keep(&client, &UDP);
    drop((again, other));
}

#[test]
fn dropping_the_handle_deletes_the_mapping_without_waiting() {
    let gateway = gateway(|_| {});
    let client = client(&gateway);
    let kept = keep(&client, &UDP);
    reach(&gateway, Reach::Silent);
    in_time(move || drop(kept));
    assert!(lease(&gateway, Protocol::Udp, 4_000).is_some(), "nobody has answered");
    reach(&gateway, Reach::Open);
    eventually("it is deleted", || leases(&gateway) == 0);
    client.external_address().unwrap();
}

#[test]
fn a_handle_of_a_mapping_that_another_call_took_back_is_harmless() {
    let gateway = gateway(|_| {});
    let client = client(&gateway);
    let old = keep(&client, &UDP);
    assert_eq!(client.unmap(Protocol::Udp, 4_000).unwrap(), Ending::Unmapped);
    assert_eq!(old.state().mapping, None);
    assert_eq!(old.state().next_attempt_in, None);
    assert!(matches!(old.refresh(), Err(Error::Interrupted)));

    let new = keep(&client, &UDP);
    drop(old);
    client.external_address().unwrap();
    assert_eq!(lease(&gateway, Protocol::Udp, 4_000), Some(4_000), "that was not the old handle's to delete");
    assert!(new.state().mapping.is_some());
    assert_eq!(client.unmap(Protocol::Udp, 4_000).unwrap(), Ending::Unmapped);
    assert_eq!(new.stop().unwrap(), Ending::Unmapped);
}

#[test]
fn a_mapping_made_once_can_be_kept_and_one_that_is_kept_stays_so_when_mapped() {
    let gateway = gateway(|_| {});
    let client = client(&gateway);
    client.map(&UDP).unwrap();
    let kept = keep(&client, &UDP);
    assert_eq!(client.map(&UDP).unwrap().external_port, 4_000);
    assert!(kept.state().next_attempt_in.is_some(), "it is renewed still");
    kept.stop().unwrap();
    assert_eq!(leases(&gateway), 0);
}

/// C23
#[test]
fn a_mapping_of_internal_port_0_is_left_to_lapse() {
    let gateway = gateway(|knobs| *knobs = Knobs::vpn(Vpn::AnswersMapped));
    let client = client(&gateway);
    let request = MapRequest::new(Protocol::Tcp, 0).external_port(1);
    let kept = keep(&client, &request);
    assert_eq!(kept.state().mapping.map(|mapping| (mapping.internal_port, mapping.lifetime)), Some((0, 60)));
    assert_eq!(kept.stop().unwrap(), Ending::LeftToLapse);
    drop(keep(&client, &request));
    drop(client);
    assert_eq!(deletions(&gateway), []);
    assert_eq!(leases(&gateway), 1);
}

#[test]
fn what_is_kept_moves_to_another_gateway() {
    let (first, second) = (gateway(|_| {}), gateway(|_| {}));
    let client = client(&first);
    let kept = keep(&client, &UDP);
    let mut events = client.events();
    forget(&first);
    client.set_gateway(second.address());
    assert_eq!(client.gateway(), second.address());
    assert_eq!(events.next_timeout(SOON), Some(Event::GatewayChanged(second.address())));
    let lost = events.next_timeout(SOON);
    assert!(matches!(lost, Some(Event::Lost { cause: LossCause::GatewayChanged, .. })), "{lost:?}");
    assert!(kept.wait_open(SOON).is_ok());
    assert_eq!(lease(&second, Protocol::Udp, 4_000), Some(4_000));
    kept.stop().unwrap();
    assert_eq!(leases(&second), 0);
    assert_eq!(requests(&first), [], "it is the second's from that moment on");
}

#[test]
fn a_changed_network_renews_what_is_kept() {
    let gateway = gateway(|_| {});
    let client = client(&gateway);
    let _kept = keep(&client, &UDP);
    client.map(&TCP).unwrap();
    forget(&gateway);
    let mut events = client.events();
    client.network_changed();
    assert!(matches!(events.next_timeout(SOON), Some(Event::Renewed(mapping)) if mapping.protocol == Protocol::Udp));
    assert_eq!(requests(&gateway).len(), 1, "what is held once is not renewed");
}

/// C04, C05, C25: a daemon that is stopped, and started again.
#[test]
fn a_gateway_whose_port_closes_and_opens_has_the_mapping_back() {
    let gateway = gateway(|_| {});
    let client = client(&gateway);
    let kept = keep(&client, &UDP);
    reach(&gateway, Reach::Closed);
    gateway.with(|gateway, _| gateway.drop_mappings());
    assert!(matches!(kept.refresh(), Err(Error::PortUnreachable { .. })));
    eventually("it is tried again", || kept.state().last_error == Some(MachineError::PortUnreachable));
    reach(&gateway, Reach::Open);
    // What was learned of the port is forgotten by itself.
    eventually("it is open again", || lease(&gateway, Protocol::Udp, 4_000) == Some(4_000));
    eventually("it is known", || kept.state().last_error.is_none());
}

/// C12, C25
#[test]
fn a_mapping_that_cannot_be_renewed_is_lost_at_its_end_and_comes_back() {
    let gateway = gateway(|_| {});
    let client = builder(&gateway).schedule(SHORT).build().unwrap();
    let kept = client.keep(&UDP.lifetime(2)).unwrap();
    kept.wait_open(SOON).unwrap();
    let mut events = client.events();
    reach(&gateway, Reach::Silent);
    let lost = std::iter::from_fn(|| events.next_timeout(SOON)).find(|event| matches!(event, Event::Lost { .. }));
    assert!(matches!(lost, Some(Event::Lost { external_port: 4_000, cause: LossCause::Expired, .. })), "{lost:?}");
    assert_eq!(kept.state().mapping, None);
    let waiting = begin(move || (kept.wait_open(SOON), kept));
    reach(&gateway, Reach::Open);
    let (mapping, _kept) = waiting.recv_timeout(SOON).unwrap();
    assert_eq!(mapping.map(|mapping| mapping.external_port).ok(), Some(4_000));
}

/// Some filters drop what they do not like. One request is in flight at a time, and each is to have its turn.
#[test]
fn a_mapping_that_is_never_answered_does_not_keep_others_from_being_asked_for() {
    let gateway = Scripted::start(|request| match request {
        Request::Map { internal_port: 4_000, .. } => None,
        request => granted(request),
    });
    let client = Client::builder().gateway(gateway.address()).announcements(false).schedule(SHORT);
    let backoff = Backoff::new(Duration::from_millis(50), Duration::from_millis(100));
    let client = client.backoff(backoff).goodbye(Duration::ZERO).build().unwrap();
    let unheard = client.keep(&UDP).unwrap();
    let others = [4_001, 4_002].map(|port| client.keep(&MapRequest::new(Protocol::Udp, port)).unwrap());
    for kept in &others {
        assert_eq!(kept.wait_open(SOON).map(|mapping| mapping.external_port).ok(), Some(kept.internal_port()));
    }
    assert_eq!(unheard.state().last_error, Some(MachineError::NoAnswer));
}
