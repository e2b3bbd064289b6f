//! `unmap` and `unmap_all`.

use super::*;

/// C14, C06.
#[test]
fn an_open_mapping_is_deleted_with_lifetime_0_and_port_0_and_its_end_is_told() {
    let mut rig = Rig::keeping(TCP, 4000);
    rig.unmap(TCP, 4000);
    assert_eq!(rig.state(TCP, 4000), MappingState::Closing);
    assert_eq!(rig.request(), asks(TCP, 4000, 0, 0));
    assert_eq!(rig.receives(mapped(1000, TCP, 4000, 0, 0)), Ok(Received::Answer));
    assert_eq!(rig.state(TCP, 4000), MappingState::Ended);
    assert_eq!(rig.event(), ended(TCP, 4000, 4000, Ending::Unmapped));
    rig.is_quiet();
    assert_eq!(rig.client.mapping(TCP, 4000), None);
    assert_eq!(rig.client.poll_timeout(), None);
}

#[test]
fn a_mapping_that_was_never_asked_for_ends_without_a_word_to_the_gateway() {
    let mut rig = Rig::new();
    rig.keep(MapRequest::new(UDP, 4000));
    rig.unmap(UDP, 4000);
    assert_eq!(rig.sent(), None);
    assert_eq!(rig.event(), ended(UDP, 4000, 0, Ending::Unmapped));
    rig.is_quiet();
}

#[test]
fn a_mapping_whose_request_is_in_flight_is_deleted_at_once() {
    let mut rig = Rig::new();
    rig.keep(MapRequest::new(UDP, 4000));
    assert_eq!(rig.request(), asks(UDP, 4000, 4000, 7200));
    rig.at(100).unmap(UDP, 4000);
    assert_eq!(rig.request(), asks(UDP, 4000, 0, 0));
    // C16: the late answer to the request is none to the deletion.
    assert_eq!(rig.receives(mapped(1000, UDP, 4000, 4000, 7200)), Err(Discard::NotAwaited));
    assert_eq!(rig.event(), None);
    assert_eq!(rig.receives(mapped(1000, UDP, 4000, 0, 0)), Ok(Received::Answer));
    assert_eq!(rig.event(), ended(UDP, 4000, 0, Ending::Unmapped));
    rig.is_quiet();
}

/// The gateway may have granted it, and the answer may have been lost.
#[test]
fn a_mapping_whose_requests_went_unanswered_is_deleted_all_the_same() {
    let mut rig = Rig::new();
    rig.keep(MapRequest::new(UDP, 4000));
    rig.silence_until(128_000);
    rig.unmap(UDP, 4000);
    assert_eq!(rig.request(), asks(UDP, 4000, 0, 0));
}

/// A refusal says that there is nothing to delete.
#[test]
fn a_mapping_that_was_refused_ends_without_a_deletion() {
    let mut rig = Rig::new();
    rig.keep(MapRequest::new(UDP, 4000));
    rig.refuses(Refusal::NotAuthorized);
    assert!(matches!(rig.event(), Some(Event::Failed { .. })));
    rig.unmap(UDP, 4000);
    assert_eq!(rig.sent(), None);
    assert_eq!(rig.event(), ended(UDP, 4000, 0, Ending::Unmapped));
}

#[test]
fn a_mapping_that_this_machine_never_made_can_be_deleted() {
    let mut rig = Rig::new();
    rig.unmap(TCP, 4000);
    assert_eq!(rig.request(), asks(TCP, 4000, 0, 0));
    assert_eq!(rig.receives(mapped(1000, TCP, 4000, 0, 0)), Ok(Received::Answer));
    assert_eq!(rig.event(), ended(TCP, 4000, 0, Ending::Unmapped));
    rig.is_quiet();
}

/// C08: the lifetime field of a failed deletion is not read.
#[test]
fn a_deletion_that_is_refused_ends_with_the_refusal() {
    let mut rig = Rig::keeping(UDP, 4000);
    rig.unmap(UDP, 4000);
    rig.refuses(Refusal::NotAuthorized);
    let error = RequestError::Refused(Refusal::NotAuthorized);
    assert_eq!(rig.event(), ended(UDP, 4000, 4000, Ending::NotUnmapped(error)));
    rig.is_quiet();
}

