//! What comes on port 5350: reasons to ask, never to believe.

use super::*;
use crate::wire::DecodeError;

const PCP_ANNOUNCE: [u8; 24] = [2, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

fn announced(epoch: u32) -> Response {
    Response::ExternalAddress { epoch, address: ADDRESS }
}

impl Rig {
    fn announce(&mut self, epoch: u32) -> Result<Received, Discard> {
        let now = self.now();
        self.client.handle_announcement(now, GATEWAY, &announced(epoch).encode())
    }

    fn announce_pcp(&mut self) -> Result<Received, Discard> {
        let now = self.now();
        self.client.handle_announcement(now, GATEWAY, &PCP_ANNOUNCE)
    }
}

/// C10.
#[test]
fn an_announcement_from_anybody_else_is_dropped() {
    let mut rig = Rig::keeping(UDP, 4000);
    let stranger = SocketAddrV4::new(Ipv4Addr::new(192, 168, 1, 66), 5351);
    let bytes = announced(0).encode();
    let pcp = &PCP_ANNOUNCE[..];
    for bytes in [&bytes[..], pcp] {
        assert_eq!(rig.client.handle_announcement(Instant::ZERO, stranger, bytes), Err(Discard::NotFromGateway));
        assert_eq!(rig.client.handle_datagram(Instant::ZERO, stranger, bytes), Err(Discard::NotFromGateway));
    }
    rig.is_quiet();
}

/// C10: any port of the gateway will do.
#[test]
fn an_announcement_is_checked_by_a_question_and_not_believed() {
    for port in [5350, 5351, 40_000] {
        let mut rig = Rig::keeping(UDP, 4000);
        rig.at(10_000);
        let from = SocketAddrV4::new(*GATEWAY.ip(), port);
        let received = rig.client.handle_announcement(secs(10), from, &announced(0).encode());
        assert_eq!(received, Ok(Received::Announcement { epoch: 0, address: ADDRESS }));
        assert_eq!(rig.event(), None);
        assert_eq!(rig.client.external_address(), None);
        // The truth is that nothing was lost.
        rig.answers_address(ADDRESS);
        rig.is_quiet();
        assert!(matches!(rig.state(UDP, 4000), MappingState::Open { .. }));
    }
}

#[test]
fn an_announcement_that_is_true_leads_to_everything_being_asked_for() {
    let mut rig = Rig::keeping(UDP, 4000);
    assert!(rig.at(1_000_000).announce(0).is_ok());
    assert_eq!(rig.request(), Request::ExternalAddress);
    assert_eq!(rig.receives(announced(0)), Ok(Received::Answer));
    assert_eq!(rig.event(), Some(Event::GatewayRestarted));
    assert_eq!(rig.event(), lost(UDP, 4000, 4000, LossCause::GatewayRestarted));
    let (sends, _) = rig.silence_until(1_005_001);
    assert_eq!(sends.first().map(|&(_, request)| request), Some(asks(UDP, 4000, 4000, 7200)));
}

/// The request socket may hear announcements as well: with nothing in flight that is what they are.
#[test]
fn an_announcement_on_the_request_socket_is_one_too() {
    let mut rig = Rig::keeping(UDP, 4000);
    rig.at(10_000);
    assert_eq!(rig.receives(announced(0)), Ok(Received::Announcement { epoch: 0, address: ADDRESS }));
    assert_eq!(rig.request(), Request::ExternalAddress);
}

#[test]
fn a_client_that_wants_nothing_lasting_asks_nothing_when_it_hears_a_hint() {
    let mut rig = Rig::new();
    rig.map(MapRequest::new(UDP, 4000));
    rig.grants(UDP, 4000, 4000, 7200);
    assert!(matches!(rig.event(), Some(Event::Mapped(_))));
    assert!(rig.announce(0).is_ok());
    assert_eq!(rig.announce_pcp(), Ok(Received::PcpAnnouncement));
    rig.is_quiet();
    assert_eq!(rig.client.poll_timeout(), Some(secs(7200)));
}

#[test]
fn a_flood_of_announcements_costs_one_question_a_second() {
    let mut rig = Rig::keeping(UDP, 4000);
    let mut questions = Vec::new();
    for at in 10_000..20_000 {
        let epoch = rig.at(at).epoch();
        assert!(rig.announce(epoch).is_ok());
        if let Some((request, _)) = rig.sent() {
            assert_eq!(request, Request::ExternalAddress);
            questions.push(at);
            let answer = announced(epoch);
            assert_eq!(rig.receives(answer), Ok(Received::Answer));
        }
    }
    assert_eq!(questions.len(), 10, "{questions:?}");
    assert!(questions.windows(2).all(|pair| pair[1] - pair[0] >= 1000), "{questions:?}");
}

/// Anybody on the link can send announcements: a flood of them begins the schedule of a request anew once, so that a gateway
/// that came back is not left waiting, and no more than once, so that a silent one is given up.
#[test]
fn a_flood_of_announcements_begins_the_schedule_anew_once() {
    let mut rig = Rig::new();
    rig.keep(MapRequest::new(UDP, 4000));
    let mut sends = Vec::new();
    let mut gave_up = None;
    for at in (0..150_000).step_by(50) {
        let epoch = rig.at(at).epoch();
        if let Some(Event::Failed { error: RequestError::NoAnswer, .. }) = rig.event() {
            gave_up = gave_up.or(Some(at));
        }
        assert!(rig.announce(epoch).is_ok());
        if gave_up.is_none() {
            sends.extend(rig.sent().map(|_| at));
        }
    }
    let question = [0, 250, 750, 1750, 2000, 2250, 2750, 3750, 5750];
    let mapping =
        [9750, 10_000, 10_500, 11_500, 11_750, 12_000, 12_500, 13_500, 15_500, 19_500, 27_500, 43_500, 75_500];
    assert_eq!(sends, [&question[..], &mapping].concat());
    assert_eq!(gave_up, Some(139_500));
}

/// The same when the gateway had answered before, and fell silent under its renewal.
#[test]
fn a_flood_of_announcements_does_not_hurry_a_renewal() {
    let mut rig = Rig::keeping(UDP, 4000);
    let mut sends = 0;
    for at in (3_600_000..3_660_000).step_by(50) {
        rig.at(at);
        sends += u32::from(rig.sent().is_some());
        let epoch = rig.epoch();
        assert!(rig.announce(epoch).is_ok());
    }
    assert!(sends <= 12, "{sends} sends in a minute");
}

/// Some gateways that lost their mappings say so in no other way: kept mappings are renewed within 5 s, unseen loss or not.
#[test]
fn a_pcp_announcement_renews_what_is_kept_within_five_seconds() {
    let mut rig = Rig::keeping(UDP, 4000);
    rig.at(100_000);
    assert_eq!(rig.announce_pcp(), Ok(Received::PcpAnnouncement));
    rig.answers_address(ADDRESS);
    let (sends, events) = rig.silence_until(105_000);
    assert_eq!(events, []);
    assert_eq!(sends.first().map(|&(_, request)| request), Some(asks(UDP, 4000, 4000, 7200)));
}

/// Devices that run the same image have the same constant configuration: each spreads its renewals by its own seed.
#[test]
fn a_seed_that_is_set_at_start_spreads_renewals_as_one_of_the_configuration_does() {
    fn round_after_an_announcement(mut rig: Rig) -> u64 {
        rig.keep(MapRequest::new(UDP, 4000));
        rig.grants(UDP, 4000, 4000, 7200);
        assert!(rig.event().is_some());
        rig.at(1000);
        assert_eq!(rig.announce_pcp(), Ok(Received::PcpAnnouncement));
        rig.answers_address(ADDRESS);
        rig.client.poll_timeout().unwrap().as_micros()
    }
    const IMAGE: Config = Config::for_gateway(GATEWAY);
    let mut rounds = Vec::new();
    for seed in 1..=40 {
        let mut rig = Rig::with(IMAGE);
        rig.client.set_seed(seed);
        let round = round_after_an_announcement(rig);
        assert_eq!(round, round_after_an_announcement(Rig::with(IMAGE.seed(seed))), "seed {seed}");
        rounds.push(round);
    }
    rounds.sort_unstable();
    rounds.dedup();
    assert_eq!(rounds.len(), 40, "no two devices renew at the same time");
    assert!(rounds[0] < 2_000_000 && rounds[39] > 5_000_000, "{rounds:?}");
}

/// A device may get its seed late, when its randomness has come up: what is planned stays planned, and what comes is spread by it.
#[test]
fn a_seed_that_is_set_later_leaves_what_is_planned() {
    let mut rig = Rig::keeping(UDP, 4000);
    rig.at(1000);
    assert_eq!(rig.announce_pcp(), Ok(Received::PcpAnnouncement));
    rig.answers_address(ADDRESS);
    let planned = rig.client.poll_timeout();
    rig.client.set_seed(0x5eed);
    assert_eq!(rig.client.poll_timeout(), planned);
    rig.is_quiet();
}

#[test]
fn a_flood_of_pcp_announcements_costs_one_round_of_renewals_a_minute() {
    let mut rig = Rig::keeping(UDP, 4000);
    let mut rounds = Vec::new();
    for at in (100_000..400_000).step_by(100) {
        assert_eq!(rig.at(at).announce_pcp(), Ok(Received::PcpAnnouncement));
        while let Some((request, _)) = rig.sent() {
            let epoch = rig.epoch();
            let answer = match request {
                Request::ExternalAddress => announced(epoch),
                Request::Map { .. } => {
                    rounds.push(at);
                    mapped(epoch, UDP, 4000, 4000, 7200)
                }
            };
            assert_eq!(rig.receives(answer), Ok(Received::Answer));
        }
        while let Some(event) = rig.event() {
            assert!(matches!(event, Event::Renewed(_)), "{event:?}");
        }
    }
    assert!((4..=5).contains(&rounds.len()), "{rounds:?}");
    assert!(rounds.windows(2).all(|pair| pair[1] - pair[0] >= 60_000), "{rounds:?}");
}

impl Rig {
    /// One round of renewals was at some 100 s, and the next one is planned for a minute after it.
    fn between_rounds() -> Self {
        let mut rig = Self::keeping(UDP, 4000);
        assert!(rig.at(100_000).announce_pcp().is_ok());
        rig.answers_address(ADDRESS);
        let due = rig.client.poll_timeout().unwrap();
        rig.at(due.as_micros().div_ceil(1000)).grants(UDP, 4000, 4000, 7200);
        assert!(rig.at(107_000).announce_pcp().is_ok());
        rig.answers_address(ADDRESS);
        assert!(matches!(rig.event(), Some(Event::Renewed(_))));
        rig
    }
}

#[test]
fn what_one_gateway_announced_does_not_keep_the_next_one_waiting() {
    let mut rig = Rig::between_rounds();
    let other = SocketAddrV4::new(Ipv4Addr::new(192, 168, 1, 2), 5351);
    rig.client.set_gateway(secs(107), other);
    rig.grants(UDP, 4000, 4000, 7200);
    while rig.event().is_some() {}
    rig.at(112_000);
    assert_eq!(rig.client.handle_announcement(secs(112), other, &PCP_ANNOUNCE), Ok(Received::PcpAnnouncement));
    rig.answers_address(ADDRESS);
    rig.at(117_000).grants(UDP, 4000, 4000, 7200);
}

/// C19: whoever forges announcements does not put off what a restart calls for.
#[test]
fn a_restart_is_healed_in_five_seconds_although_renewals_are_planned_for_later() {
    let mut rig = Rig::between_rounds();
    assert!(rig.at(110_000).announce(0).is_ok());
    assert_eq!(rig.request(), Request::ExternalAddress);
    assert_eq!(rig.receives(announced(0)), Ok(Received::Answer));
    assert_eq!(rig.event(), Some(Event::GatewayRestarted));
    assert_eq!(rig.event(), lost(UDP, 4000, 4000, LossCause::GatewayRestarted));
    assert!(is_for(&rig.at(115_000).request(), UDP, 4000));
}

#[test]
fn a_second_loss_before_the_round_has_the_address_asked_for_again() {
    let mut rig = Rig::keeping(UDP, 4000);
    rig.client.watch_external_address(Instant::ZERO, true);
    rig.answers_address(ADDRESS);
    rig.at(1_000_000).answers_address(ADDRESS);
    for epoch in [100, 10] {
        assert!(rig.refresh(UDP, 4000));
        assert!(is_for(&rig.request(), UDP, 4000));
        assert_eq!(rig.receives(mapped(epoch, UDP, 4000, 4000, 7200)), Ok(Received::Answer));
        if epoch == 100 {
            assert_eq!(rig.request(), Request::ExternalAddress);
            assert_eq!(rig.receives(announced(epoch)), Ok(Received::Answer));
        }
    }
    assert_eq!(rig.at(1_005_000).request(), Request::ExternalAddress);
}

/// A hint that falls into the pause between two rounds is kept until the next one, whatever is granted in between.
#[test]
fn a_pcp_announcement_during_the_pause_between_rounds_is_not_forgotten() {
    let mut rig = Rig::keeping(UDP, 4000);
    assert!(rig.at(100_000).announce_pcp().is_ok());
    rig.answers_address(ADDRESS);
    let due = rig.client.poll_timeout().unwrap();
    rig.at(due.as_micros().div_ceil(1000)).grants(UDP, 4000, 4000, 7200);
    // The next round is planned for a minute after this one; then the caller has the mapping renewed.
    assert!(rig.at(110_000).announce_pcp().is_ok());
    rig.answers_address(ADDRESS);
    assert!(rig.at(120_000).refresh(UDP, 4000));
    rig.grants(UDP, 4000, 4000, 7200);
    assert!(matches!(rig.event(), Some(Event::Renewed(_))));
    // A restart that does not show in the epoch.
    assert!(rig.at(130_000).announce_pcp().is_ok());
    rig.answers_address(ADDRESS);
    let (sends, _) = rig.silence_until(171_000);
    assert_eq!(sends.first().map(|&(_, request)| request), Some(asks(UDP, 4000, 4000, 7200)));
}

/// A PCP server's error, late or repeated, is no announcement: it announces nothing.
#[test]
fn a_pcp_error_that_nobody_waits_for_causes_no_renewals() {
    let mut rig = Rig::keeping(UDP, 4000);
    rig.at(100_000);
    let mut error = PCP_ANNOUNCE;
    error[3] = 1;
    let expected = Discard::Undecodable(DecodeError::Pcp { opcode: 0x80, result: Some(1) });
    assert_eq!(rig.client.handle_datagram(secs(100), GATEWAY, &error), Err(expected));
    rig.is_quiet();
}

#[test]
fn other_packets_of_pcp_are_no_announcement() {
    let mut rig = Rig::keeping(UDP, 4000);
    let mut bytes = PCP_ANNOUNCE;
    for opcode in (0..=255).filter(|&opcode| opcode != 0x80) {
        bytes[1] = opcode;
        let expected = Discard::Undecodable(DecodeError::Pcp { opcode, result: Some(0) });
        assert_eq!(rig.client.handle_announcement(Instant::ZERO, GATEWAY, &bytes), Err(expected));
    }
    rig.is_quiet();
}

/// A short wait need not be cut. The fifth send was at 3750 ms, the sixth is due at 7750 ms.
#[test]
fn an_announcement_ends_a_wait_of_more_than_a_second_only() {
    for (at, is_sent) in [(3_999, false), (4_000, true), (6_749, true), (6_750, false), (7_749, false)] {
        let mut rig = Rig::new();
        rig.keep(MapRequest::new(UDP, 4000));
        assert_eq!(rig.silence_until(at).0.len(), 5);
        let epoch = rig.epoch();
        assert!(rig.announce(epoch).is_ok());
        assert_eq!(rig.sent().is_some(), is_sent, "announced at {at} ms");
    }
}
