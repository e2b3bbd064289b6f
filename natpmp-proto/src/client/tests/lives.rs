//! The life of a mapping, held once and kept, and the words of what reports it.

use std::string::{String, ToString};

use super::*;
use crate::retry::Backoff;

#[test]
fn a_mapping_held_once_is_reported_never_renewed_and_reported_when_it_ends() {
    let mut rig = Rig::new();
    rig.map(MapRequest::new(UDP, 4000).lifetime(100));
    rig.grants(UDP, 4000, 5000, 100);
    let open = mapping(UDP, 4000, 5000, 100);
    assert_eq!(rig.event(), Some(Event::Mapped(open)));
    assert_eq!(rig.state(UDP, 4000), MappingState::Open { mapping: open, expires: secs(100), renewal: None });
    assert_eq!(rig.client.poll_timeout(), Some(secs(100)));
    rig.at(99_999).is_quiet();
    rig.at(100_000);
    assert_eq!(rig.sent(), None);
    assert_eq!(rig.event(), ended(UDP, 4000, 5000, Ending::Expired));
    rig.is_quiet();
    assert_eq!(rig.client.poll_timeout(), None);
    assert_eq!(rig.client.mapping(UDP, 4000), None);
}

#[test]
fn a_mapping_held_once_that_is_refused_is_over_and_was_never_open() {
    for code in [1, 2, 3, 4, 5, 6, 65_535] {
        let refusal = Refusal::from_code(code).unwrap();
        let mut rig = Rig::new();
        rig.map(MapRequest::new(UDP, 4000));
        rig.refuses(refusal);
        assert_eq!(rig.event(), ended(UDP, 4000, 0, Ending::NotMapped(RequestError::Refused(refusal))));
        rig.is_quiet();
        assert_eq!(rig.client.poll_timeout(), None);
    }
}

/// A lease of a mapping held once that ends while its refresh is in flight takes the request with it.
#[test]
fn a_mapping_held_once_whose_lease_ends_under_a_refresh_is_not_asked_for_again() {
    let mut rig = Rig::new();
    rig.map(MapRequest::new(UDP, 4000).lifetime(2));
    rig.grants(UDP, 4000, 4000, 2);
    assert!(matches!(rig.event(), Some(Event::Mapped(_))));
    assert!(rig.at(1000).refresh(UDP, 4000));
    let (sends, events) = rig.silence_until(200_000);
    assert_eq!(events, [(2000, ended(UDP, 4000, 4000, Ending::Expired).unwrap())]);
    let expected = [1000, 1250, 1750].map(|at| (at, asks(UDP, 4000, 4000, 2)));
    assert_eq!(sends, expected, "nothing is sent for a mapping that the machine has forgotten");
}

/// C12: at half of what was granted, not of what was asked for.
#[test]
fn a_kept_mapping_is_renewed_at_half_of_the_lifetime_granted() {
    for (granted, half) in [(7200, 3_600_000), (60, 30_000), (3, 1500), (1, 500)] {
        let mut rig = Rig::new();
        rig.keep(MapRequest::new(UDP, 4000));
        rig.grants(UDP, 4000, 4000, granted);
        assert_eq!(rig.event(), Some(Event::Mapped(mapping(UDP, 4000, 4000, granted))));
        rig.at(half - 1).is_quiet();
        rig.at(half);
        // What is asked for stays what was wished for: it does not shrink to what was granted.
        assert_eq!(rig.request(), asks(UDP, 4000, 4000, 7200));
    }
}

/// C13, C24.
#[test]
fn a_renewal_suggests_the_assigned_port_and_may_bring_another() {
    let mut rig = Rig::new();
    rig.keep(MapRequest::new(UDP, 4000));
    rig.grants(UDP, 4000, 5000, 7200);
    assert_eq!(rig.event(), Some(Event::Mapped(mapping(UDP, 4000, 5000, 7200))));
    rig.at(3_600_000);
    assert_eq!(rig.request(), asks(UDP, 4000, 5000, 7200));
    let answer = mapped(rig.epoch(), UDP, 4000, 6000, 7200);
    assert_eq!(rig.receives(answer), Ok(Received::Answer));
    let changed = Event::PortChanged { mapping: mapping(UDP, 4000, 6000, 7200), previous_port: 5000 };
    assert_eq!(rig.event(), Some(changed));
    rig.at(7_200_000);
    assert_eq!(rig.request(), asks(UDP, 4000, 6000, 7200));
}

/// C26.
#[test]
fn a_lease_longer_than_asked_for_is_cut_to_what_was_asked_for() {
    let mut rig = Rig::new();
    rig.keep(MapRequest::new(UDP, 4000).lifetime(60));
    rig.grants(UDP, 4000, 4000, u32::MAX);
    assert_eq!(rig.event(), Some(Event::Mapped(mapping(UDP, 4000, 4000, 60))));
    assert_eq!(rig.client.poll_timeout(), Some(secs(30)));
}