/// C06: on the same schedule, and to the same end.
#[test]
fn a_deletion_that_nobody_answers_is_sent_by_the_schedule_and_given_up() {
    let mut rig = Rig::keeping(UDP, 4000);
    rig.unmap(UDP, 4000);
    let (sends, events) = rig.silence_until(1_000_000);
    let at: Vec<_> = sends.iter().map(|&(at, _)| at).collect();
    assert_eq!(at, [0, 250, 750, 1750, 3750, 7750, 15_750, 31_750, 63_750]);
    assert!(sends.iter().all(|&(_, request)| request == Request::delete(UDP, 4000)));
    let end = ended(UDP, 4000, 4000, Ending::NotUnmapped(RequestError::NoAnswer)).unwrap();
    assert_eq!(events, [(127_750, end)]);
    assert_eq!(rig.client.mappings().count(), 0);
}

/// C06: not pursued past the moment when the lease would have ended.
#[test]
fn a_deletion_is_not_pursued_past_the_end_of_the_lease() {
    let mut rig = Rig::new();
    rig.keep(MapRequest::new(UDP, 4000).lifetime(5));
    rig.grants(UDP, 4000, 4000, 5);
    assert!(matches!(rig.event(), Some(Event::Mapped(_))));
    rig.at(1000).unmap(UDP, 4000);
    let (sends, events) = rig.silence_until(1_000_000);
    let at: Vec<_> = sends.iter().map(|&(at, _)| at).collect();
    assert_eq!(at, [1000, 1250, 1750, 2750, 4750]);
    assert_eq!(events, [(5000, ended(UDP, 4000, 4000, Ending::ExpiredUnmapping).unwrap())]);
    assert_eq!(rig.client.poll_timeout(), None);
}

/// A renewal that went unanswered may have been granted: the lease may be longer than what was heard.
#[test]
fn a_deletion_after_an_unanswered_renewal_is_pursued_for_a_whole_lifetime() {
    let mut rig = Rig::new();
    rig.keep(MapRequest::new(UDP, 4000).lifetime(10));
    rig.grants(UDP, 4000, 4000, 10);
    rig.at(5000);
    assert_eq!(rig.request(), asks(UDP, 4000, 4000, 10));
    rig.at(5100).unmap(UDP, 4000);
    let (_, events) = rig.silence_until(1_000_000);
    assert_eq!(events, [(15_100, ended(UDP, 4000, 4000, Ending::ExpiredUnmapping).unwrap())]);
}

#[test]
fn a_deletion_is_sent_at_least_once_and_before_what_is_to_be_mapped() {
    let mut rig = Rig::keeping(UDP, 4000);
    rig.keep(MapRequest::new(UDP, 5000));
    rig.unmap(UDP, 4000);
    assert_eq!(rig.request(), Request::delete(UDP, 4000));
    assert_eq!(rig.receives(mapped(1000, UDP, 4000, 0, 0)), Ok(Received::Answer));
    assert_eq!(rig.request(), asks(UDP, 5000, 5000, 7200));
}

#[test]
fn a_mapping_wanted_again_while_it_is_deleted_is_asked_for_at_once() {
    let mut rig = Rig::keeping(UDP, 4000);
    rig.unmap(UDP, 4000);
    assert_eq!(rig.request(), Request::delete(UDP, 4000));
    rig.at(100).keep(MapRequest::new(UDP, 4000));
    rig.grants(UDP, 4000, 4000, 7200);
    assert!(matches!(rig.state(UDP, 4000), MappingState::Open { .. }));
}

/// C23: its deletion would read as "delete all mappings".
#[test]
fn a_mapping_of_internal_port_0_is_left_to_lapse() {
    let mut rig = Rig::new();
    rig.keep(MapRequest::new(UDP, 0).external_port(1).lifetime(60));
    assert_eq!(rig.request(), asks(UDP, 0, 1, 60));
    assert_eq!(rig.receives(mapped(1000, UDP, 0, 50_000, 60)), Ok(Received::Answer));
    assert_eq!(rig.event(), Some(Event::Mapped(mapping(UDP, 0, 50_000, 60))));
    rig.unmap(UDP, 0);
    assert_eq!(rig.sent(), None);
    assert_eq!(rig.event(), ended(UDP, 0, 50_000, Ending::LeftToLapse));
    rig.is_quiet();
    assert_eq!(rig.client.mapping(UDP, 0), None);
    assert_eq!(rig.client.poll_timeout(), None);
}

