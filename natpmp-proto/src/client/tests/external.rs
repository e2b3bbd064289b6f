//! The external address, on demand and watched.

use super::*;

fn reported(rig: &mut Rig) -> Option<Result<Ipv4Addr, RequestError>> {
    match rig.event() {
        None => None,
        Some(Event::ExternalAddress(result)) => Some(result),
        Some(event) => panic!("{event:?}"),
    }
}

fn watching() -> Rig {
    let mut rig = Rig::new();
    rig.client.watch_external_address(Instant::ZERO, true);
    rig.answers_address(ADDRESS);
    assert_eq!(reported(&mut rig), Some(Ok(ADDRESS)));
    rig
}

#[test]
fn the_address_is_asked_for_once_and_told_each_time_it_is_asked_for() {
    let mut rig = Rig::new();
    for at in [0, 10, 1_000_000] {
        rig.at(at);
        let now = rig.now();
        rig.client.request_external_address(now);
        rig.answers_address(ADDRESS);
        assert_eq!(rig.client.external_address(), Some(ADDRESS));
        assert_eq!(reported(&mut rig), Some(Ok(ADDRESS)));
        rig.is_quiet();
        assert_eq!(rig.client.poll_timeout(), None);
    }
}

/// C08: an address of 0.0.0.0 is an answer, and flagged by its kind; a refusal is none.
#[test]
fn a_refusal_is_told_and_takes_the_address_away() {
    let mut rig = Rig::new();
    rig.client.request_external_address(Instant::ZERO);
    rig.answers_address(ADDRESS);
    assert_eq!(reported(&mut rig), Some(Ok(ADDRESS)));
    rig.client.request_external_address(Instant::ZERO);
    assert_eq!(rig.request(), Request::ExternalAddress);
    let bytes = [0, 128, 0, 3, 0, 0, 3, 232, 9, 9, 9, 9];
    assert_eq!(rig.client.handle_datagram(Instant::ZERO, GATEWAY, &bytes), Ok(Received::Answer));
    assert_eq!(reported(&mut rig), Some(Err(RequestError::Refused(Refusal::NetworkFailure))));
    assert_eq!(rig.client.external_address(), None);
    rig.client.request_external_address(Instant::ZERO);
    rig.answers_address(Ipv4Addr::UNSPECIFIED);
    assert_eq!(reported(&mut rig), Some(Ok(Ipv4Addr::UNSPECIFIED)));
}

#[test]
fn silence_is_told_once_and_a_question_is_not_repeated_by_itself() {
    let mut rig = Rig::new();
    rig.client.request_external_address(Instant::ZERO);
    let (sends, events) = rig.silence_until(10_000_000);
    assert_eq!(sends.len(), 9);
    assert_eq!(events, [(127_750, Event::ExternalAddress(Err(RequestError::NoAnswer)))]);
    assert_eq!(rig.client.poll_timeout(), None);
}

#[test]
fn a_watched_address_is_asked_for_now_and_at_the_interval_and_told_when_it_changes() {
    let mut rig = watching();
    assert_eq!(rig.client.poll_timeout(), Some(secs(300)));
    rig.at(299_999).is_quiet();
    rig.at(300_000).answers_address(ADDRESS);
    assert_eq!(reported(&mut rig), None);
    let other = Ipv4Addr::new(11, 22, 33, 45);
    rig.at(600_000).answers_address(other);
    assert_eq!(reported(&mut rig), Some(Ok(other)));
    // What goes wrong is told once, and so is the return.
    for at in [900_000, 1_200_000] {
        rig.at(at).refuses(Refusal::NetworkFailure);
    }
    assert_eq!(reported(&mut rig), Some(Err(RequestError::Refused(Refusal::NetworkFailure))));
    rig.at(1_500_000).refuses(Refusal::NetworkFailure);
    assert_eq!(reported(&mut rig), None);
    rig.at(1_800_000).answers_address(other);
    assert_eq!(reported(&mut rig), Some(Ok(other)));
    rig.is_quiet();
}

#[test]
fn the_interval_is_the_callers_and_at_least_one_second() {
    for (wanted, milliseconds) in
        [(60_000, 60_000), (0, 1000), (999, 1000), (1500, 1500), ((1 << 32) + 5, u32::MAX.into())]
    {
        let config = Config::for_gateway(GATEWAY).external_address_interval(Duration::from_millis(wanted));
        let mut rig: Rig = Rig::with(config);
        rig.client.watch_external_address(Instant::ZERO, true);
        rig.answers_address(ADDRESS);
        let expected = Some(Instant::from_millis(milliseconds));
        assert_eq!(rig.client.poll_timeout(), expected, "an interval of {wanted} ms");
    }
    let config = Config::for_gateway(GATEWAY).external_address_interval(Duration::MAX);
    let mut rig: Rig = Rig::with(config);
    rig.client.watch_external_address(Instant::ZERO, true);
    rig.answers_address(ADDRESS);
    assert!(rig.client.poll_timeout().is_some_and(|at| at > secs(49 * 86_400)));
}

