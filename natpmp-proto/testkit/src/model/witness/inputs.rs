//! What comes from the network.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use natpmp_proto::client::{Received, RequestError};
use natpmp_proto::{Discard, Instant};

use super::decode::{self, Meaning};
use super::rules::Window;
use super::state::{Life, Mapping};
use super::{Ask, Witness};

impl Witness {
    /// Judges what the client took a datagram for. `is_announcement`: it came to the socket for announcements.
    pub(super) fn check_datagram(
        &mut self,
        now: Instant,
        from: SocketAddrV4,
        bytes: &[u8],
        is_announcement: bool,
        received: &Result<Received, Discard>,
    ) {
        // C07: an answer comes from where the request went.
        if !is_announcement && from == self.gateway && self.answer(now, bytes) {
            assert_eq!(*received, Ok(Received::Answer), "C16: {bytes:?} answers what is in flight");
            return;
        }
        // C10
        if from.ip() != self.gateway.ip() {
            assert_eq!(*received, Err(Discard::NotFromGateway), "C07, C10: {bytes:?} from {from}");
        } else if let Some((epoch, address)) = decode::announcement(bytes) {
            assert_eq!(*received, Ok(Received::Announcement { epoch, address }));
            self.check_soon(now);
        } else if decode::is_pcp_announcement(bytes) {
            assert_eq!(*received, Ok(Received::PcpAnnouncement));
            self.check_soon(now);
            self.renew_soon(now);
        } else {
            assert!(
                received.is_err(),
                "C15, C16: {bytes:?} was taken for {received:?}, with {:?} in flight",
                self.flight
            );
        }
    }

    /// C04
    pub(super) fn unreachable(&mut self, now: Instant, error: RequestError) {
        if self.flight.is_some() {
            self.give_up(now, error);
        }
    }

    /// Takes what answers the request in flight; `false` if it does not.
    fn answer(&mut self, now: Instant, bytes: &[u8]) -> bool {
        let Some(flight) = &mut self.flight else { return false };
        let mappings = &self.mappings;
        let (meaning, epoch) =
            decode::read(bytes, flight.ask, |protocol, port| mappings.contains_key(&(protocol, port)));
        let ask = flight.ask;
        match meaning {
            Meaning::Other => return false,
            Meaning::NothingOrLate if !flight.settles_as_nothing() => return false,
            _ => {}
        }
        if let Some(epoch) = epoch {
            self.take_epoch(now, epoch);
        }
        self.release();
        self.apply(now, ask, meaning);
        true
    }

    /// The gateway is there.
    fn release(&mut self) {
        (self.flight, self.silences, self.quiet) = (None, 0, Window::ALWAYS);
    }

    fn apply(&mut self, now: Instant, ask: Ask, meaning: Meaning) {
        match (ask, meaning) {
            (Ask::Address, Meaning::Address(address)) => self.learn_address(now, Ok(address)),
            (Ask::Address, Meaning::Refused(refusal)) => self.learn_address(now, Err(RequestError::Refused(refusal))),
            (Ask::Map(key), meaning) => {
                let Some(mapping) = self.mappings.get_mut(&key) else { return };
                match meaning {
                    Meaning::Granted { port, lifetime } => mapping.granted(now, port, lifetime),
                    Meaning::Refused(refusal) => mapping.refused(now, RequestError::Refused(refusal), &self.rules),
                    _ => mapping.refused(now, RequestError::GrantedNothing, &self.rules),
                }
            }
            (Ask::Delete(key), meaning) => {
                if let Some(mapping) = self.mappings.get_mut(&key) {
                    mapping.deleted(result(meaning));
                }
            }
            (Ask::DeleteAll(protocol), meaning) => self.deleted_all(now, protocol, result(meaning)),
            (Ask::Address, _) => unreachable!("what else could be meaning"),
        }
    }

    fn learn_address(&mut self, now: Instant, answer: Result<Ipv4Addr, RequestError>) {
        self.question = None;
        self.external.ask_at = Window::at(now + self.rules.interval.max(Duration::from_secs(1)));
        self.external.learn(answer);
    }

