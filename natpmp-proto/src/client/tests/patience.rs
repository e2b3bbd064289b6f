//! Silence, errors of the network, long waits, and sleep.

use super::*;
use crate::retry::Backoff;

const RFC_SENDS: [u64; 9] = [0, 250, 750, 1750, 3750, 7750, 15_750, 31_750, 63_750];

/// C03.
#[test]
fn an_unanswered_request_is_sent_by_the_schedule_and_given_up_at_its_end() {
    let mut rig = Rig::new();
    rig.map(MapRequest::new(UDP, 4000));
    let (sends, events) = rig.silence_until(10_000_000);
    assert_eq!(sends, RFC_SENDS.map(|at| (at, asks(UDP, 4000, 4000, 7200))));
    assert_eq!(events, [(127_750, ended(UDP, 4000, 0, Ending::NotMapped(RequestError::NoAnswer)).unwrap())]);
    assert!(RequestError::NoAnswer.is_unsupported());
}

#[test]
fn each_send_says_how_often_the_request_was_sent_before() {
    let mut rig = Rig::new();
    rig.keep(MapRequest::new(UDP, 4000));
    for (resends, at) in (0..).zip(RFC_SENDS) {
        assert_eq!(rig.at(at).sent(), Some((asks(UDP, 4000, 4000, 7200), resends)));
    }
}

#[test]
fn another_schedule_is_kept_to_as_well() {
    let mut rig: Rig = Rig::with(Config::for_gateway(GATEWAY).schedule(Schedule::QUICK));
    rig.map(MapRequest::new(UDP, 4000));
    let (sends, events) = rig.silence_until(10_000_000);
    let at: Vec<_> = sends.iter().map(|&(at, _)| at).collect();
    assert_eq!(at, RFC_SENDS[..5]);
    assert!(matches!(events[..], [(7750, Event::Ended { ending: Ending::NotMapped(RequestError::NoAnswer), .. })]));
}

/// A poll between the deadlines sends nothing and moves none of them.
#[test]
fn polling_at_any_other_moment_does_nothing() {
    let mut rig = Rig::new();
    rig.keep(MapRequest::new(UDP, 4000));
    assert!(rig.sent().is_some());
    for at in (0..=249).chain(251..=749).chain(751..1000) {
        if at == 251 || at == 751 {
            assert!(rig.at(at - 1).sent().is_some());
        }
        rig.at(at).is_quiet();
    }
}

/// C25: the pause after silence grows, is shared, and never ends the trying.
#[test]
fn a_gateway_that_stays_silent_is_tried_again_for_ever_with_a_growing_pause() {
    let backoff = Backoff::new(Duration::from_secs(2), Duration::from_secs(64));
    let config = Config::for_gateway(GATEWAY).schedule(Schedule::QUICK).backoff(backoff);
    let mut rig: Rig = Rig::with(config);
    rig.keep(MapRequest::new(UDP, 4000));
    let mut gave_up = Vec::new();
    for round in 0..12 {
        let (sends, events) = rig.silence_until(rig.now + 7750);
        assert_eq!(sends.len(), 5, "round {round}");
        let [(at, Event::Failed { error: RequestError::NoAnswer, retry_at: Some(retry_at), .. })] = events[..] else {
            panic!("round {round}: {events:?}")
        };
        gave_up.push(retry_at.saturating_since(Instant::from_millis(at)).as_millis());
        rig.is_quiet();
        rig.at(retry_at.as_micros().div_ceil(1000));
    }
    for (pause, full) in gave_up.into_iter().zip([2000, 4000, 8000, 16_000, 32_000, 64_000, 64_000, 64_000]) {
        assert!((full * 3 / 4..=full).contains(&pause), "{pause} ms where {full} ms less a quarter is due");
    }
    rig.grants(UDP, 4000, 4000, 7200);
    assert_eq!(rig.event(), Some(Event::Mapped(mapping(UDP, 4000, 4000, 7200))));
}