#[test]
fn an_interval_of_ones_own_replaces_half_of_the_lifetime_if_it_is_shorter_than_the_lease() {
    for (interval, granted, renewal) in [(45, 60, 45), (59, 60, 59), (60, 60, 30), (45, 40, 20), (1, 60, 1)] {
        let mut rig = Rig::new();
        rig.keep(MapRequest::new(UDP, 4000).lifetime(60).refresh_interval(interval));
        rig.grants(UDP, 4000, 4000, granted);
        let MappingState::Open { renewal: at, .. } = rig.state(UDP, 4000) else { panic!("it is open") };
        assert_eq!(at, Some(secs(renewal)), "interval {interval} s, lease {granted} s");
    }
}

/// C25: refusals bring a pause that grows, and end neither the mapping nor the trying.
#[test]
fn a_refused_mapping_is_tried_again_after_a_growing_pause_and_heals() {
    let backoff = Backoff::new(Duration::from_secs(2), Duration::from_secs(16));
    let mut rig: Rig = Rig::with(Config::for_gateway(GATEWAY).backoff(backoff));
    rig.keep(MapRequest::new(UDP, 4000));
    for pause in [2000, 4000, 8000, 16_000, 16_000, 16_000] {
        rig.refuses(Refusal::OutOfResources);
        let Some(Event::Failed { error, retry_at: Some(at), .. }) = rig.event() else { panic!("it is told") };
        assert_eq!(error, RequestError::Refused(Refusal::OutOfResources));
        assert_eq!(rig.state(UDP, 4000), MappingState::Closed { next_attempt: at });
        assert_eq!(rig.client.poll_timeout(), Some(at));
        let waited = at.saturating_since(rig.now()).as_millis();
        assert!((pause * 3 / 4..=pause).contains(&waited), "{waited} ms where {pause} ms less a quarter is due");
        rig.is_quiet();
        rig.at(at.as_micros().div_ceil(1000));
    }
    rig.grants(UDP, 4000, 4000, 7200);
    assert_eq!(rig.event(), Some(Event::Mapped(mapping(UDP, 4000, 4000, 7200))));
    assert_eq!(rig.client.mapping(UDP, 4000).unwrap().last_error, None);
    rig.is_quiet();
}

/// C12: at ever later points of what is left, as DHCP does, and never in a hurry.
#[test]
fn a_refused_renewal_is_tried_again_before_the_lease_ends_and_the_end_is_told() {
    let backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(3600));
    let mut rig: Rig = Rig::with(Config::for_gateway(GATEWAY).backoff(backoff));
    rig.keep(MapRequest::new(UDP, 4000).lifetime(60));
    rig.grants(UDP, 4000, 4000, 60);
    assert!(matches!(rig.event(), Some(Event::Mapped(_))));
    let mut attempts = 0;
    while matches!(rig.state(UDP, 4000), MappingState::Open { .. }) {
        let due = rig.client.poll_timeout().unwrap().as_micros().div_ceil(1000);
        let gap = due - rig.now;
        rig.at(due);
        assert!(rig.now <= 60_000);
        if rig.now < 60_000 {
            assert!(gap >= 750, "{gap} ms after the last attempt");
            attempts += 1;
            rig.refuses(Refusal::OutOfResources);
            assert!(matches!(rig.event(), Some(Event::Failed { .. })));
        }
    }
    assert!((4..=12).contains(&attempts), "{attempts} attempts");
    assert_eq!(rig.now, 60_000);
    assert_eq!(rig.event(), lost(UDP, 4000, 4000, LossCause::Expired));
    assert!(matches!(rig.state(UDP, 4000), MappingState::Closed { .. }));
}

/// A renewal in flight when the lease ends goes on: its answer opens the mapping again.
#[test]
fn a_lease_that_ends_under_its_renewal_is_told_and_comes_back_with_the_answer() {
    let mut rig = Rig::new();
    rig.keep(MapRequest::new(UDP, 4000).lifetime(60));
    rig.grants(UDP, 4000, 4000, 60);
    assert!(matches!(rig.event(), Some(Event::Mapped(_))));
    let (sends, events) = rig.silence_until(70_000);
    assert_eq!(events, [(60_000, lost(UDP, 4000, 4000, LossCause::Expired).unwrap())]);
    assert_eq!(sends.len(), 8);
    assert_eq!(rig.receives(mapped(1070, UDP, 4000, 4000, 60)), Ok(Received::Answer));
    assert_eq!(rig.event(), Some(Event::Mapped(mapping(UDP, 4000, 4000, 60))));
    rig.is_quiet();
}

#[test]
fn two_grants_before_a_poll_are_told_as_one() {
    let mut rig = Rig::new();
    rig.keep(MapRequest::new(UDP, 4000));
    rig.grants(UDP, 4000, 4000, 7200);
    assert!(rig.refresh(UDP, 4000));
    rig.grants(UDP, 4000, 5000, 600);
    assert_eq!(rig.event(), Some(Event::Mapped(mapping(UDP, 4000, 5000, 600))));
    rig.is_quiet();
}