    pub(super) fn deleted_all(
        &mut self,
        now: Instant,
        protocol: natpmp_proto::Protocol,
        result: Result<(), RequestError>,
    ) {
        if let Some(all) = self.all.get_mut(&protocol) {
            all.end(result);
        }
        for mapping in self.mappings.values_mut() {
            let is_gone = match mapping.life {
                Life::Closing { with_all, .. } => with_all,
                // It was deleted as well.
                Life::Open { .. } => !mapping.is_kept && result.is_ok(),
                Life::Closed { .. } | Life::Ended(_) => false,
            };
            if is_gone && mapping.key.0 == protocol {
                mapping.deleted(result);
            } else if result.is_ok() && mapping.is_kept() {
                // Some gateways delete the other protocol's as well.
                mapping.ask_now(now);
            }
        }
    }

    /// Nobody answered a question that was asked for once.
    pub(super) fn finish_silent(&mut self, now: Instant, ask: Ask, error: RequestError) {
        self.release();
        match ask {
            Ask::DeleteAll(protocol) => self.deleted_all(now, protocol, Err(error)),
            Ask::Map(key) => {
                if let Some(mapping) = self.mappings.get_mut(&key) {
                    mapping.refused(now, error, &self.rules);
                }
            }
            Ask::Address | Ask::Delete(_) => {}
        }
    }

    /// C18, in eighths of a microsecond and without rounding; C19.
    fn take_epoch(&mut self, now: Instant, seconds: u32) {
        let is_lost = self.epoch.is_some_and(|(before, at)| {
            let eighths = |seconds: u32| u128::from(seconds) * 8_000_000;
            let elapsed = u128::from(now.as_micros().saturating_sub(at.as_micros()));
            let expected = (eighths(before) + 7 * elapsed).min(eighths(u32::MAX));
            eighths(seconds) + 16_000_000 < expected
        });
        self.epoch = Some((seconds, now));
        if is_lost {
            self.has_restarted = true;
            let spread = Window::after(now, Duration::ZERO, SPREAD);
            let address = self.external.ask_at;
            let (round, address) = match self.round {
                // Another loss joins a round that is to come.
                Some(round) if now < round.from && round.by <= spread.by => (round, address.or_earlier(round)),
                // It may be to come.
                Some(round) if now < round.by && round.from <= spread.by => (spread, address.or_earlier(spread)),
                _ => (spread, Window::at(now)),
            };
            self.round = Some(round);
            self.mappings.values_mut().for_each(|mapping| mapping.recreate(round));
            self.external.ask_at = address;
        }
    }

    /// C10: an announcement is a reason to ask, if anything depends on it.
    fn check_soon(&mut self, now: Instant) {
        if self.external.is_watched || self.mappings.values().any(Mapping::is_kept) {
            self.question = Some(self.question_from);
            self.nudge(now);
        }
    }

    /// A PCP announcement is a reason to renew, once a minute, spread as after a loss.
    fn renew_soon(&mut self, now: Instant) {
        let anew = |round: Window| {
            let earliest = round.later_by(MINUTE).or_later(Window::at(now));
            Window { from: earliest.from, by: earliest.by + SPREAD }
        };
        let round = match self.round {
            None => Window::after(now, Duration::ZERO, SPREAD),
            Some(round) if round.by <= now => anew(round),
            Some(round) if now < round.from => round,
            // It may have been.
            Some(round) => Window { from: round.from, by: anew(round).by },
        };
        self.round = Some(round);
        for mapping in self.mappings.values_mut().filter(|mapping| mapping.is_kept()) {
            mapping.set_due(|due| due.or_earlier(round));
        }
    }
}

fn result(meaning: Meaning) -> Result<(), RequestError> {
    match meaning {
        Meaning::Refused(refusal) => Err(RequestError::Refused(refusal)),
        _ => Ok(()),
    }
}

/// Section 3.7.
const SPREAD: Duration = Duration::from_secs(5);
const MINUTE: Duration = Duration::from_secs(60);