#[test]
fn an_address_that_is_not_watched_any_more_is_not_asked_for() {
    let mut rig = watching();
    rig.client.watch_external_address(Instant::ZERO, false);
    assert_eq!(rig.client.poll_timeout(), None);
    rig.at(1_000_000).is_quiet();
    assert_eq!(rig.client.external_address(), Some(ADDRESS));
}

#[test]
fn watching_again_tells_the_address_again() {
    let mut rig = watching();
    rig.client.watch_external_address(Instant::ZERO, true);
    rig.answers_address(ADDRESS);
    assert_eq!(reported(&mut rig), Some(Ok(ADDRESS)));
}

#[test]
fn a_watched_address_is_asked_for_after_silence_until_it_is_told() {
    let mut rig: Rig = Rig::with(Config::for_gateway(GATEWAY).schedule(Schedule::QUICK));
    rig.client.watch_external_address(Instant::ZERO, true);
    let (_, events) = rig.silence_until(60_000);
    assert_eq!(events, [(7750, Event::ExternalAddress(Err(RequestError::NoAnswer)))], "told once");
    let (sends, _) = rig.silence_until(300_000);
    assert!(!sends.is_empty(), "and pursued");
    let due = rig.client.poll_timeout().unwrap();
    rig.at(due.as_micros().div_ceil(1000)).answers_address(ADDRESS);
    assert_eq!(reported(&mut rig), Some(Ok(ADDRESS)));
}

/// The answer that a caller waits for is told, whatever else is commanded before it is polled.
#[test]
fn an_answer_that_was_asked_for_is_not_lost_when_watching_ends() {
    let mut rig = Rig::new();
    rig.client.request_external_address(Instant::ZERO);
    rig.answers_address(ADDRESS);
    rig.client.watch_external_address(Instant::ZERO, false);
    assert_eq!(reported(&mut rig), Some(Ok(ADDRESS)));
}

#[test]
fn the_address_goes_before_mappings_of_the_same_moment_and_after_deletions() {
    let mut rig = Rig::keeping(UDP, 1);
    rig.at(1000).keep(MapRequest::new(UDP, 2));
    let now = rig.now();
    rig.client.request_external_address(now);
    rig.unmap(UDP, 1);
    rig.client.unmap_all(now, TCP);
    rig.grants(TCP, 0, 0, 0);
    rig.grants(UDP, 1, 0, 0);
    rig.answers_address(ADDRESS);
    rig.grants(UDP, 2, 2, 7200);
}

/// Nobody waits for it, and a gateway that grants mappings without telling its address is not pestered for it.
#[test]
fn a_watched_address_that_is_not_told_is_asked_for_a_minute_later_if_a_mapping_is_open() {
    for (is_open, earliest) in [(true, 61_500), (false, 1_500)] {
        let rig = || {
            let mut rig = if is_open { Rig::keeping(UDP, 4000) } else { Rig::new() };
            rig.client.watch_external_address(Instant::ZERO, true);
            rig
        };
        let asked_again = |rig: &mut Rig, after: u64| {
            assert_eq!(rig.silence_until(after + earliest - 1), (Vec::new(), Vec::new()));
            assert_eq!(
                rig.silence_until(after + earliest + 500).0.first().map(|sent| sent.1),
                Some(Request::ExternalAddress)
            );
        };
        let mut silent = rig();
        assert_eq!(silent.silence_until(7_750).1, [(7_750, Event::ExternalAddress(Err(RequestError::NoAnswer)))]);
        asked_again(&mut silent, 7_750);
        let mut down = rig();
        assert_eq!(down.request(), Request::ExternalAddress);
        down.client.handle_network_down(Instant::ZERO);
        assert_eq!(reported(&mut down), Some(Err(RequestError::NetworkDown)));
        asked_again(&mut down, 0);
    }
}

#[test]
fn a_watched_address_shares_the_verdict_on_the_gateway_if_it_was_due() {
    for (at, expected) in [(299_999, None), (300_000, Some(Err(RequestError::PortUnreachable)))] {
        let mut rig = watching();
        rig.at(299_900).keep(MapRequest::new(UDP, 4000));
        assert!(rig.sent().is_some());
        rig.at(at).client.handle_unreachable(Instant::from_millis(at));
        assert!(matches!(rig.event(), Some(Event::Failed { .. })));
        assert_eq!(reported(&mut rig), expected, "at {at} ms");
    }
}
