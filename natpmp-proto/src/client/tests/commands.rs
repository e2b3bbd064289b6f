//! `map`, `keep` and `refresh`: what they ask for, and what they refuse.

use super::*;

#[test]
fn a_client_that_wants_nothing_sends_nothing_and_waits_for_nothing() {
    let mut client: Client<4> = Client::new(Config::for_gateway(GATEWAY));
    assert_eq!(client.poll(secs(1_000_000)), Output::Wait(None));
    assert_eq!(client.poll_timeout(), None);
    assert_eq!(client.mappings().count(), 0);
    assert_eq!(client.external_address(), None);
    assert_eq!((client.gateway(), client.capacity()), (GATEWAY, 4));
}

#[test]
fn a_command_sends_nothing_by_itself_and_is_due_at_once() {
    let mut rig = Rig::new();
    rig.at(5000).keep(MapRequest::new(UDP, 4000));
    assert_eq!(rig.client.poll_timeout(), Some(secs(5)));
    assert_eq!(rig.state(UDP, 4000), MappingState::Closed { next_attempt: secs(5) });
    assert_eq!(rig.request(), asks(UDP, 4000, 4000, 7200));
    assert_eq!(rig.client.poll_timeout(), Some(Instant::from_millis(5250)));
}

/// C11.
#[test]
fn the_wishes_of_a_request_are_sent() {
    let mut rig = Rig::new();
    rig.map(MapRequest::new(TCP, 6881).external_port(0).lifetime(60));
    assert_eq!(rig.request(), asks(TCP, 6881, 0, 60));
}

#[test]
fn a_lifetime_beyond_the_longest_is_cut_to_it() {
    let longest = MapRequest::LONGEST_LIFETIME;
    for (wanted, sent) in [(longest, longest), (longest + 1, longest), (u32::MAX, longest), (1, 1)] {
        let mut rig = Rig::new();
        rig.keep(MapRequest::new(UDP, 4000).lifetime(wanted));
        assert_eq!(rig.request(), asks(UDP, 4000, 4000, sent));
        assert_eq!(MapRequest::new(UDP, 4000).lifetime(wanted).requested_lifetime(), sent);
    }
}

#[test]
fn a_lifetime_or_an_interval_of_zero_is_refused_and_changes_nothing() {
    let mut rig = Rig::new();
    let dead = MapRequest::new(UDP, 4000).lifetime(0);
    let restless = MapRequest::new(UDP, 4000).refresh_interval(0);
    let now = rig.now();
    assert_eq!(rig.client.map(now, &dead), Err(MapError::ZeroLifetime));
    assert_eq!(rig.client.keep(now, &dead), Err(MapError::ZeroLifetime));
    assert_eq!(rig.client.map(now, &restless), Err(MapError::ZeroRefreshInterval));
    assert_eq!(rig.client.keep(now, &restless), Err(MapError::ZeroRefreshInterval));
    rig.is_quiet();
    assert_eq!(rig.client.mappings().count(), 0);

    let mut rig = Rig::keeping(UDP, 4000);
    let before = rig.state(UDP, 4000);
    let now = rig.now();
    assert_eq!(rig.client.map(now, &dead), Err(MapError::ZeroLifetime));
    assert_eq!(rig.client.keep(now, &restless), Err(MapError::ZeroRefreshInterval));
    rig.is_quiet();
    assert_eq!(rig.state(UDP, 4000), before);
}

#[test]
fn a_full_table_refuses_a_new_mapping_and_serves_those_it_has() {
    let mut rig: Rig<2> = Rig::with(Config::for_gateway(GATEWAY));
    rig.keep(MapRequest::new(UDP, 1));
    rig.keep(MapRequest::new(TCP, 1));
    let full = Err(MapError::TableFull { capacity: 2 });
    let now = rig.now();
    assert_eq!(rig.client.keep(now, &MapRequest::new(UDP, 2)), full);
    assert_eq!(rig.client.map(now, &MapRequest::new(TCP, 2)), full);
    assert_eq!(rig.client.unmap(now, UDP, 2), full);
    // Those that are in it can be asked for again, and deleted; then there is room.
    assert_eq!(rig.client.keep(now, &MapRequest::new(UDP, 1).lifetime(60)), Ok(()));
    rig.unmap(TCP, 1);
    assert_eq!(rig.event(), ended(TCP, 1, 0, Ending::Unmapped));
    assert_eq!(rig.client.keep(now, &MapRequest::new(UDP, 2)), Ok(()));
    assert_eq!(rig.request(), asks(UDP, 1, 1, 60));
}

