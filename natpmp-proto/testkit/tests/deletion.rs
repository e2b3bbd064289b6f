//! Deletions, and answers that come late.

use std::time::Duration;

use natpmp_proto::client::{Ending, MapError, RequestError};
use natpmp_proto::wire::{Refusal, Request, Response};
use natpmp_proto::{Event, MapRequest, Protocol, Schedule};
use natpmp_testkit::gateway::{FailureForm, Faults, Gateway, Grant, Reach, Vpn};
use natpmp_testkit::net::{Link, Sim};

const UDP: MapRequest = MapRequest::new(Protocol::Udp, 4_000);

/// The form of a deletion, spelled out (section 3.4).
const fn deletion_of(protocol: Protocol, internal_port: u16) -> Request {
    Request::Map { protocol, internal_port, suggested_external_port: 0, lifetime: 0 }
}

fn keeping(faults: Faults, requests: &[MapRequest]) -> Sim {
    let mut sim = Sim::new(Gateway::with(faults));
    for request in requests {
        sim.command(|client, now| client.keep(now, request)).unwrap();
    }
    sim.run_for(Duration::from_secs(1));
    sim.forget();
    sim
}

fn unmap(sim: &mut Sim, request: &MapRequest) {
    let (protocol, internal_port) = (request.protocol(), request.internal_port());
    sim.command(|client, now| client.unmap(now, protocol, internal_port)).unwrap();
}

fn ending(sim: &Sim, internal_port: u16) -> Option<Ending> {
    sim.events().iter().find_map(|event| match *event {
        Event::Ended { internal_port: ended, ending, .. } if ended == internal_port => Some(ending),
        _ => None,
    })
}

fn deletions(sim: &Sim) -> Vec<Request> {
    let all = sim.sent().iter().map(|sent| sent.request);
    all.filter(|request| matches!(request, Request::Map { lifetime: 0, .. })).collect()
}

/// C06, C14
#[test]
fn a_deletion_suggests_no_port_and_is_sent_on_the_schedule_until_it_is_answered() {
    let mut sim = keeping(Faults::default(), &[UDP.external_port(9_000)]);
    sim.gateway().faults.reach = Reach::Silent;
    let start = sim.now();
    unmap(&mut sim, &UDP);
    sim.run_for(Duration::from_secs(3));
    sim.gateway().faults.reach = Reach::Open;
    sim.run_for(Duration::from_secs(10_000));
    assert_eq!(sim.send_times(start), [0, 250, 750, 1_750, 3_750]);
    assert!(sim.sent().iter().all(|sent| sent.request == deletion_of(Protocol::Udp, 4_000)));
    assert_eq!(ending(&sim, 4_000), Some(Ending::Unmapped));
    assert_eq!(sim.client().poll_timeout(), None);
}

/// C06
#[test]
fn a_deletion_is_not_pursued_past_the_end_of_its_lease() {
    let mut sim = keeping(Faults { grant: Grant::AtMost(60), ..Faults::default() }, &[UDP]);
    sim.run_for(Duration::from_secs(19));
    sim.gateway().faults.reach = Reach::Silent;
    let start = sim.now();
    unmap(&mut sim, &UDP);
    sim.run_for(Duration::from_secs(10_000));
    assert_eq!(sim.send_times(start), [0, 250, 750, 1_750, 3_750, 7_750, 15_750, 31_750]);
    assert_eq!(ending(&sim, 4_000), Some(Ending::ExpiredUnmapping));
    assert_eq!(sim.timed_events()[0].at, start + Duration::from_secs(40));
}

/// C06
#[test]
fn a_deletion_that_is_never_answered_is_told_as_such() {
    let mut sim = keeping(Faults::default(), &[UDP]);
    sim.gateway().faults.reach = Reach::Silent;
    unmap(&mut sim, &UDP);
    sim.run_for(Duration::from_secs(10_000));
    assert_eq!(sim.sent().len(), 9);
    assert_eq!(ending(&sim, 4_000), Some(Ending::NotUnmapped(RequestError::NoAnswer)));
}

