//! Inputs: datagrams, errors of the network, and time.

use core::net::SocketAddrV4;

use super::Client;
use super::event::{LossCause, Received, RequestError};
use super::exchange::{Ask, Exchange, Key, Meaning};
use super::external::Inquiry;
use super::slot::Slot;
use crate::datagram::Discard;
use crate::epoch::Epoch;
use crate::time::{Instant, Span};
use crate::wire::{DecodeError, Refusal, Response};

/// Inputs.
impl<const N: usize> Client<N> {
    /// A datagram came from `from`, on the socket that requests are sent from or on port 5350.
    ///
    /// Prefer [`handle_announcement`](Self::handle_announcement) for port 5350 if you can distinguish the two: what comes
    /// in there is never taken for an answer.
    ///
    /// # Errors
    /// The reason why it was dropped. That is nothing to worry about: anybody may send anything.
    pub fn handle_datagram(&mut self, now: Instant, from: SocketAddrV4, bytes: &[u8]) -> Result<Received, Discard> {
        if from == self.gateway && self.take_answer(now, bytes) {
            return Ok(Received::Answer);
        }
        self.handle_announcement(now, from, bytes)
    }

    /// A datagram came from `from` on port 5350, where gateways announce themselves (section 3.2.1).
    ///
    /// An announcement is not believed: any host of the link could have sent it. It is a reason to ask the gateway, at
    /// most once a second, and the epoch rule is applied to the answer. A PCP announcement is also a reason to renew all
    /// that is kept, after a random 0 to 5 s, at most once a minute: some gateways that lost their mappings say so in no other way.
    ///
    /// # Errors
    /// The reason why it was dropped.
    pub fn handle_announcement(&mut self, now: Instant, from: SocketAddrV4, bytes: &[u8]) -> Result<Received, Discard> {
        if from.ip() != self.gateway.ip() {
            return Err(Discard::NotFromGateway);
        }
        match Response::decode(bytes) {
            Ok(Response::ExternalAddress { epoch, address }) => {
                self.check_announcement(now);
                Ok(Received::Announcement { epoch, address })
            }
            Ok(_) => Err(Discard::NotAwaited),
            Err(DecodeError::Pcp { opcode: PCP_ANNOUNCE, result: Some(0) }) => {
                self.check_announcement(now);
                self.begin_round(now);
                Ok(Received::PcpAnnouncement)
            }
            Err(error) => Err(Discard::Undecodable(error)),
        }
    }

    /// The gateway's host has nothing on that port: the error that a connected socket reports for ICMP port unreachable
    /// (section 3.1). It ends the request in flight.
    pub fn handle_unreachable(&mut self, now: Instant) {
        self.give_up_if_in_flight(now, RequestError::PortUnreachable);
    }

    /// The request in flight could not be sent: no route, no link, no address. It ends the request.
    pub fn handle_network_down(&mut self, now: Instant) {
        self.give_up_if_in_flight(now, RequestError::NetworkDown);
    }

    /// Lets time come to `now`. Call it when [`poll_timeout`](Self::poll_timeout) says so; it does no harm at any other time.
    pub fn handle_timeout(&mut self, now: Instant) {
        for slot in &mut self.slots {
            slot.lapse(now);
        }
        let asked = self.in_flight.and_then(|exchange| exchange.ask.key());
        if asked.is_some_and(|key| self.slot(key).is_none_or(Slot::has_ended)) {
            self.in_flight = None;
        }
        let Some(Exchange { ask, .. }) = self.in_flight else { return };
        let schedule = self.schedule(ask);
        let Some(exchange) = &mut self.in_flight else { return };
        if !exchange.is_over(now, &schedule) {
            return;
        }
        match ask {
            Ask::Map(_) if exchange.has_empty_grant() => self.finish(now, ask, Err(RequestError::GrantedNothing)),
            Ask::ExternalAddress if self.external.inquiry != Inquiry::Request => self.give_up_check(now),
            Ask::UnmapAll(_) if self.is_clearing(ask) => self.finish(now, ask, Err(RequestError::NoAnswer)),
            _ => self.give_up(now, RequestError::NoAnswer),
        }
    }
}