/// C23.
#[test]
fn no_state_of_a_mapping_of_internal_port_0_leads_to_a_deletion() {
    // Not held; not yet asked for; in flight; given up; refused.
    for step in 0..5 {
        let mut rig = Rig::new();
        if step > 0 {
            rig.keep(MapRequest::new(UDP, 0));
        }
        match step {
            2 => assert_eq!(rig.request(), asks(UDP, 0, 0, 7200)),
            3 => assert!(!rig.silence_until(128_000).0.is_empty()),
            4 => rig.refuses(Refusal::NotAuthorized),
            _ => {}
        }
        rig.unmap(UDP, 0);
        let (sends, events) = rig.silence_until(10_000_000);
        assert_eq!(sends, [], "step {step}");
        assert!(matches!(events[..], [(_, Event::Ended { ending: Ending::LeftToLapse, .. })]), "{events:?}");
    }
}

/// C14, C22: in so many words only.
#[test]
fn unmap_all_deletes_all_of_its_protocol_and_tells_each_mapping_held() {
    for protocol in Protocol::ALL {
        let mut rig = Rig::keeping(protocol, 4000);
        rig.keep(MapRequest::new(protocol, 0).lifetime(60));
        rig.grants(protocol, 0, 50_000, 60);
        assert!(matches!(rig.event(), Some(Event::Mapped(_))));
        let now = rig.now();
        rig.client.unmap_all(now, protocol);
        assert_eq!(rig.state(protocol, 4000), MappingState::Closing);
        assert_eq!(rig.request(), asks(protocol, 0, 0, 0));
        assert_eq!(rig.receives(mapped(1000, protocol, 0, 0, 0)), Ok(Received::Answer));
        assert_eq!(rig.event(), ended(protocol, 4000, 4000, Ending::Unmapped));
        assert_eq!(rig.event(), ended(protocol, 0, 50_000, Ending::Unmapped));
        assert_eq!(rig.event(), Some(Event::UnmappedAll { protocol, result: Ok(()) }));
        rig.is_quiet();
        assert_eq!(rig.client.poll_timeout(), None);
    }
}

#[test]
fn unmap_all_of_both_protocols_sends_both_deletions_one_after_the_other() {
    let mut rig = Rig::new();
    let now = rig.now();
    rig.client.unmap_all(now, TCP);
    rig.client.unmap_all(now, UDP);
    rig.grants(UDP, 0, 0, 0);
    rig.grants(TCP, 0, 0, 0);
    assert_eq!(rig.event(), Some(Event::UnmappedAll { protocol: UDP, result: Ok(()) }));
    assert_eq!(rig.event(), Some(Event::UnmappedAll { protocol: TCP, result: Ok(()) }));
    rig.is_quiet();
}

/// Some gateways delete the other protocol's mappings as well.
#[test]
fn unmap_all_of_one_protocol_renews_what_is_kept_of_the_other() {
    let mut rig = Rig::keeping(TCP, 4000);
    rig.map(MapRequest::new(TCP, 5000));
    rig.grants(TCP, 5000, 5000, 7200);
    assert!(matches!(rig.event(), Some(Event::Mapped(_))));
    rig.at(1000);
    let now = rig.now();
    rig.client.unmap_all(now, UDP);
    rig.grants(UDP, 0, 0, 0);
    assert_eq!(rig.event(), Some(Event::UnmappedAll { protocol: UDP, result: Ok(()) }));
    rig.grants(TCP, 4000, 4000, 7200);
    assert_eq!(rig.event(), Some(Event::Renewed(mapping(TCP, 4000, 4000, 7200))));
    rig.is_quiet();
}

/// C22: what an earlier holder of the address left goes, and what is kept here is made anew after that.
#[test]
fn clearing_deletes_all_of_both_protocols_and_makes_anew_what_is_kept() {
    let mut rig = Rig::keeping(UDP, 4000);
    rig.at(1000);
    let now = rig.now();
    rig.client.clear(now);
    rig.grants(UDP, 0, 0, 0);
    rig.grants(TCP, 0, 0, 0);
    rig.grants(UDP, 4000, 4000, 7200);
    assert_eq!(rig.event(), Some(Event::Renewed(mapping(UDP, 4000, 4000, 7200))));
    assert_eq!(rig.event(), Some(Event::UnmappedAll { protocol: UDP, result: Ok(()) }));
    assert_eq!(rig.event(), Some(Event::UnmappedAll { protocol: TCP, result: Ok(()) }));
    rig.is_quiet();
}