#[test]
fn a_client_without_slots_can_still_ask_for_the_address_and_delete_all() {
    let mut rig: Rig<0> = Rig::with(Config::for_gateway(GATEWAY));
    let now = rig.now();
    assert_eq!(rig.client.keep(now, &MapRequest::new(UDP, 1)), Err(MapError::TableFull { capacity: 0 }));
    rig.client.request_external_address(now);
    rig.answers_address(ADDRESS);
    assert_eq!(rig.event(), Some(Event::ExternalAddress(Ok(ADDRESS))));
    rig.client.unmap_all(now, UDP);
    rig.grants(UDP, 0, 0, 0);
    assert_eq!(rig.event(), Some(Event::UnmappedAll { protocol: UDP, result: Ok(()) }));
}

/// UDP and TCP are mapped apart.
#[test]
fn one_port_of_both_protocols_is_two_mappings() {
    let mut rig = Rig::new();
    rig.keep(MapRequest::new(UDP, 4000));
    rig.keep(MapRequest::new(TCP, 4000));
    rig.grants(UDP, 4000, 4000, 7200);
    rig.grants(TCP, 4000, 5000, 60);
    assert_eq!(rig.event(), Some(Event::Mapped(mapping(UDP, 4000, 4000, 7200))));
    assert_eq!(rig.event(), Some(Event::Mapped(mapping(TCP, 4000, 5000, 60))));
    rig.is_quiet();
}

/// C02: those that wait go out as each is answered.
#[test]
fn requests_go_out_one_by_one_in_the_order_in_which_they_were_wanted() {
    let mut rig = Rig::new();
    for port in [30, 10, 20] {
        rig.keep(MapRequest::new(UDP, port));
        let next = rig.now + 1;
        rig.at(next);
    }
    for port in [30, 10, 20] {
        rig.grants(UDP, port, port, 7200);
    }
    assert_eq!(rig.sent(), None);
}

#[test]
fn a_mapping_asked_for_again_is_asked_for_on_the_port_it_has() {
    let mut rig = Rig::new();
    rig.keep(MapRequest::new(UDP, 4000));
    rig.grants(UDP, 4000, 5000, 7200);
    assert!(matches!(rig.event(), Some(Event::Mapped(_))));
    rig.at(1000).keep(MapRequest::new(UDP, 4000).external_port(6000).lifetime(600));
    rig.at(1001);
    assert_eq!(rig.request(), asks(UDP, 4000, 5000, 600));
    assert_eq!(rig.receives(mapped(1001, UDP, 4000, 5000, 600)), Ok(Received::Answer));
    assert_eq!(rig.event(), Some(Event::Renewed(mapping(UDP, 4000, 5000, 600))));
    rig.is_quiet();
}

#[test]
fn a_mapping_that_is_not_open_is_asked_for_with_the_newest_wishes() {
    let mut rig = Rig::new();
    rig.keep(MapRequest::new(UDP, 4000));
    rig.keep(MapRequest::new(UDP, 4000).external_port(6000).lifetime(600));
    assert_eq!(rig.request(), asks(UDP, 4000, 6000, 600));
    assert_eq!(rig.client.mappings().count(), 1);
}

#[test]
fn wishes_that_change_while_the_request_is_in_flight_are_asked_for_as_well() {
    let mut rig = Rig::new();
    rig.map(MapRequest::new(UDP, 4000).lifetime(60));
    assert_eq!(rig.request(), asks(UDP, 4000, 4000, 60));
    rig.map(MapRequest::new(UDP, 4000).lifetime(3600));
    let _ = rig.receives(mapped(1000, UDP, 4000, 4000, 60));
    for at in [0, 250, 500, 750, 1000] {
        rig.at(at);
        while let Some((Request::Map { lifetime, .. }, _)) = rig.sent() {
            assert_eq!(rig.receives(mapped(1000, UDP, 4000, 4000, lifetime)), Ok(Received::Answer));
        }
    }
    let MappingState::Open { mapping, .. } = rig.state(UDP, 4000) else { panic!("it is open") };
    assert_eq!(mapping.lifetime, 3600, "the second call asked for an hour");
}

#[test]
fn what_is_kept_stays_kept_when_it_is_asked_for_once() {
    let mut rig = Rig::keeping(UDP, 4000);
    rig.map(MapRequest::new(UDP, 4000));
    assert!(rig.client.mapping(UDP, 4000).unwrap().is_kept);
    rig.grants(UDP, 4000, 4000, 7200);
    assert!(matches!(rig.event(), Some(Event::Renewed(_))));
    rig.at(3_600_000);
    assert_eq!(rig.request(), asks(UDP, 4000, 4000, 7200));
}

