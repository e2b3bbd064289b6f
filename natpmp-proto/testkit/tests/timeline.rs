//! The exact moments at which the client sends, and the silence between them.

use std::time::Duration;

use natpmp_proto::client::{MappingState, RequestError};
use natpmp_proto::wire::Request;
use natpmp_proto::{Backoff, Event, Instant, MapRequest, Protocol, Schedule};
use natpmp_testkit::gateway::{Faults, Gateway, Grant, Reach};
use natpmp_testkit::net::{Link, Sim};

const UDP: MapRequest = MapRequest::new(Protocol::Udp, 4_000);

fn silent() -> Gateway {
    Gateway::with(Faults { reach: Reach::Silent, ..Faults::default() })
}

/// When a question is sent at a gateway that is silent, and when it is given up, in milliseconds.
fn question_in_silence(schedule: Schedule) -> (Vec<u64>, u64) {
    let mut sim: Sim = Sim::with_rules(silent(), |rules| rules.schedule(schedule), 1);
    let start = sim.now();
    sim.command(|client, now| client.request_external_address(now));
    sim.run_for(Duration::from_secs(400 * 86_400));
    assert_eq!(sim.events(), [Event::ExternalAddress(Err(RequestError::NoAnswer))]);
    assert_eq!(sim.client().poll_timeout(), None);
    let given_up = sim.timed_events()[0].at.saturating_since(start).as_millis();
    (sim.send_times(start), u64::try_from(given_up).unwrap())
}

/// C03
#[test]
fn an_unanswered_request_is_sent_nine_times_in_the_rfcs_rhythm_and_then_never_again() {
    let times = vec![0, 250, 750, 1_750, 3_750, 7_750, 15_750, 31_750, 63_750];
    assert_eq!(question_in_silence(Schedule::RFC), (times, 127_750));
}

/// C03
#[test]
fn the_quick_schedule_gives_up_after_five_sends() {
    assert_eq!(question_in_silence(Schedule::QUICK), (vec![0, 250, 750, 1_750, 3_750], 7_750));
}

/// C03
#[test]
fn a_schedule_of_ones_own_is_kept_to_the_millisecond() {
    let schedule =
        Schedule::custom(Duration::from_millis(100), Duration::from_millis(300), Duration::from_millis(1_250));
    assert_eq!(question_in_silence(schedule), (vec![0, 100, 300, 600, 900], 1_250));
    assert_eq!(question_in_silence(Schedule::within(Duration::from_millis(1))), (vec![0], 1));
}

/// C03, C07, C10, C16
#[test]
fn neither_foreign_nor_bad_nor_unwanted_datagrams_move_a_send() {
    let mut sim = Sim::new(silent());
    let start = sim.now();
    sim.command(|client, now| client.map(now, &UDP)).unwrap();
    let foreign = "192.168.1.66:5351".parse().unwrap();
    let answer = [0, 129, 0, 0, 0, 0, 4, 0, 0x0f, 0xa0, 0x0f, 0xa0, 0, 0, 0x1c, 0x20];
    let other_port = [0, 129, 0, 0, 0, 0, 4, 0, 0x0f, 0xa1, 0x0f, 0xa1, 0, 0, 0x1c, 0x20];
    let other_protocol = [0, 130, 0, 0, 0, 0, 4, 0, 0x0f, 0xa0, 0x0f, 0xa0, 0, 0, 0x1c, 0x20];
    let deletion = [0, 129, 0, 0, 0, 0, 4, 0, 0x0f, 0xa0, 0, 0, 0, 0, 0, 0];
    for _ in 0..1_270 {
        sim.run_for(Duration::from_millis(100));
        sim.inject(foreign, &answer);
        sim.inject_announcement(foreign, &Gateway::PCP_ANNOUNCE);
        sim.inject_announcement(Sim::<8>::GATEWAY, &answer);
        for length in [0, 1, 2, 3, 8, 15] {
            sim.inject(Sim::<8>::GATEWAY, &answer[..length]);
        }
        sim.inject(Sim::<8>::GATEWAY, &other_port);
        sim.inject(Sim::<8>::GATEWAY, &other_protocol);
        sim.inject(Sim::<8>::GATEWAY, &[1; 24]);
    }
    sim.inject(Sim::<8>::GATEWAY, &deletion);
    sim.run_for(Duration::from_secs(600));
    assert_eq!(sim.send_times(start), [0, 250, 750, 1_750, 3_750, 7_750, 15_750, 31_750, 63_750]);
    assert_eq!(sim.timed_events().len(), 1);
    assert_eq!(sim.timed_events()[0].at, start + Schedule::RFC.total());
}

