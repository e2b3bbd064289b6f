//! What comes from the network.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use natpmp_proto::client::{Error, Heard};
use natpmp_proto::{Discard, Instant};

use super::answer::{self, Said};
use super::mapping::Life;
use super::window::Window;
use super::{Ask, Witness};

impl Witness {
    /// Judges what the client took a datagram for. `is_announcement`: it came to the socket for announcements.
    pub(super) fn heard(
        &mut self,
        now: Instant,
        from: SocketAddrV4,
        bytes: &[u8],
        is_announcement: bool,
        heard: &Result<Heard, Discard>,
    ) {
        // C07: an answer comes from where the request went.
        if !is_announcement && from == self.gateway && self.answer(now, bytes) {
            assert_eq!(*heard, Ok(Heard::Answer), "C16: {bytes:?} answers what is in flight");
            return;
        }
        // C10
        if from.ip() != self.gateway.ip() {
            assert_eq!(*heard, Err(Discard::NotFromGateway), "C07, C10: {bytes:?} from {from}");
        } else if let Some((epoch, address)) = answer::announcement(bytes) {
            assert_eq!(*heard, Ok(Heard::Announcement { epoch, address }));
            self.check_soon(now);
        } else if answer::is_pcp_announcement(bytes) {
            assert_eq!(*heard, Ok(Heard::PcpAnnouncement));
            self.check_soon(now);
            self.renew_soon(now);
        } else {
            assert!(heard.is_err(), "C15, C16: {bytes:?} was taken for {heard:?}, with {:?} in flight", self.flight);
        }
    }

    /// C04
    pub(super) fn unreachable(&mut self, now: Instant, error: Error) {
        if self.flight.is_some() {
            self.give_up(now, error);
        }
    }

    /// Takes what answers the request in flight; `false` if it does not.
    fn answer(&mut self, now: Instant, bytes: &[u8]) -> bool {
        let Some(flight) = &mut self.flight else { return false };
        let mappings = &self.mappings;
        let (said, epoch) = answer::read(bytes, flight.ask, |protocol, port| mappings.contains_key(&(protocol, port)));
        let ask = flight.ask;
        match said {
            Said::Other => return false,
            Said::NothingOrLate if !flight.settles_as_nothing() => return false,
            _ => {}
        }
        if let Some(epoch) = epoch {
            self.hear_epoch(now, epoch);
        }
        self.release();
        self.apply(now, ask, said);
        true
    }

    /// The gateway is there.
    fn release(&mut self) {
        (self.flight, self.silences, self.quiet) = (None, 0, Window::ALWAYS);
    }

    fn apply(&mut self, now: Instant, ask: Ask, said: Said) {
        match (ask, said) {
            (Ask::Address, Said::Address(address)) => self.learn_address(now, Ok(address)),
            (Ask::Address, Said::Refused(refusal)) => self.learn_address(now, Err(Error::Refused(refusal))),
            (Ask::Map(key), said) => {
                let Some(mapping) = self.mappings.get_mut(&key) else { return };
                match said {
                    Said::Granted { port, lifetime } => mapping.granted(now, port, lifetime),
                    Said::Refused(refusal) => mapping.refused(now, Error::Refused(refusal), &self.rules),
                    _ => mapping.refused(now, Error::GrantedNothing, &self.rules),
                }
            }
            (Ask::Delete(key), said) => {
                if let Some(mapping) = self.mappings.get_mut(&key) {
                    mapping.deleted(result(said));
                }
            }
            (Ask::DeleteAll(protocol), said) => self.deleted_all(now, protocol, result(said)),
            (Ask::Address, _) => unreachable!("what else could be said"),
        }
    }

    fn learn_address(&mut self, now: Instant, answer: Result<Ipv4Addr, Error>) {
        self.question = None;
        self.external.ask_at = Window::at(now + self.rules.interval.max(Duration::from_secs(1)));
        self.external.learn(answer);
    }

    pub(super) fn deleted_all(&mut self, now: Instant, protocol: natpmp_proto::Protocol, result: Result<(), Error>) {
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
    pub(super) fn finish_silent(&mut self, now: Instant, ask: Ask, error: Error) {
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
    fn hear_epoch(&mut self, now: Instant, seconds: u32) {
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
        if self.external.is_watched || self.mappings.values().any(super::mapping::Mapping::is_kept) {
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

fn result(said: Said) -> Result<(), Error> {
    match said {
        Said::Refused(refusal) => Err(Error::Refused(refusal)),
        _ => Ok(()),
    }
}

/// Section 3.7.
const SPREAD: Duration = Duration::from_secs(5);
const MINUTE: Duration = Duration::from_secs(60);