impl<const N: usize> Client<N> {
    /// Takes the answer to the request in flight; `false` if it is none.
    fn take_answer(&mut self, now: Instant, bytes: &[u8]) -> bool {
        let Some(Exchange { ask, .. }) = self.in_flight else { return false };
        let response = match Response::decode(bytes) {
            Ok(response) => response,
            // A server that speaks PCP only answers in PCP: unsupported version (RFC 6887, section 9).
            Err(DecodeError::Pcp { opcode: 0x80.., result: Some(1) }) => {
                self.finish(now, ask, Err(RequestError::Refused(Refusal::UnsupportedVersion)));
                return true;
            }
            Err(_) => return false,
        };
        let is_taken = |protocol, internal_port| self.slot(Key { protocol, internal_port }).is_some();
        let result = match ask.meaning(&response, is_taken) {
            Meaning::Other => return false,
            Meaning::NothingOrLate if !self.is_settled_by_empty_grant() => return false,
            Meaning::NothingOrLate | Meaning::Nothing => Err(RequestError::GrantedNothing),
            Meaning::Refused(refusal) => Err(RequestError::Refused(refusal)),
            Meaning::Success => Ok(&response),
        };
        if let Some(epoch) = response.epoch() {
            self.handle_epoch(now, epoch);
        }
        self.finish(now, ask, result);
        true
    }

    fn is_settled_by_empty_grant(&mut self) -> bool {
        self.in_flight.as_mut().is_some_and(Exchange::is_settled_by_empty_grant)
    }

    /// Ends the request in flight by the gateway's answer, or by what stands for one.
    fn finish(&mut self, now: Instant, ask: Ask, result: Result<&Response, RequestError>) {
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

    fn finish_map(&mut self, now: Instant, key: Key, result: Result<&Response, RequestError>) {
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

    /// Applies the epoch rule (section 3.6), and recreates what is kept if the gateway has lost its state (section 3.7).
    #[inline(never)] // its only caller is large, and firmware has more time than flash
    fn handle_epoch(&mut self, now: Instant, seconds: u32) {
        let is_lost = self.epoch.is_some_and(|epoch| epoch.is_lost_by(seconds, now));
        self.epoch = Some(Epoch::new(seconds, now));
        if !is_lost {
            return;
        }
        self.gateway_report.add_restart();
        // A gateway that loses its state with every answer does not make each of them begin another round.
        let ask_at = match self.round_at {
            Some(ahead) if now < ahead && ahead <= now + RECREATION_SPREAD => ahead,
            _ => {
                self.external.ask_at = now;
                now + self.random.up_to(RECREATION_SPREAD)
            }
        };
        self.round_at = Some(ask_at);
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

    /// Renews all that is kept, spread over 5 s, at most once a minute.
    fn begin_round(&mut self, now: Instant) {
        let at = match self.round_at {
            Some(ahead) if now < ahead => ahead,
            last => {
                let earliest = last.map_or(now, |last| now.max(last + ROUND_PAUSE));
                earliest + self.random.up_to(RECREATION_SPREAD)
            }
        };
        self.round_at = Some(at);
        for slot in self.slots.iter_mut().filter(|slot| slot.is_kept()) {
            slot.ask_by(at);
        }
    }

    fn give_up_if_in_flight(&mut self, now: Instant, error: RequestError) {
        if self.in_flight.is_some() {
            self.give_up(now, error);
        }
    }

    /// Gives up the request in flight, and with it all that waits for a gateway that cannot be asked anything at present. Only
    /// deletions are sent at least once (section 3.4).
    fn give_up(&mut self, now: Instant, error: RequestError) {
        let was_fresh = self.in_flight.is_some_and(|exchange| exchange.is_fresh());
        let asked = self.in_flight.take().map(|exchange| exchange.ask);
        self.quiet_until = now + self.pause(self.silences);
        self.silences = self.silences.saturating_add(1);
        for slot in &mut self.slots {
            let is_asked = asked.is_some_and(|ask| slot.is_asked_by(ask));
            let is_due = slot.due().is_some_and(|due| due <= now);
            if is_asked || is_due {
                slot.failed(error);
            }
            if is_asked && was_fresh && error != RequestError::NoAnswer {
                // It has not reached the gateway.
                slot.is_unanswered = false;
            }
            if is_asked {
                // Behind all others that are due: a gateway may be silent about this one only.
                slot.delay_until(self.quiet_until);
            }
            slot.shorten_deletion();
        }
        self.fail_unmap_all(asked, error);
        self.fail_external_address(now, asked, error);
    }

    /// The backed-off pause, less a random part.
    #[inline(never)] // many call it, and firmware has more time than flash
    pub(super) fn pause(&mut self, failures: u8) -> Span {
        let pause = self.backoff.pause_span(failures);
        pause.saturating_sub(self.random.up_to(pause.halved(2)))
    }
}

/// The second byte of a PCP announcement: a response to opcode 0 (RFC 6887, section 14.1).
const PCP_ANNOUNCE: u8 = 0x80;

/// Recreation is spread over this time (section 3.7).
const RECREATION_SPREAD: Span = Span::from_secs(5);

/// A PCP announcement causes one round of renewals in this time.
const ROUND_PAUSE: Span = Span::from_secs(60);