/// C12
#[test]
fn a_kept_mapping_is_asked_for_once_at_half_of_each_lease_and_at_no_other_time() {
    for (granted, half) in [(7_200, 3_600_000), (60, 30_000), (3, 1_500), (1, 500)] {
        let mut sim = Sim::new(Gateway::with(Faults { grant: Grant::AtMost(granted), ..Faults::default() }));
        let start = sim.now();
        sim.command(|client, now| client.keep(now, &UDP)).unwrap();
        sim.run_for(Duration::from_millis(half * 10));
        let expected: Vec<u64> = (0..=10).map(|index| index * half).collect();
        assert_eq!(sim.send_times(start), expected);
        let [Event::Mapped(mapped), renewed @ ..] = &sim.events()[..] else { panic!("{:?}", sim.events()) };
        assert!(renewed.iter().all(|event| *event == Event::Renewed(*mapped)));
    }
}

/// C12
#[test]
fn an_interval_of_ones_own_replaces_half_of_the_lease_unless_the_lease_is_shorter() {
    for (interval, granted, expected) in [(45, 7_200, 45_000), (45, 60, 45_000), (60, 60, 30_000), (600, 60, 30_000)] {
        let mut sim = Sim::new(Gateway::with(Faults { grant: Grant::AtMost(granted), ..Faults::default() }));
        let start = sim.now();
        sim.command(|client, now| client.keep(now, &UDP.refresh_interval(interval))).unwrap();
        sim.run_for(Duration::from_millis(expected * 2));
        assert_eq!(sim.send_times(start), [0, expected, expected * 2]);
    }
}

#[test]
fn a_mapping_held_once_is_never_renewed_and_its_end_is_told_to_the_second() {
    let mut sim = Sim::new(Gateway::new());
    let start = sim.now();
    sim.command(|client, now| client.map(now, &UDP)).unwrap();
    sim.run_for(Duration::from_secs(86_400));
    assert_eq!(sim.send_times(start), [0]);
    assert_eq!(sim.timed_events().len(), 2);
    assert_eq!(sim.timed_events()[1].at, start + Duration::from_secs(7_200));
    assert_eq!(sim.client().poll_timeout(), None);
    assert_eq!(sim.client().mappings().count(), 0);
}

/// C25
#[test]
fn refusals_are_met_by_a_growing_pause_with_a_ceiling_and_a_random_part() {
    let backoff = Backoff::new(Duration::from_secs(2), Duration::from_secs(64));
    let mut first_pauses = Vec::new();
    for seed in 0..20 {
        let gateway = Gateway::with(Faults { refuse_map: Some(2), ..Faults::default() });
        let mut sim: Sim = Sim::with_rules(gateway, |rules| rules.backoff(backoff), seed);
        sim.command(|client, now| client.keep(now, &UDP)).unwrap();
        sim.run_for(Duration::from_secs(3_600));
        let pauses: Vec<Duration> = gaps(&sim);
        assert!(pauses.len() > 50, "tried for ever: {}", pauses.len());
        for (failures, pause) in pauses.iter().enumerate() {
            let full = [2, 4, 8, 16, 32].get(failures).copied().unwrap_or(64);
            let full = Duration::from_secs(full);
            assert!((full * 3 / 4..=full).contains(pause), "pause {failures} of {pause:?}");
        }
        assert!(pauses[8..].windows(2).any(|pair| pair[0] != pair[1]), "no random part");
        first_pauses.push(pauses[0]);
    }
    first_pauses.sort_unstable();
    first_pauses.dedup();
    assert!(first_pauses.len() > 10, "clients that failed together return together");
}