/// C04, C20.
#[test]
fn port_unreachable_ends_the_request_at_once() {
    let mut rig = Rig::new();
    rig.map(MapRequest::new(UDP, 4000));
    assert!(rig.sent().is_some());
    rig.client.handle_unreachable(Instant::ZERO);
    assert_eq!(rig.event(), ended(UDP, 4000, 0, Ending::NotMapped(RequestError::PortUnreachable)));
    rig.is_quiet();
    assert_eq!(rig.client.poll_timeout(), None);
    assert!(RequestError::PortUnreachable.is_unsupported());
}

#[test]
fn a_network_that_is_down_ends_the_request_and_is_no_verdict_on_the_gateway() {
    let mut rig = Rig::new();
    rig.keep(MapRequest::new(UDP, 4000));
    assert!(rig.sent().is_some());
    rig.client.handle_network_down(Instant::ZERO);
    let Some(Event::Failed { error: RequestError::NetworkDown, retry_at: Some(at), .. }) = rig.event() else {
        panic!("it is told")
    };
    assert!(!RequestError::NetworkDown.is_unsupported());
    assert_eq!(rig.client.poll_timeout(), Some(at));
    assert!((1500..=2000).contains(&at.saturating_since(Instant::ZERO).as_millis()));
}

/// The error of an earlier send may come late; with nothing in flight there is nothing to end.
#[test]
fn errors_of_the_network_with_nothing_in_flight_change_nothing() {
    let mut rig = Rig::keeping(UDP, 4000);
    let before = rig.client.poll_timeout();
    rig.client.handle_unreachable(Instant::ZERO);
    rig.client.handle_network_down(Instant::ZERO);
    rig.is_quiet();
    assert_eq!(rig.client.poll_timeout(), before);
    assert_eq!(rig.client.mapping(UDP, 4000).unwrap().last_error, None);

    let mut rig = Rig::new();
    rig.keep(MapRequest::new(UDP, 4000));
    rig.client.handle_unreachable(Instant::ZERO);
    assert_eq!(rig.event(), None);
    assert_eq!(rig.request(), asks(UDP, 4000, 4000, 7200));
}

/// All that waits for the gateway shares the verdict; what is not due does not.
#[test]
fn silence_is_the_answer_to_all_that_waits() {
    let mut rig = Rig::keeping(UDP, 1);
    rig.at(1000).keep(MapRequest::new(UDP, 2));
    rig.map(MapRequest::new(UDP, 3));
    rig.unmap(TCP, 4);
    let now = rig.now();
    rig.client.request_external_address(now);
    rig.client.unmap_all(now, TCP);
    assert!(rig.sent().is_some());
    rig.client.handle_unreachable(now);
    let error = RequestError::PortUnreachable;
    let mut events: Vec<_> = core::iter::from_fn(|| rig.event()).collect();
    let mut takes = |is_it: &dyn Fn(&Event) -> bool| {
        let index = events.iter().position(is_it);
        index.map(|index| events.remove(index)).is_some()
    };
    assert!(takes(&|event| matches!(event, Event::Failed { internal_port: 2, retry_at: Some(_), .. })));
    assert!(takes(&|event| Some(*event) == ended(UDP, 3, 0, Ending::NotMapped(error))));
    assert!(takes(&|event| Some(*event) == ended(TCP, 4, 0, Ending::NotUnmapped(error))));
    assert!(takes(&|event| *event == Event::UnmappedAll { protocol: TCP, result: Err(error) }));
    assert!(takes(&|event| *event == Event::ExternalAddress(Err(error))));
    assert_eq!(events, []);
    assert!(matches!(rig.state(UDP, 1), MappingState::Open { .. }));
    // One question after the pause, and its answer releases the rest.
    let MappingState::Closed { next_attempt } = rig.state(UDP, 2) else { panic!("it is kept") };
    rig.at(next_attempt.as_micros().div_ceil(1000)).grants(UDP, 2, 2, 7200);
}

