//! Inputs: datagrams, errors of the network, and time.

use core::net::SocketAddrV4;

use super::ask::{Ask, Exchange, Key, Meaning};
use super::event::{Error, Heard, LossCause};
use super::slot::{Life, Slot};
use super::{Client, UnmapAll};
use crate::datagram::Discard;
use crate::epoch::Epoch;
use crate::time::{Instant, Span};
use crate::wire::{DecodeError, Protocol, Refusal, Response};

/// Inputs.
impl<const N: usize> Client<N> {
    /// A datagram came from `from`, on the socket that requests are sent from or on port 5350.
    ///
    /// Prefer [`handle_announcement`](Self::handle_announcement) for port 5350 if the two can be told apart: what comes
    /// in there is never taken for an answer.
    ///
    /// # Errors
    /// The reason why it was dropped. That is nothing to worry about: anybody may send anything.
    pub fn handle_datagram(&mut self, now: Instant, from: SocketAddrV4, bytes: &[u8]) -> Result<Heard, Discard> {
        if from == self.gateway && self.take_answer(now, bytes) {
            return Ok(Heard::Answer);
        }
        self.handle_announcement(now, from, bytes)
    }

    /// A datagram came from `from` on port 5350, where gateways announce themselves (section 3.2.1).
    ///
    /// An announcement is not believed: any host of the link could have sent it. It is a reason to ask the gateway, at
    /// most once a second, and the epoch rule is applied to the answer. A PCP announcement is also a reason to renew all
    /// that is kept, after a random 0 to 5 s, at most once a minute: some gateways that lost their mappings tell it in no other way.
    ///
    /// # Errors
    /// The reason why it was dropped.
    pub fn handle_announcement(&mut self, now: Instant, from: SocketAddrV4, bytes: &[u8]) -> Result<Heard, Discard> {
        if from.ip() != self.gateway.ip() {
            return Err(Discard::NotFromGateway);
        }
        match Response::decode(bytes) {
            Ok(Response::ExternalAddress { epoch, address }) => {
                self.ask_soon(now);
                Ok(Heard::Announcement { epoch, address })
            }
            Ok(_) => Err(Discard::NotAwaited),
            Err(DecodeError::Pcp { opcode: PCP_ANNOUNCE, result: Some(0) }) => {
                self.ask_soon(now);
                self.renew_soon(now);
                Ok(Heard::PcpAnnouncement)
            }
            Err(error) => Err(Discard::Undecodable(error)),
        }
    }

    /// The gateway's host has nothing on that port: the error that a connected socket reports for ICMP port unreachable
    /// (section 3.1). It ends the request in flight.
    pub fn handle_unreachable(&mut self, now: Instant) {
        self.give_up_if_in_flight(now, Error::PortUnreachable);
    }

    /// The request in flight could not be sent: no route, no link, no address. It ends the request.
    pub fn handle_network_down(&mut self, now: Instant) {
        self.give_up_if_in_flight(now, Error::NetworkDown);
    }

    /// Time has come to `now`: to be called when [`poll_timeout`](Self::poll_timeout) says so, and harmless at any time.
    pub fn handle_timeout(&mut self, now: Instant) {
        for slot in &mut self.slots {
            slot.lapse(now);
        }
        let asked = self.in_flight.and_then(|exchange| exchange.ask.key());
        if asked.is_some_and(|key| self.slot(key).is_none_or(Slot::has_ended)) {
            self.in_flight = None;
        }
        let Some(ask) = self.in_flight.map(|exchange| exchange.ask) else { return };
        let schedule = self.schedule(ask);
        let is_clearing = matches!(ask, Ask::UnmapAll(protocol) if self.unmap_all_of(protocol) == UnmapAll::Clearing);
        let Some(exchange) = &mut self.in_flight else { return };
        if !exchange.is_over(now, &schedule) {
            return;
        }
        match ask {
            Ask::ExternalAddress if !self.external.is_asked => self.leave_question(now),
            Ask::UnmapAll(_) if is_clearing => self.finish(now, ask, Err(Error::NoAnswer)),
            Ask::Map(_) if exchange.heard_nothing_only() => self.finish(now, ask, Err(Error::GrantedNothing)),
            _ => self.give_up(now, Error::NoAnswer),
        }
    }
}