/// C25
#[test]
fn port_unreachable_and_silence_are_met_by_the_same_growing_pause() {
    for (reach, spent) in [(Reach::Closed, Duration::ZERO), (Reach::Silent, Duration::from_millis(7_750))] {
        let gateway = Gateway::with(Faults { reach, ..Faults::default() });
        let mut sim: Sim = Sim::with_rules(gateway, |rules| rules.schedule(Schedule::QUICK), 3);
        sim.command(|client, now| client.keep(now, &UDP)).unwrap();
        sim.run_for(Duration::from_secs(3_600));
        let attempts: Vec<Instant> = sim.sent().iter().filter(|sent| sent.resends == 0).map(|sent| sent.at).collect();
        assert!(attempts.len() > 40);
        for (failures, pair) in attempts.windows(2).enumerate() {
            let full = Duration::from_secs([2, 4, 8, 16, 32].get(failures).copied().unwrap_or(64));
            let pause = pair[1].saturating_since(pair[0]) - spent;
            assert!((full * 3 / 4..=full).contains(&pause), "pause {failures} of {pause:?}");
        }
    }
}

/// C25
#[test]
fn a_pause_is_forgotten_once_an_answer_comes() {
    let mut sim = Sim::new(Gateway::with(Faults { refuse_map: Some(4), ..Faults::default() }));
    sim.command(|client, now| client.keep(now, &UDP)).unwrap();
    sim.run_for(Duration::from_secs(1_000));
    sim.gateway().faults.refuse_map = None;
    sim.run_for(Duration::from_secs(64));
    assert!(matches!(sim.events().last(), Some(Event::Mapped(_))));
    sim.gateway().faults.refuse_map = Some(4);
    sim.forget();
    sim.run_for(Duration::from_secs(3_610));
    let pauses = gaps(&sim);
    assert!(pauses[0] <= Duration::from_secs(2), "{pauses:?}");
}

/// C25
#[test]
fn the_pauses_after_silence_begin_anew_once_the_gateway_has_answered() {
    let mut sim = Sim::new(Gateway::with(Faults { reach: Reach::Closed, ..Faults::default() }));
    sim.command(|client, now| client.keep(now, &UDP)).unwrap();
    sim.run_for(Duration::from_secs(600));
    sim.gateway().faults.reach = Reach::Open;
    sim.run_for(Duration::from_secs(64));
    assert!(matches!(sim.events().last(), Some(Event::Mapped(_))));
    sim.gateway().faults.reach = Reach::Closed;
    sim.forget();
    sim.run_for(Duration::from_secs(3_700));
    let pauses = gaps(&sim);
    assert!(pauses[0] <= Duration::from_secs(2), "{pauses:?}");
    assert!(pauses[1] > Duration::from_secs(2), "{pauses:?}");
}

/// C12
#[test]
fn a_refused_renewal_is_tried_at_ever_later_points_of_what_is_left_until_the_lease_ends() {
    let mut sim = Sim::new(Gateway::with(Faults { grant: Grant::AtMost(60), ..Faults::default() }));
    sim.command(|client, now| client.keep(now, &UDP)).unwrap();
    let granted = sim.now();
    sim.forget();
    sim.gateway().faults.refuse_map = Some(4);
    sim.run_until(granted + Duration::from_millis(59_999));
    assert!(matches!(sim.client().mapping(Protocol::Udp, 4_000).unwrap().state, MappingState::Open { .. }));
    let expires = granted + Duration::from_secs(60);
    assert!(sim.sent().len() >= 4, "{:?}", sim.sent());
    for pair in sim.sent().windows(2) {
        let (gap, left) = (pair[1].at.saturating_since(pair[0].at), expires.saturating_since(pair[0].at));
        assert!(gap <= (left / 2).max(Duration::from_secs(2)), "{gap:?} with {left:?} left");
        assert!(gap >= Duration::from_millis(1_500), "{gap:?}");
    }
    sim.run_until(expires);
    assert!(matches!(sim.events().last(), Some(Event::Lost { external_port: 4_000, .. })));
}