#[test]
fn clearing_ends_what_was_held_once_and_open() {
    let mut rig = Rig::new();
    rig.map(MapRequest::new(TCP, 5000));
    rig.grants(TCP, 5000, 5000, 7200);
    assert!(matches!(rig.event(), Some(Event::Mapped(_))));
    let now = rig.now();
    rig.client.clear(now);
    rig.grants(UDP, 0, 0, 0);
    rig.grants(TCP, 0, 0, 0);
    assert_eq!(rig.event(), ended(TCP, 5000, 5000, Ending::Unmapped));
    assert_eq!(rig.event(), Some(Event::UnmappedAll { protocol: UDP, result: Ok(()) }));
    assert_eq!(rig.event(), Some(Event::UnmappedAll { protocol: TCP, result: Ok(()) }));
    rig.is_quiet();
}

/// Some gateways do not answer such a deletion.
#[test]
fn clearing_in_vain_holds_up_nothing_that_is_kept() {
    let mut rig = Rig::keeping(UDP, 4000);
    let now = rig.now();
    rig.client.clear(now);
    rig.client.network_changed(now);
    for (at, protocol) in [(0, UDP), (250, TCP)] {
        rig.at(at);
        assert_eq!(rig.request(), Request::delete(protocol, 0));
        assert_eq!(rig.sent(), None);
    }
    rig.at(500);
    rig.grants(UDP, 4000, 4000, 7200);
    assert_eq!(rig.event(), Some(Event::Renewed(mapping(UDP, 4000, 4000, 7200))));
    for protocol in [UDP, TCP] {
        assert_eq!(rig.event(), Some(Event::UnmappedAll { protocol, result: Err(RequestError::NoAnswer) }));
    }
    rig.is_quiet();
}

#[test]
fn unmap_all_that_is_refused_says_so_and_so_does_each_mapping_held() {
    let mut rig = Rig::keeping(UDP, 4000);
    let now = rig.now();
    rig.client.unmap_all(now, UDP);
    rig.refuses(Refusal::NotAuthorized);
    let error = RequestError::Refused(Refusal::NotAuthorized);
    assert_eq!(rig.event(), ended(UDP, 4000, 4000, Ending::NotUnmapped(error)));
    assert_eq!(rig.event(), Some(Event::UnmappedAll { protocol: UDP, result: Err(error) }));
    rig.is_quiet();
}

#[test]
fn unmap_all_that_nobody_answers_is_given_up() {
    let mut rig = Rig::new();
    let now = rig.now();
    rig.client.unmap_all(now, TCP);
    let (sends, events) = rig.silence_until(1_000_000);
    assert_eq!(sends.len(), 9);
    let event = Event::UnmappedAll { protocol: TCP, result: Err(RequestError::NoAnswer) };
    assert_eq!(events, [(127_750, event)]);
}

#[test]
fn a_mapping_wanted_after_unmap_all_is_made_after_it() {
    let mut rig = Rig::keeping(UDP, 4000);
    let now = rig.now();
    rig.client.unmap_all(now, UDP);
    rig.keep(MapRequest::new(UDP, 4000));
    rig.grants(UDP, 0, 0, 0);
    rig.grants(UDP, 4000, 4000, 7200);
    assert!(matches!(rig.state(UDP, 4000), MappingState::Open { .. }));
    rig.at(3_600_000);
    assert_eq!(rig.request(), asks(UDP, 4000, 4000, 7200));
}

#[test]
fn unmap_all_takes_the_place_of_a_request_in_flight_for_the_same_protocol() {
    let mut rig = Rig::new();
    rig.keep(MapRequest::new(UDP, 4000));
    assert_eq!(rig.request(), asks(UDP, 4000, 4000, 7200));
    let now = rig.now();
    rig.client.unmap_all(now, UDP);
    assert_eq!(rig.request(), Request::delete(UDP, 0));
    assert_eq!(rig.receives(mapped(1000, UDP, 4000, 4000, 7200)), Err(Discard::NotAwaited));
    assert_eq!(rig.receives(mapped(1000, UDP, 0, 0, 0)), Ok(Received::Answer));
    assert_eq!(rig.event(), ended(UDP, 4000, 0, Ending::Unmapped));
    assert!(matches!(rig.event(), Some(Event::UnmappedAll { .. })));
    rig.is_quiet();
}