impl<const N: usize> Client<N> {
    /// Takes the answer to the request in flight; `false` if it is none.
    fn take_answer(&mut self, now: Instant, bytes: &[u8]) -> bool {
        let Some(ask) = self.in_flight.map(|exchange| exchange.ask) else { return false };
        let response = match Response::decode(bytes) {
            Ok(response) => response,
            // A server that speaks PCP only answers in PCP: unsupported version (RFC 6887, section 9).
            Err(DecodeError::Pcp { opcode: 0x80.., result: Some(1) }) => {
                self.finish(now, ask, Err(Error::Refused(Refusal::UnsupportedVersion)));
                return true;
            }
            Err(_) => return false,
        };
        let is_taken = |protocol, internal_port| self.slot(Key { protocol, internal_port }).is_some();
        let result = match ask.meaning(&response, is_taken) {
            Meaning::Other => return false,
            Meaning::NothingOrLate if !self.settles_as_nothing() => return false,
            Meaning::NothingOrLate | Meaning::Nothing => Err(Error::GrantedNothing),
            Meaning::Refused(refusal) => Err(Error::Refused(refusal)),
            Meaning::Success => Ok(&response),
        };
        if let Some(epoch) = response.epoch() {
            self.hear_epoch(now, epoch);
        }
        self.finish(now, ask, result);
        true
    }

    fn settles_as_nothing(&mut self) -> bool {
        self.in_flight.as_mut().is_some_and(Exchange::settles_as_nothing)
    }

    /// The gateway has answered the request in flight.
    fn finish(&mut self, now: Instant, ask: Ask, result: Result<&Response, Error>) {
        self.in_flight = None;
        self.silences = 0;
        self.quiet_until = Instant::ZERO;
        match ask {
            Ask::ExternalAddress => self.finish_external_address(now, result),
            Ask::Map(key) => self.finish_map(now, key, result),
            Ask::Unmap(key) => {
                if let Some(slot) = self.slot_mut(key) {
                    slot.unmapped(result.map(|_| ()));
                }
            }
            Ask::UnmapAll(protocol) => self.finish_unmap_all(now, protocol, result.map(|_| ())),
        }
    }

    fn finish_external_address(&mut self, now: Instant, result: Result<&Response, Error>) {
        self.question = false;
        self.external.ask_at = now + Span::from_millis(self.external.interval_ms);
        match result {
            Ok(Response::ExternalAddress { address, .. }) => self.external.learn(Ok(*address)),
            Ok(_) => {}
            Err(error) => {
                self.external.address = None;
                self.external.learn(Err(error));
            }
        }
    }

    fn finish_map(&mut self, now: Instant, key: Key, result: Result<&Response, Error>) {
        let failures = self.slot(key).map_or(0, |slot| slot.failures);
        let shortest = self.backoff.pause_span(0);
        let pause = self.pause(failures);
        let Some(slot) = self.slot_mut(key) else { return };
        match result {
            Ok(Response::Map { external_port, lifetime, .. }) => slot.granted(now, *external_port, *lifetime),
            Ok(_) => {}
            Err(error) => slot.refused(now, error, pause, shortest),
        }
    }

    fn finish_unmap_all(&mut self, now: Instant, protocol: Protocol, result: Result<(), Error>) {
        self.unmap_all_mut(protocol).end(result);
        for slot in &mut self.slots {
            let is_closed = match slot.life {
                Life::Closing { with_all } => with_all,
                // It was deleted as well.
                Life::Open { .. } => !slot.is_kept() && result.is_ok(),
                Life::Closed(_) | Life::Ended(_) => false,
            };
            if slot.key.protocol == protocol && is_closed {
                slot.unmapped(result);
            } else if slot.is_kept() && result.is_ok() {
                // Of the other protocol, since some gateways delete both; or wanted in spite of it.
                slot.ask_now(now);
            }
        }
    }

    /// The epoch rule (section 3.6), and what follows from a loss (section 3.7).
    fn hear_epoch(&mut self, now: Instant, seconds: u32) {
        let is_lost = self.is_epoch_known && self.epoch.is_lost_by(seconds, now);
        (self.epoch, self.is_epoch_known) = (Epoch::new(seconds, now), true);
        if !is_lost {
            return;
        }
        self.restart_news = true;
        // A gateway that loses its state with every answer does not make each of them begin another round.
        let is_round_ahead = now < self.round_at && self.round_at <= now + RECREATION_SPREAD;
        if !is_round_ahead {
            self.round_at = now + self.random.up_to(RECREATION_SPREAD);
            self.external.ask_at = now;
        }
        let ask_at = self.round_at;
        for slot in &mut self.slots {
            slot.lost(ask_at, LossCause::GatewayRestarted);
            if slot.is_kept() {
                slot.failures = 0;
                slot.is_unanswered = false;
                slot.ask_by(ask_at);
            }
        }
        self.external.ask_at = self.external.ask_at.min(ask_at);
    }