/// C02
#[test]
fn requests_wait_for_one_another_and_go_out_as_each_is_answered() {
    let mut sim = Sim::new(Gateway::new());
    let delay = Duration::from_millis(20);
    sim.set_link(Link { shortest_delay: delay, longest_delay: delay, ..Link::perfect() });
    let start = sim.now();
    for port in 0..8 {
        sim.command(|client, now| client.keep(now, &MapRequest::new(Protocol::Tcp, 5_000 + port))).unwrap();
    }
    sim.command(|client, now| client.request_external_address(now));
    sim.run_for(Duration::from_secs(10));
    let expected: Vec<u64> = (0..9).map(|index| index * 40).collect();
    assert_eq!(sim.send_times(start), expected);
}

/// C02, C03
#[test]
fn all_that_waits_for_a_silent_gateway_shares_the_verdict_of_one_request() {
    let mut sim: Sim = Sim::with_rules(silent(), |rules| rules.schedule(Schedule::QUICK), 1);
    let start = sim.now();
    for port in 0..8 {
        sim.command(|client, now| client.keep(now, &MapRequest::new(Protocol::Tcp, 5_000 + port))).unwrap();
    }
    sim.run_for(Duration::from_millis(7_750));
    assert_eq!(sim.send_times(start), [0, 250, 750, 1_750, 3_750]);
    let failed = sim.events().iter().filter(|event| matches!(event, Event::Failed { .. })).count();
    assert_eq!(failed, 8);
    sim.gateway().faults.reach = Reach::Open;
    sim.forget();
    sim.run_for(Duration::from_secs(2));
    assert_eq!(sim.sent().len(), 8, "the first answer releases the rest");
}

/// C11
#[test]
fn requests_ask_for_two_hours_and_the_same_port_unless_told_otherwise() {
    let mut sim = Sim::new(Gateway::new());
    sim.command(|client, now| client.map(now, &UDP)).unwrap();
    sim.command(|client, now| client.map(now, &MapRequest::new(Protocol::Tcp, 80).external_port(0).lifetime(u32::MAX)))
        .unwrap();
    let map = |protocol, internal_port, suggested_external_port, lifetime| Request::Map {
        protocol,
        internal_port,
        suggested_external_port,
        lifetime,
    };
    let expected = [map(Protocol::Udp, 4_000, 4_000, 7_200), map(Protocol::Tcp, 80, 0, MapRequest::LONGEST_LIFETIME)];
    assert_eq!(sim.sent().iter().map(|sent| sent.request).collect::<Vec<_>>(), expected);
}

#[test]
fn a_watched_external_address_is_asked_for_at_its_interval_and_told_when_it_changes() {
    let mut sim: Sim =
        Sim::with_rules(Gateway::new(), |rules| rules.external_address_interval(Duration::from_secs(100)), 1);
    let start = sim.now();
    sim.command(|client, now| client.watch_external_address(now, true));
    sim.run_for(Duration::from_secs(350));
    sim.with_gateway(|gateway, now| gateway.change_address(now, Some([11, 0, 0, 1].into())));
    sim.run_for(Duration::from_secs(350));
    assert_eq!(sim.send_times(start), [0, 100_000, 200_000, 300_000, 400_000, 500_000, 600_000, 700_000]);
    let expected = [Event::ExternalAddress(Ok(Gateway::EXTERNAL)), Event::ExternalAddress(Ok([11, 0, 0, 1].into()))];
    assert_eq!(sim.events(), expected);
    sim.command(|client, now| client.watch_external_address(now, false));
    assert_eq!(sim.client().poll_timeout(), None);
}

fn gaps(sim: &Sim) -> Vec<Duration> {
    sim.sent().windows(2).map(|pair| pair[1].at.saturating_since(pair[0].at)).collect()
}