/// A command ends a pause: the caller wants something now.
#[test]
fn a_command_ends_the_pause_after_silence() {
    let mut rig = Rig::new();
    rig.keep(MapRequest::new(UDP, 4000));
    assert!(rig.sent().is_some());
    rig.client.handle_unreachable(Instant::ZERO);
    assert!(matches!(rig.event(), Some(Event::Failed { .. })));
    rig.at(100).is_quiet();
    rig.client.request_external_address(Instant::from_millis(100));
    assert!(rig.sent().is_some());
}

/// A command during a long wait brings the next send forward to the first wait after the last send, and no nearer.
#[test]
fn a_command_during_a_long_wait_brings_the_next_send_forward() {
    // The sixth send was at 7750 ms; the seventh is due at 15,750 ms.
    for (command, send) in [(7751, 8000), (7999, 8000), (8000, 8000), (8001, 8001), (15_000, 15_000), (15_749, 15_749)]
    {
        let mut rig = Rig::new();
        rig.keep(MapRequest::new(UDP, 4000));
        assert_eq!(rig.silence_until(7750).0.len(), 6);
        rig.at(command).keep(MapRequest::new(UDP, 5000));
        assert_eq!(rig.client.poll_timeout(), Some(Instant::from_millis(send)), "a command at {command} ms");
        if command < send {
            rig.at(send - 1).is_quiet();
        }
        assert_eq!(rig.at(send).request(), asks(UDP, 4000, 4000, 7200));
        // From there on the schedule goes as from its beginning.
        assert_eq!(rig.client.poll_timeout(), Some(Instant::from_millis(send + 250)));
    }
}

#[test]
fn a_command_during_the_first_wait_changes_no_wait() {
    let mut rig = Rig::new();
    rig.keep(MapRequest::new(UDP, 4000));
    assert!(rig.sent().is_some());
    for at in [0, 1, 100, 249] {
        rig.at(at).refresh(UDP, 4000);
        assert_eq!(rig.client.poll_timeout(), Some(Instant::from_millis(250)));
        assert_eq!(rig.sent(), None);
    }
}

/// However many commands come: the gateway is not asked faster than once in the first wait of the schedule.
#[test]
fn a_flood_of_commands_sends_no_faster_than_the_first_wait() {
    let mut rig = Rig::new();
    rig.keep(MapRequest::new(UDP, 4000));
    let mut sends = Vec::new();
    for at in 0..5000 {
        rig.at(at).refresh(UDP, 4000);
        sends.extend(rig.sent().map(|_| at));
    }
    assert!(sends.windows(2).all(|pair| pair[1] - pair[0] >= 250), "{sends:?}");
}

/// The number that a send carries counts from where the schedule began, which a command may begin anew.
#[test]
fn a_send_brought_forward_is_the_first_of_a_new_schedule() {
    let mut rig = Rig::new();
    rig.keep(MapRequest::new(UDP, 4000));
    let (sends, _) = rig.silence_until(8000);
    assert_eq!(sends.len(), 6);
    rig.keep(MapRequest::new(UDP, 5000));
    assert_eq!(rig.sent(), Some((asks(UDP, 4000, 4000, 7200), 0)));
}

/// C27: nobody was there to hear, so that silence is no verdict, once.
#[test]
fn a_machine_that_slept_through_the_end_of_a_schedule_begins_it_anew_once() {
    let mut rig = Rig::new();
    rig.map(MapRequest::new(UDP, 4000));
    rig.silence_until(64_000);
    rig.at(3_600_000);
    assert_eq!(rig.event(), None);
    assert_eq!(rig.request(), asks(UDP, 4000, 4000, 7200));
    rig.at(7_200_000);
    let (sends, events) = rig.silence_until(20_000_000);
    let gaps: Vec<_> = sends.windows(2).map(|pair| pair[1].0 - pair[0].0).collect();
    assert_eq!(gaps, [500, 1000, 2000, 4000, 8000, 16_000, 32_000], "the second send was late, and no burst follows");
    assert!(matches!(events[..], [(_, Event::Ended { ending: Ending::NotMapped(RequestError::NoAnswer), .. })]));
}