/// C06
#[test]
fn every_deletion_is_sent_at_least_once_even_behind_a_request_that_is_not_answered() {
    for reach in [Reach::Silent, Reach::Closed] {
        let requests = [UDP, MapRequest::new(Protocol::Udp, 4_001), MapRequest::new(Protocol::Tcp, 4_002)];
        let mut sim = keeping(Faults::default(), &requests);
        sim.gateway().faults.reach = reach;
        // The port unreachable comes after all three deletions are wanted.
        let delay = Duration::from_millis(10);
        sim.set_link(Link { shortest_delay: delay, longest_delay: delay, ..Link::perfect() });
        sim.command(|client, now| client.request_external_address(now));
        requests.iter().for_each(|request| unmap(&mut sim, request));
        sim.run_for(Duration::from_secs(10_000));
        for request in requests {
            let deletion = deletion_of(request.protocol(), request.internal_port());
            assert!(deletions(&sim).contains(&deletion), "{deletion:?} was never sent ({reach:?})");
        }
    }
}

/// C08
#[test]
fn the_ports_and_the_lifetime_of_a_failed_deletion_are_not_read() {
    for failure_form in [FailureForm::Full, FailureForm::Echo, FailureForm::Short, FailureForm::Shortest] {
        let mut sim = keeping(Faults { failure_form, refuse_unmap: Some(2), ..Faults::default() }, &[UDP]);
        unmap(&mut sim, &UDP);
        assert_eq!(ending(&sim, 4_000), Some(Ending::NotUnmapped(RequestError::Refused(Refusal::NotAuthorized))));
        assert_eq!(sim.sent().len(), 1);
    }
}

/// C14
#[test]
fn a_mapping_whose_request_is_still_in_flight_is_deleted_all_the_same() {
    let mut sim = Sim::new(Gateway::with(Faults { delay: Duration::from_secs(2), ..Faults::default() }));
    sim.command(|client, now| client.keep(now, &UDP)).unwrap();
    sim.run_for(Duration::from_millis(100));
    unmap(&mut sim, &UDP);
    sim.run_for(Duration::from_secs(100));
    let now = sim.now();
    assert_eq!(sim.gateway().leases(now), []);
    assert_eq!(ending(&sim, 4_000), Some(Ending::Unmapped));
    assert!(!sim.events().iter().any(|event| matches!(event, Event::Mapped(_))), "the late grant is not told");
}

/// C16
#[test]
fn a_late_answer_to_a_deletion_is_no_answer_to_the_request_that_followed() {
    let late =
        Response::Map { protocol: Protocol::Udp, epoch: 1_002, internal_port: 4_000, external_port: 0, lifetime: 0 };
    for copies in 1..4 {
        let mut sim = keeping(Faults::default(), &[UDP]);
        unmap(&mut sim, &UDP);
        let delay = Duration::from_millis(100);
        sim.gateway().faults.delay = delay;
        sim.command(|client, now| client.keep(now, &UDP)).unwrap();
        for _ in 0..copies {
            sim.inject(Sim::<8>::GATEWAY, &late.encode());
        }
        sim.run_for(Duration::from_secs(1));
        let events = sim.events();
        assert!(matches!(events[..], [Event::Ended { .. }, Event::Mapped(_)]), "{copies} copies: {events:?}");
        assert_eq!(sim.sent().len(), 2);
    }
}

/// C16
#[test]
fn a_late_grant_is_no_answer_to_the_deletion_that_followed() {
    let mut sim = keeping(Faults::default(), &[UDP]);
    sim.gateway().faults.reach = Reach::Silent;
    unmap(&mut sim, &UDP);
    let late = Response::Map {
        protocol: Protocol::Udp,
        epoch: 1_002,
        internal_port: 4_000,
        external_port: 4_000,
        lifetime: 7_200,
    };
    sim.inject(Sim::<8>::GATEWAY, &late.encode());
    assert_eq!(sim.events(), []);
    sim.run_for(Duration::from_millis(300));
    assert_eq!(sim.sent().len(), 2);
}

/// C16
#[test]
fn repeated_and_late_answers_without_a_request_change_nothing() {
    let mut sim = keeping(Faults::default(), &[UDP]);
    let before = sim.client().poll_timeout();
    for (external_port, lifetime) in [(4_000, 7_200), (4_001, 60), (0, 0), (4_000, 0)] {
        let late = Response::Map { protocol: Protocol::Udp, epoch: 0, internal_port: 4_000, external_port, lifetime };
        sim.inject(Sim::<8>::GATEWAY, &late.encode());
    }
    assert_eq!(sim.client().poll_timeout(), before);
    assert_eq!((sim.events(), sim.sent().len()), (vec![], 0));
}