#[test]
fn what_was_asked_for_once_can_be_kept_from_then_on() {
    let mut rig = Rig::new();
    rig.map(MapRequest::new(UDP, 4000));
    rig.grants(UDP, 4000, 4000, 7200);
    assert!(!rig.client.mapping(UDP, 4000).unwrap().is_kept);
    rig.at(10).keep(MapRequest::new(UDP, 4000));
    rig.grants(UDP, 4000, 4000, 7200);
    assert!(rig.client.mapping(UDP, 4000).unwrap().is_kept);
    rig.at(3_600_010);
    assert_eq!(rig.request(), asks(UDP, 4000, 4000, 7200));
}

/// An ending that was not told yet is overtaken: the newest state wins.
#[test]
fn a_mapping_wanted_again_before_its_end_was_told_starts_anew() {
    let mut rig = Rig::new();
    rig.map(MapRequest::new(UDP, 4000));
    rig.refuses(Refusal::OutOfResources);
    assert_eq!(rig.state(UDP, 4000), MappingState::Ended);
    rig.map(MapRequest::new(UDP, 4000).external_port(5000));
    assert_eq!(rig.event(), None);
    assert_eq!(rig.request(), asks(UDP, 4000, 5000, 7200));
}

#[test]
fn refresh_renews_what_is_open_now() {
    let mut rig = Rig::keeping(UDP, 4000);
    assert!(rig.at(60_000).refresh(UDP, 4000));
    assert_eq!(rig.client.poll_timeout(), Some(secs(60)));
    rig.grants(UDP, 4000, 4001, 7200);
    let changed = Event::PortChanged { mapping: mapping(UDP, 4000, 4001, 7200), previous_port: 4000 };
    assert_eq!(rig.event(), Some(changed));
    rig.is_quiet();
    // Half of the lease counts from there.
    assert_eq!(rig.client.poll_timeout(), Some(secs(3660)));
}

#[test]
fn refresh_renews_a_mapping_held_once_and_once_only() {
    let mut rig = Rig::new();
    rig.map(MapRequest::new(UDP, 4000).lifetime(100));
    rig.grants(UDP, 4000, 4000, 100);
    assert!(matches!(rig.event(), Some(Event::Mapped(_))));
    assert!(rig.at(90_000).refresh(UDP, 4000));
    rig.grants(UDP, 4000, 4000, 100);
    assert!(matches!(rig.event(), Some(Event::Renewed(_))));
    let (sends, events) = rig.silence_until(1_000_000);
    assert_eq!(sends, []);
    assert_eq!(events, [(190_000, ended(UDP, 4000, 4000, Ending::Expired).unwrap())]);
}

#[test]
fn refresh_ends_the_pause_after_a_failure() {
    let mut rig = Rig::new();
    rig.keep(MapRequest::new(UDP, 4000));
    rig.refuses(Refusal::OutOfResources);
    assert!(matches!(rig.event(), Some(Event::Failed { .. })));
    assert_eq!(rig.at(100).sent(), None);
    assert!(rig.refresh(UDP, 4000));
    rig.grants(UDP, 4000, 4000, 7200);
    assert_eq!(rig.event(), Some(Event::Mapped(mapping(UDP, 4000, 4000, 7200))));
}

#[test]
fn refresh_of_what_is_not_held_or_being_deleted_does_nothing() {
    let mut rig = Rig::keeping(UDP, 4000);
    assert!(!rig.refresh(TCP, 4000));
    assert!(!rig.refresh(UDP, 4001));
    rig.unmap(UDP, 4000);
    assert!(!rig.refresh(UDP, 4000));
    assert_eq!(rig.request(), Request::delete(UDP, 4000));
}

#[test]
fn a_refresh_that_fails_says_so_and_leaves_what_is_open_open() {
    let mut rig = Rig::new();
    rig.map(MapRequest::new(UDP, 4000));
    rig.grants(UDP, 4000, 4000, 7200);
    assert!(matches!(rig.event(), Some(Event::Mapped(_))));
    assert!(rig.at(1000).refresh(UDP, 4000));
    rig.refuses(Refusal::NotAuthorized);
    let error = RequestError::Refused(Refusal::NotAuthorized);
    assert_eq!(rig.event(), Some(Event::Failed { protocol: UDP, internal_port: 4000, error, retry_at: None }));
    assert_eq!(rig.client.mapping(UDP, 4000).unwrap().last_error, Some(error));
    assert!(matches!(rig.state(UDP, 4000), MappingState::Open { renewal: None, .. }));
    let (sends, events) = rig.silence_until(10_000_000);
    assert_eq!(sends, []);
    assert_eq!(events, [(7_200_000, ended(UDP, 4000, 4000, Ending::Expired).unwrap())]);
}