/// A sleep and a hope may each begin the schedule anew once, in either order, so that a silent gateway is given up in the end.
#[test]
fn a_schedule_that_a_sleep_and_a_command_began_anew_is_begun_by_neither_again() {
    let sleep = |rig: &mut Rig, until| {
        let at = rig.now;
        rig.silence_until(at + 4_500);
        assert!(rig.at(until).sent().is_some_and(|(_, resends)| resends == 0), "it was sent for the last time before");
    };
    let hope = |rig: &mut Rig| {
        let at = rig.now;
        rig.silence_until(at + 2_000);
        rig.refresh(UDP, 4000);
        assert!(rig.silence_until(at + 2_100).0.len() == 1, "the next send would have been at 3.75 s");
    };
    for begins_with_a_sleep in [false, true] {
        let mut rig = Rig::with(Config::for_gateway(GATEWAY).schedule(Schedule::QUICK));
        rig.map(MapRequest::new(UDP, 4000));
        assert!(rig.sent().is_some());
        if begins_with_a_sleep {
            sleep(&mut rig, 100_000);
            hope(&mut rig);
        } else {
            hope(&mut rig);
            sleep(&mut rig, 100_000);
        }
        let at = rig.now;
        rig.silence_until(at + 2_000);
        let due = rig.client.poll_timeout();
        rig.refresh(UDP, 4000);
        assert_eq!(rig.client.poll_timeout(), due, "another command changes nothing");
        rig.silence_until(at + 4_500);
        rig.at(1_000_000);
        assert_eq!(
            rig.event(),
            ended(UDP, 4000, 0, Ending::NotMapped(RequestError::NoAnswer)),
            "nor does another sleep"
        );
    }
}

/// C27: everything overdue is renewed once, one after the other.
#[test]
fn a_machine_that_slept_over_its_leases_renews_each_once() {
    let mut rig = Rig::new();
    for port in [1, 2, 3] {
        rig.keep(MapRequest::new(UDP, port));
        rig.grants(UDP, port, port, 60);
        assert!(matches!(rig.event(), Some(Event::Mapped(_))));
    }
    rig.at(36_000_000);
    for port in [1, 2, 3] {
        rig.grants(UDP, port, port, 60);
    }
    assert_eq!(rig.sent(), None);
    let reported: Vec<_> = core::iter::from_fn(|| rig.event()).collect();
    assert_eq!(reported.len(), 3, "one event a mapping: {reported:?}");
    rig.is_quiet();
    assert_eq!(rig.client.poll_timeout(), Some(secs(36_030)));
}

/// `poll` lets time come, sends before it tells, and tells before it waits.
#[test]
fn poll_drains_in_its_documented_order() {
    let mut rig = Rig::new();
    rig.keep(MapRequest::new(UDP, 1));
    rig.keep(MapRequest::new(UDP, 2));
    rig.grants(UDP, 1, 1, 60);
    let Output::Transmit(transmit) = rig.client.poll(Instant::ZERO) else { panic!("the next request is due") };
    assert_eq!((transmit.to, transmit.resends()), (GATEWAY, 0));
    assert_eq!(Request::decode(&transmit.payload), Ok(asks(UDP, 2, 2, 7200)));
    assert_eq!(rig.client.poll(Instant::ZERO), Output::Event(Event::Mapped(mapping(UDP, 1, 1, 60))));
    assert_eq!(rig.client.poll(Instant::ZERO), Output::Wait(Some(Instant::from_millis(250))));
    assert_eq!(rig.client.poll_timeout(), Some(Instant::from_millis(250)));
}

