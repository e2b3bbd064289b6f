//! Another gateway, another network, and a gateway that lost its state.

use super::*;

const OTHER: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 2, 0, 1), 5351);

/// C05.
#[test]
fn network_changed_renews_what_is_kept_and_nothing_else() {
    let mut rig = Rig::keeping(UDP, 4000);
    rig.map(MapRequest::new(UDP, 5000));
    rig.grants(UDP, 5000, 5000, 7200);
    assert!(matches!(rig.event(), Some(Event::Mapped(_))));
    rig.at(1000);
    let now = rig.now();
    rig.client.network_changed(now);
    assert_eq!(rig.event(), None, "it is open until the gateway says otherwise");
    rig.grants(UDP, 4000, 4000, 7200);
    assert_eq!(rig.event(), Some(Event::Renewed(mapping(UDP, 4000, 4000, 7200))));
    rig.is_quiet();
}

/// C05: silence and epoch are forgotten.
#[test]
fn network_changed_ends_every_pause_and_forgets_the_epoch() {
    let mut rig = Rig::keeping(UDP, 4000);
    rig.at(3_600_000);
    assert!(rig.sent().is_some());
    let now = rig.now();
    rig.client.handle_unreachable(now);
    assert!(matches!(rig.event(), Some(Event::Failed { .. })));
    assert_eq!(rig.sent(), None);
    rig.client.network_changed(now);
    assert!(rig.sent().is_some());
    // An epoch that would have been a loss is the first one heard here.
    assert_eq!(rig.receives(mapped(1, UDP, 4000, 4000, 7200)), Ok(Received::Answer));
    assert_eq!(rig.event(), Some(Event::Renewed(mapping(UDP, 4000, 4000, 7200))));
    rig.is_quiet();
}

#[test]
fn network_changed_sends_the_request_in_flight_at_once_and_by_a_new_schedule() {
    let mut rig = Rig::new();
    rig.map(MapRequest::new(UDP, 4000));
    rig.silence_until(100_000);
    let now = rig.now();
    rig.client.network_changed(now);
    let (sends, events) = rig.silence_until(1_000_000);
    let at: Vec<_> = sends.iter().map(|&(at, _)| at - 100_000).collect();
    assert_eq!(at, [0, 250, 750, 1750, 3750, 7750, 15_750, 31_750, 63_750]);
    assert_eq!(events.len(), 1);
}

#[test]
fn network_changed_asks_for_a_watched_address_now() {
    let mut rig = Rig::new();
    rig.client.watch_external_address(Instant::ZERO, true);
    rig.answers_address(ADDRESS);
    assert!(rig.event().is_some());
    rig.at(1000);
    let now = rig.now();
    rig.client.network_changed(now);
    rig.answers_address(ADDRESS);
    rig.is_quiet();
}

/// C05, C07.
#[test]
fn another_gateway_gets_everything_that_is_kept_and_ends_what_was_held_once() {
    let mut rig = Rig::new();
    rig.keep(MapRequest::new(UDP, 4000));
    rig.grants(UDP, 4000, 5000, 7200);
    rig.map(MapRequest::new(TCP, 6000));
    rig.grants(TCP, 6000, 6000, 7200);
    while rig.event().is_some() {}
    rig.at(1000);
    let now = rig.now();
    rig.client.set_gateway(now, OTHER);
    assert_eq!(rig.client.gateway(), OTHER);
    assert_eq!(rig.event(), Some(Event::GatewayChanged(OTHER)));
    assert_eq!(rig.event(), lost(UDP, 4000, 5000, LossCause::GatewayChanged));
    assert_eq!(rig.event(), ended(TCP, 6000, 6000, Ending::GatewayChanged));
    // The old gateway is not listened to any more.
    assert_eq!(rig.request(), asks(UDP, 4000, 5000, 7200));
    let answer = mapped(1, UDP, 4000, 5000, 7200);
    let from_old = rig.client.handle_datagram(now, GATEWAY, &answer.encode());
    assert_eq!(from_old, Err(Discard::NotFromGateway));
    // Its epoch is its own.
    assert_eq!(rig.receives(answer), Ok(Received::Answer));
    assert_eq!(rig.event(), Some(Event::Mapped(mapping(UDP, 4000, 5000, 7200))));
    rig.is_quiet();
}