    /// Checks a hint by a question to the gateway, unless nothing here depends on it.
    fn ask_soon(&mut self, now: Instant) {
        if !self.external.is_watched && !self.slots.iter().any(|slot| slot.is_kept()) {
            return;
        }
        self.question = true;
        if let Some(exchange) = &mut self.in_flight {
            exchange.nudge(now, &self.schedule);
        }
    }

    /// Renews all that is kept, spread over 5 s, at most once a minute.
    fn renew_soon(&mut self, now: Instant) {
        if self.round_at <= now {
            let is_first = self.round_at == Instant::ZERO;
            let earliest = if is_first { now } else { now.max(self.round_at + ROUND_PAUSE) };
            self.round_at = earliest + self.random.up_to(RECREATION_SPREAD);
        }
        let at = self.round_at;
        for slot in self.slots.iter_mut().filter(|slot| slot.is_kept()) {
            slot.ask_by(at);
        }
    }

    fn give_up_if_in_flight(&mut self, now: Instant, error: Error) {
        if self.in_flight.is_some() {
            self.give_up(now, error);
        }
    }

    /// A question that nobody waits for found no answer. That is no verdict on the gateway: it was not pursued for long, and
    /// a forged announcement may have caused it.
    fn leave_question(&mut self, now: Instant) {
        self.in_flight = None;
        self.question = false;
        let pause = self.pause(self.silences);
        self.silences = self.silences.saturating_add(1);
        self.put_off_address(now + pause);
        if self.external.is_watched {
            self.external.learn(Err(Error::NoAnswer));
        }
    }

    fn put_off_address(&mut self, at: Instant) {
        let is_alive = self.slots.iter().any(|slot| slot.mapping().is_some());
        self.external.ask_at = at + if is_alive { ADDRESS_PAUSE } else { Span::ZERO };
    }

    /// The gateway cannot be asked anything at present: all that waits for it shares the verdict. Only deletions are sent
    /// at least once (section 3.4).
    fn give_up(&mut self, now: Instant, error: Error) {
        let was_fresh = self.in_flight.is_some_and(|exchange| exchange.is_fresh());
        let asked = self.in_flight.take().map(|exchange| exchange.ask);
        self.quiet_until = now + self.pause(self.silences);
        self.silences = self.silences.saturating_add(1);
        for slot in &mut self.slots {
            let is_asked = match slot.life {
                Life::Closing { with_all: true } => asked == Some(Ask::UnmapAll(slot.key.protocol)),
                _ => asked.and_then(Ask::key) == Some(slot.key),
            };
            let is_due = slot.due().is_some_and(|due| due <= now);
            if is_asked || is_due {
                slot.failed(error);
            }
            if is_asked && was_fresh && error != Error::NoAnswer {
                // It has not reached the gateway.
                slot.is_unanswered = false;
            }
            if is_asked {
                // Behind all others that are due: a gateway may be silent about this one only.
                slot.put_off(self.quiet_until);
            }
            slot.is_last_try = true;
        }
        for protocol in Protocol::ALL {
            let unmap_all = self.unmap_all_mut(protocol);
            if asked == Some(Ask::UnmapAll(protocol)) {
                unmap_all.end(Err(error));
            } else if *unmap_all == UnmapAll::Wanted {
                *unmap_all = UnmapAll::LastTry;
            }
        }
        let is_watched = self.external.is_watched && self.external.ask_at <= now;
        if self.external.is_asked || is_watched {
            self.external.learn(Err(error));
        }
        if asked == Some(Ask::ExternalAddress) {
            self.put_off_address(self.quiet_until);
        }
        self.question = false;
    }

    /// The backed-off pause, less a random part.
    #[inline(never)] // many call it, and firmware has more time than flash
    fn pause(&mut self, failures: u8) -> Span {
        let pause = self.backoff.pause_span(failures);
        pause.saturating_sub(self.random.up_to(pause.halved(2)))
    }
}

/// The second byte of a PCP announcement: a response to opcode 0 (RFC 6887, section 14.1).
const PCP_ANNOUNCE: u8 = 0x80;

/// Section 3.7.
const RECREATION_SPREAD: Span = Span::from_secs(5);

/// A gateway that grants mappings and does not tell its address is not pestered for it.
const ADDRESS_PAUSE: Span = Span::from_secs(60);

const ROUND_PAUSE: Span = Span::from_secs(60);