/// A failure that was not told yet is overtaken by the deletion.
#[test]
fn a_mapping_being_deleted_tells_nothing_but_its_end() {
    let mut rig = Rig::keeping(UDP, 4000);
    rig.refresh(UDP, 4000);
    rig.refuses(Refusal::OutOfResources);
    rig.unmap(UDP, 4000);
    assert_eq!(rig.event(), None);
    rig.grants(UDP, 4000, 0, 0);
    assert_eq!(rig.event(), ended(UDP, 4000, 4000, Ending::Unmapped));
}

/// C06: a deletion is not to wait for minutes behind a request that the gateway does not answer.
#[test]
fn a_deletion_goes_before_a_request_that_finds_no_answer() {
    let mut rig = Rig::keeping(UDP, 4000);
    let now = rig.now();
    rig.client.request_external_address(now);
    let (sends, _) = rig.silence_until(3000);
    assert!(sends.iter().all(|&(_, request)| request == Request::ExternalAddress));
    let now = rig.at(3000).now();
    rig.client.unmap(now, UDP, 4000).unwrap();
    assert_eq!(rig.request(), Request::delete(UDP, 4000));
    assert_eq!(rig.receives(mapped(rig.epoch(), UDP, 4000, 0, 0)), Ok(Received::Answer));
    assert!(matches!(rig.event(), Some(Event::Ended { ending: Ending::Unmapped, .. })));
    // What made way is asked again.
    assert_eq!(rig.request(), Request::ExternalAddress);
}

/// C06: at the end of a program there is time for one send of each.
#[test]
fn deletions_in_a_hurry_are_each_sent_once_more_and_given_up_soon() {
    let mut rig = Rig::new();
    for port in [4000, 4001, 4002] {
        rig.keep(MapRequest::new(UDP, port));
        rig.grants(UDP, port, port, 7200);
        assert!(matches!(rig.event(), Some(Event::Mapped(_))));
    }
    for port in [4000, 4001, 4002] {
        let now = rig.now();
        rig.client.unmap(now, UDP, port).unwrap();
    }
    rig.silence_until(1000);
    let now = rig.at(1000).now();
    rig.client.hasten_deletions(now);
    let (sends, events) = rig.silence_until(2000);
    let deleted: Vec<_> = sends.iter().map(|&(at, _)| at).collect();
    assert_eq!(deleted, [1000, 1250, 1500]);
    assert_eq!(events.len(), 3, "{events:?}");
    assert_eq!(rig.client.poll_timeout(), None);
}

/// The request that was sent once has not had the time for its answer yet.
#[test]
fn a_deletion_waits_for_a_request_that_was_sent_once_and_for_none_that_was_sent_again() {
    for (at, waits) in [(100, true), (300, false)] {
        let mut rig = Rig::keeping(UDP, 4000);
        rig.keep(MapRequest::new(UDP, 5000));
        rig.silence_until(at);
        rig.unmap(UDP, 4000);
        if waits {
            assert_eq!(rig.sent(), None);
            assert_eq!(rig.receives(mapped(1000, UDP, 5000, 5000, 7200)), Ok(Received::Answer));
        }
        assert_eq!(rig.request(), Request::delete(UDP, 4000), "a deletion at {at} ms");
    }
}

#[test]
fn silence_after_a_deletion_of_all_is_a_verdict_on_the_gateway() {
    let mut rig = Rig::new();
    rig.keep(MapRequest::new(UDP, 4000));
    rig.client.unmap_all(Instant::ZERO, TCP);
    let (sends, events) = rig.silence_until(127_750);
    assert!(sends.iter().all(|(_, request)| *request == Request::delete(TCP, 0)), "{sends:?}");
    let unmapped_all = (127_750, Event::UnmappedAll { protocol: TCP, result: Err(RequestError::NoAnswer) });
    assert!(
        matches!(events[..], [(_, Event::Failed { internal_port: 4000, error: RequestError::NoAnswer, .. }), last] if last == unmapped_all),
        "{events:?}"
    );
}