/// C03: however often a caller hopes anew, a silent gateway is given up, at twice the schedule's patience at the latest.
#[test]
fn commands_without_end_do_not_put_off_the_verdict_on_a_silent_gateway() {
    let command = [
        |rig: &mut Rig| assert!(rig.client.refresh(rig.now(), UDP, 4000)),
        |rig: &mut Rig| rig.client.request_external_address(rig.now()),
        |rig: &mut Rig| rig.client.network_changed(rig.now()),
    ];
    for (number, command) in command.into_iter().enumerate() {
        let mut rig = Rig::new();
        rig.keep(MapRequest::new(UDP, 4000));
        let mut gave_up = None;
        for at in (0..300_000).step_by(250) {
            rig.at(at);
            while rig.sent().is_some() {}
            if let Some(Event::Failed { error: RequestError::NoAnswer, .. }) = rig.event() {
                gave_up = gave_up.or(Some(at));
            }
            if at % 1_000 == 0 {
                command(&mut rig);
            }
        }
        let gave_up = gave_up.unwrap_or_else(|| panic!("command {number}: never given up"));
        assert!(gave_up <= 2 * 127_750, "command {number}: given up after {gave_up} ms");
    }
}

/// C27: a little late is not asleep.
#[test]
fn the_end_of_a_schedule_met_ten_seconds_late_was_slept_through_and_a_moment_earlier_it_was_not() {
    for (late, is_given_up) in [(0, true), (9_999, true), (10_000, false)] {
        let mut rig = Rig::new();
        rig.map(MapRequest::new(UDP, 4000));
        rig.silence_until(127_749);
        rig.at(127_750 + late);
        assert_eq!(rig.event().is_some(), is_given_up, "{late} ms late");
        assert_eq!(rig.sent().is_none(), is_given_up, "{late} ms late");
    }
}

#[test]
fn a_command_at_the_very_moment_of_the_next_send_leaves_the_schedule_as_it_is() {
    let mut rig = Rig::new();
    rig.keep(MapRequest::new(UDP, 4000));
    rig.silence_until(749);
    assert!(rig.at(750).refresh(UDP, 4000));
    assert_eq!(rig.sent(), Some((asks(UDP, 4000, 4000, 7200), 2)));
    assert_eq!(rig.client.poll_timeout(), Some(Instant::from_millis(1750)));
}

/// A gateway may be silent about one mapping only.
#[test]
fn what_found_no_answer_goes_behind_all_that_waited_for_it() {
    let mut rig: Rig = Rig::with(Config::for_gateway(GATEWAY).schedule(Schedule::QUICK));
    for port in [1, 2, 3] {
        rig.keep(MapRequest::new(UDP, port));
    }
    let (sends, events) = rig.silence_until(7750);
    assert!(sends.iter().all(|(_, request)| is_for(request, UDP, 1)), "{sends:?}");
    assert_eq!(events.len(), 3);
    let due = rig.client.poll_timeout().unwrap();
    rig.at(due.as_micros().div_ceil(1000));
    for port in [2, 3, 1] {
        rig.grants(UDP, port, port, 7200);
    }
}

/// What the network refused to send has not reached the gateway, if it was the first send; silence says nothing of that.
#[test]
fn a_mapping_is_deleted_unless_its_only_request_did_not_reach_the_gateway() {
    let unmap = |rig: &mut Rig| {
        assert!(matches!(rig.event(), Some(Event::Failed { .. })));
        rig.unmap(UDP, 4000);
        rig.sent().is_some()
    };
    for (sends, is_deleted) in [(1, false), (2, true)] {
        let mut rig = Rig::new();
        rig.keep(MapRequest::new(UDP, 4000));
        for at in &RFC_SENDS[..sends] {
            assert!(rig.at(*at).sent().is_some());
        }
        let now = rig.now();
        rig.client.handle_network_down(now);
        assert_eq!(unmap(&mut rig), is_deleted, "after {sends} sends");
    }
    let config = Config::for_gateway(GATEWAY).schedule(Schedule::within(Duration::from_millis(10)));
    let mut rig: Rig = Rig::with(config);
    rig.keep(MapRequest::new(UDP, 4000));
    assert!(rig.sent().is_some());
    assert!(unmap(rig.at(10)), "after silence");
}