#[test]
fn another_gateway_ends_deletions_and_gets_the_questions_that_are_open() {
    let mut rig = Rig::keeping(UDP, 4000);
    let now = rig.now();
    rig.unmap(UDP, 4000);
    rig.client.unmap_all(now, TCP);
    rig.client.request_external_address(now);
    rig.map(MapRequest::new(UDP, 7000));
    assert_eq!(rig.request(), Request::delete(TCP, 0));
    rig.client.set_gateway(now, OTHER);
    let error = RequestError::GatewayChanged;
    assert_eq!(rig.event(), Some(Event::GatewayChanged(OTHER)));
    assert_eq!(rig.event(), ended(UDP, 4000, 4000, Ending::NotUnmapped(error)));
    assert_eq!(rig.event(), Some(Event::UnmappedAll { protocol: TCP, result: Err(error) }));
    rig.answers_address(ADDRESS);
    assert_eq!(rig.event(), Some(Event::ExternalAddress(Ok(ADDRESS))));
    rig.grants(UDP, 7000, 7000, 7200);
    assert_eq!(rig.event(), Some(Event::Mapped(mapping(UDP, 7000, 7000, 7200))));
    rig.is_quiet();
}

#[test]
fn another_gateway_has_no_known_address_yet() {
    let mut rig = Rig::new();
    rig.client.request_external_address(Instant::ZERO);
    rig.answers_address(ADDRESS);
    assert!(rig.event().is_some());
    rig.client.set_gateway(Instant::ZERO, OTHER);
    assert_eq!(rig.client.external_address(), None);
    assert_eq!(rig.event(), Some(Event::GatewayChanged(OTHER)));
    rig.is_quiet();
}

/// The answer that a caller waits for is told, or asked for again: it does not vanish.
#[test]
fn an_address_that_was_asked_for_and_not_yet_told_survives_another_gateway() {
    let mut rig = Rig::new();
    rig.client.request_external_address(Instant::ZERO);
    rig.answers_address(ADDRESS);
    rig.client.set_gateway(Instant::ZERO, OTHER);
    assert_eq!(rig.event(), Some(Event::GatewayChanged(OTHER)));
    assert_eq!(rig.event(), None, "what the old gateway said is no answer any more");
    rig.answers_address(ADDRESS);
    assert_eq!(rig.event(), Some(Event::ExternalAddress(Ok(ADDRESS))));
}

#[test]
fn the_same_gateway_again_is_a_network_that_changed() {
    let mut rig = Rig::keeping(UDP, 4000);
    rig.map(MapRequest::new(UDP, 5000));
    rig.grants(UDP, 5000, 5000, 7200);
    assert!(matches!(rig.event(), Some(Event::Mapped(_))));
    rig.client.set_gateway(Instant::ZERO, GATEWAY);
    assert_eq!(rig.event(), None, "nothing is told of a change that is none");
    rig.grants(UDP, 4000, 4000, 7200);
    assert_eq!(rig.event(), Some(Event::Renewed(mapping(UDP, 4000, 4000, 7200))));
    rig.is_quiet();
}

/// C18, C19: one answer with an epoch that fell tells of it; all that is kept is asked for within 5 s, one at a time.
#[test]
fn a_gateway_that_lost_its_state_is_asked_for_everything_within_five_seconds() {
    let mut spread = Vec::new();
    for seed in 0..40 {
        let mut rig: Rig = Rig::with(Config::for_gateway(GATEWAY).seed(seed));
        for port in [1, 2] {
            rig.keep(MapRequest::new(UDP, port));
            rig.grants(UDP, port, port + 1000, 7200);
        }
        rig.map(MapRequest::new(UDP, 3));
        rig.grants(UDP, 3, 3, 7200);
        while rig.event().is_some() {}
        rig.at(1_000_000);
        let now = rig.now();
        rig.client.request_external_address(now);
        assert!(rig.sent().is_some());
        assert_eq!(rig.receives(Response::ExternalAddress { epoch: 5, address: ADDRESS }), Ok(Received::Answer));
        assert_eq!(rig.event(), Some(Event::GatewayRestarted));
        let cause = LossCause::GatewayRestarted;
        assert_eq!(rig.event(), lost(UDP, 1, 1001, cause));
        assert_eq!(rig.event(), lost(UDP, 2, 1002, cause));
        assert_eq!(rig.event(), ended(UDP, 3, 3, Ending::GatewayRestarted));
        assert_eq!(rig.event(), Some(Event::ExternalAddress(Ok(ADDRESS))));
        let due = rig.client.poll_timeout().unwrap();
        let wait = due.saturating_since(now).as_millis();
        assert!(wait <= 5000, "{wait} ms");
        spread.push(wait);
        rig.at(due.as_micros().div_ceil(1000));
        for port in [1, 2] {
            assert_eq!(rig.request(), asks(UDP, port, port + 1000, 7200));
            assert_eq!(rig.receives(mapped(10, UDP, port, port + 1000, 7200)), Ok(Received::Answer));
            assert!(matches!(rig.event(), Some(Event::Mapped(_))));
        }
        rig.is_quiet();
    }
    let (least, most) = (spread.iter().min().unwrap(), spread.iter().max().unwrap());
    assert!(*least < 1000 && *most > 4000, "spread over 0 to 5 s: {spread:?}");
}