/// C25: each mapping pauses for itself; a refusal holds up no other.
#[test]
fn a_refusal_concerns_its_own_mapping_only() {
    let mut rig = Rig::new();
    rig.keep(MapRequest::new(UDP, 4000));
    rig.keep(MapRequest::new(UDP, 5000));
    rig.refuses(Refusal::NotAuthorized);
    rig.grants(UDP, 5000, 5000, 7200);
    assert!(matches!(rig.event(), Some(Event::Failed { internal_port: 4000, .. })));
    assert_eq!(rig.event(), Some(Event::Mapped(mapping(UDP, 5000, 5000, 7200))));
    rig.is_quiet();
}

/// C28.
#[test]
fn a_lease_granted_near_the_end_of_time_does_no_harm() {
    let mut client: Client<1> = Client::new(Config::for_gateway(GATEWAY));
    let end = Instant::from_micros(u64::MAX);
    client.keep(end, &MapRequest::new(UDP, 4000).lifetime(u32::MAX)).unwrap();
    assert!(client.poll_transmit(end).is_some());
    let answer = mapped(u32::MAX, UDP, 4000, 4000, u32::MAX).encode();
    assert_eq!(client.handle_datagram(end, GATEWAY, &answer), Ok(Received::Answer));
    assert_eq!(client.poll_timeout(), Some(end));
    client.handle_unreachable(end);
    client.network_changed(end);
    assert!(client.mapping(UDP, 4000).is_some());
}

/// C25, C28: failures are counted without end.
#[test]
fn a_thousand_refusals_in_a_row_do_not_overflow() {
    let mut rig = Rig::new();
    rig.keep(MapRequest::new(UDP, 4000));
    for _ in 0..1000 {
        rig.refuses(Refusal::NotAuthorized);
        let Some(Event::Failed { retry_at: Some(at), .. }) = rig.event() else { panic!("it is told") };
        rig.at(at.as_micros().div_ceil(1000));
    }
    rig.grants(UDP, 4000, 4000, 7200);
}

/// Events are levels: a caller that comes late gets the grant and the failure after it, each once.
#[test]
fn a_grant_and_the_failure_after_it_are_both_reported_to_a_caller_that_comes_late() {
    let mut rig = Rig::new();
    rig.keep(MapRequest::new(UDP, 4000));
    rig.grants(UDP, 4000, 4000, 7200);
    rig.at(3_600_000).refuses(Refusal::OutOfResources);
    assert_eq!(rig.event(), Some(Event::Mapped(mapping(UDP, 4000, 4000, 7200))));
    let error = RequestError::Refused(Refusal::OutOfResources);
    assert!(matches!(rig.event(), Some(Event::Failed { error: found, retry_at: Some(_), .. }) if found == error));
    rig.is_quiet();
}

#[test]
fn an_event_names_the_mapping_that_it_is_about_and_no_other() {
    let open = mapping(UDP, 4000, 5000, 7200);
    let (protocol, internal_port, external_port) = (UDP, 4000, 5000);
    for event in [
        Event::Mapped(open),
        Event::Renewed(open),
        Event::PortChanged { mapping: open, previous_port: 1 },
        Event::Failed { protocol, internal_port, error: RequestError::NoAnswer, retry_at: None },
        Event::Lost { protocol, internal_port, external_port, cause: LossCause::Expired },
        Event::Ended { protocol, internal_port, external_port, ending: Ending::Expired },
    ] {
        assert_eq!(event.mapping_key(), Some((UDP, 4000)), "{event:?}");
    }
    for event in [
        Event::UnmappedAll { protocol, result: Ok(()) },
        Event::ExternalAddress(Ok(ADDRESS)),
        Event::GatewayRestarted,
        Event::GatewayChanged(GATEWAY),
    ] {
        assert_eq!(event.mapping_key(), None, "{event:?}");
    }
}

#[test]
fn errors_say_what_happened_and_what_to_do() {
    let refused = RequestError::Refused(Refusal::OutOfResources);
    let reported: [(String, &str); 9] = [
        (RequestError::NoAnswer.to_string(), "does not answer"),
        (RequestError::PortUnreachable.to_string(), "port unreachable"),
        (RequestError::NetworkDown.to_string(), "on this side"),
        (refused.to_string(), &Refusal::OutOfResources.to_string()),
        (RequestError::GrantedNothing.to_string(), "granted nothing"),
        (RequestError::GatewayChanged.to_string(), "another gateway"),
        (MapError::TableFull { capacity: 8 }.to_string(), "all 8 mappings"),
        (MapError::ZeroLifetime.to_string(), "lifetime of 0 s"),
        (MapError::ZeroRefreshInterval.to_string(), "interval of 0 s"),
    ];
    for (text, part) in reported {
        assert!(text.contains(part), "{text:?} does not say {part:?}");
    }
}