/// C23
#[test]
fn a_mapping_of_internal_port_0_is_left_to_lapse_and_never_deleted_by_itself() {
    for answers in [Vpn::AnswersZero, Vpn::AnswersMapped] {
        let vpn = MapRequest::new(Protocol::Udp, 0);
        let mut sim = keeping(Faults::vpn(answers), &[vpn, MapRequest::new(Protocol::Udp, 5_000)]);
        unmap(&mut sim, &vpn);
        assert_eq!(ending(&sim, 0), Some(Ending::LeftToLapse));
        assert_eq!(deletions(&sim), []);
        sim.run_for(Duration::from_secs(61));
        let now = sim.now();
        assert_eq!(sim.gateway().leases(now).len(), 1, "one lapsed, the other is kept");
    }
}

/// C23
#[test]
fn a_mapping_of_internal_port_0_goes_with_all_when_asked_for_in_so_many_words() {
    let vpn = MapRequest::new(Protocol::Udp, 0);
    let mut sim = keeping(Faults::vpn(Vpn::AnswersZero), &[vpn]);
    sim.command(|client, now| client.unmap_all(now, Protocol::Udp));
    let now = sim.now();
    assert_eq!(sim.gateway().leases(now), []);
    assert!(sim.events().contains(&Event::UnmappedAll { protocol: Protocol::Udp, result: Ok(()) }));
}

/// C14, C22
#[test]
fn all_mappings_that_an_earlier_holder_of_the_address_left_can_be_deleted() {
    let mut sim = keeping(Faults::default(), &[]);
    sim.with_gateway(|gateway, now| {
        for port in 0..5u8 {
            let earlier = [0, 1, 0, 0, 0x10, port, 0x10, port, 0, 0, 0x1c, 0x20];
            gateway.handle(now, "192.168.1.100:1".parse().unwrap(), &earlier);
        }
    });
    let now = sim.now();
    assert_eq!(sim.gateway().leases(now).len(), 5);
    sim.command(|client, now| client.unmap_all(now, Protocol::Udp));
    assert_eq!(sim.gateway().leases(now), []);
    assert_eq!(deletions(&sim), [deletion_of(Protocol::Udp, 0)]);
}

/// C06
#[test]
fn a_deletion_of_all_is_pursued_on_the_schedule_too() {
    let mut sim: Sim = Sim::with_rules(Gateway::new(), |rules| rules.schedule(Schedule::QUICK), 1);
    sim.gateway().faults.reach = Reach::Silent;
    let start = sim.now();
    sim.command(|client, now| client.unmap_all(now, Protocol::Tcp));
    sim.run_for(Duration::from_secs(1_000));
    assert_eq!(sim.send_times(start), [0, 250, 750, 1_750, 3_750]);
    let result = Err(RequestError::NoAnswer);
    assert_eq!(sim.events(), [Event::UnmappedAll { protocol: Protocol::Tcp, result }]);
}

#[test]
fn a_mapping_wanted_again_while_it_is_deleted_is_made_again() {
    let mut sim = keeping(Faults { delay: Duration::from_millis(50), ..Faults::default() }, &[UDP]);
    unmap(&mut sim, &UDP);
    sim.command(|client, now| client.keep(now, &UDP)).unwrap();
    sim.run_for(Duration::from_secs(5));
    let now = sim.now();
    assert!(sim.gateway().lease(now, Protocol::Udp, 4_000).is_some());
    assert!(sim.client().mapping(Protocol::Udp, 4_000).unwrap().is_kept);
    sim.run_for(Duration::from_secs(20_000));
    let now = sim.now();
    assert!(sim.gateway().lease(now, Protocol::Udp, 4_000).is_some());
}

#[test]
fn a_full_table_is_an_error_of_the_caller_and_changes_nothing() {
    let requests: Vec<MapRequest> = (0..8).map(|index| MapRequest::new(Protocol::Tcp, 5_000 + index)).collect();
    let mut sim = keeping(Faults::default(), &requests);
    let full = Err(MapError::TableFull { capacity: 8 });
    assert_eq!(sim.command(|client, now| client.keep(now, &UDP)), full);
    assert_eq!(sim.command(|client, now| client.unmap(now, Protocol::Udp, 4_000)), full);
    assert_eq!(sim.command(|client, now| client.map(now, &UDP.lifetime(0))), Err(MapError::ZeroLifetime));
    assert_eq!(sim.sent(), []);
    unmap(&mut sim, &requests[3]);
    assert_eq!(sim.command(|client, now| client.keep(now, &UDP)), Ok(()));
}