/// C18: the renewal whose answer tells of the loss has made its own mapping anew.
#[test]
fn the_answer_that_tells_of_a_restart_counts_for_its_own_mapping() {
    let mut rig = Rig::keeping(UDP, 4000);
    rig.at(3_600_000);
    assert!(rig.sent().is_some());
    assert_eq!(rig.receives(mapped(3, UDP, 4000, 4000, 7200)), Ok(Received::Answer));
    assert_eq!(rig.event(), Some(Event::GatewayRestarted));
    assert_eq!(rig.event(), Some(Event::Renewed(mapping(UDP, 4000, 4000, 7200))));
    rig.is_quiet();
    assert_eq!(rig.client.poll_timeout(), Some(secs(7200)));
}

/// C18: on every packet, failures too.
#[test]
fn the_epoch_of_a_refusal_counts_as_well() {
    let mut rig = Rig::keeping(UDP, 4000);
    rig.at(1_000_000).keep(MapRequest::new(UDP, 5000));
    assert!(rig.sent().is_some());
    let detail = Some(FailureDetail { epoch: 3, internal_port: Some(5000) });
    let refusal = Refusal::OutOfResources;
    assert_eq!(rig.receives(Response::Failure(Failure { opcode: 1, refusal, detail })), Ok(Received::Answer));
    assert_eq!(rig.event(), Some(Event::GatewayRestarted));
    assert_eq!(rig.event(), lost(UDP, 4000, 4000, LossCause::GatewayRestarted));
}

/// A round that has begun is not ahead any more: what is lost then waits for another.
#[test]
fn a_loss_that_is_heard_at_the_moment_of_a_round_begins_another() {
    let mut rig = Rig::keeping(UDP, 4000);
    let lose = |rig: &mut Rig, now: Instant| {
        rig.client.request_external_address(now);
        assert!(rig.client.poll_transmit(now).is_some());
        let answer = Response::ExternalAddress { epoch: 0, address: ADDRESS };
        assert_eq!(rig.client.handle_datagram(now, GATEWAY, &answer.encode()), Ok(Received::Answer));
        rig.client.poll_timeout().unwrap()
    };
    let round = lose(&mut rig, secs(1_000));
    assert!(rig.at(1_000_000).refresh(UDP, 4000));
    assert!(rig.sent().is_some());
    assert_eq!(rig.receives(mapped(9, UDP, 4000, 4000, 7200)), Ok(Received::Answer));
    assert!(round > secs(1_000));
    assert!(lose(&mut rig, round) > round);
}

/// A caller that comes late gets both: the restart of the one gateway, and the change to another.
#[test]
fn a_restart_and_a_change_of_gateway_are_both_reported_to_a_caller_that_comes_late() {
    for restarts_first in [false, true] {
        let mut rig = Rig::keeping(UDP, 4000);
        rig.at(1_000_000);
        let now = rig.now();
        if !restarts_first {
            rig.client.set_gateway(now, OTHER);
            rig.grants(UDP, 4000, 4000, 7200);
            assert_eq!(rig.client.gateway_report, GatewayReport::Changed);
        }
        rig.client.request_external_address(now);
        assert!(rig.sent().is_some());
        assert_eq!(rig.receives(Response::ExternalAddress { epoch: 5, address: ADDRESS }), Ok(Received::Answer));
        if restarts_first {
            rig.client.set_gateway(now, OTHER);
        }
        assert_eq!(rig.event(), Some(Event::GatewayChanged(OTHER)));
        assert_eq!(rig.event(), Some(Event::GatewayRestarted));
        while let Some(event) = rig.event() {
            assert!(
                event.mapping_key().is_some() || matches!(event, Event::ExternalAddress(_)),
                "{event:?} comes once"
            );
        }
    }
}
