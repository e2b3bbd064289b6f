//! Outputs: what to send, what to report, and when to come back.

use super::event::Event;
use super::exchange::{Ask, Exchange};
use super::external::{CHECK_PAUSE, Inquiry};
use super::{Client, GatewayReport};
use crate::datagram::{Transmit, TransmitKind};
use crate::time::Instant;
use crate::wire::Request;

/// What is to be done next, in this order: send everything, then take every event, then wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send this datagram, then poll again.
    Transmit(Transmit),
    /// Something happened; poll again.
    Event(Event),
    /// Nothing more at present. Poll again after the next input, or when this moment has come; `None`: only after an input or a command.
    Wait(Option<Instant>),
}

/// Outputs.
impl<const N: usize> Client<N> {
    /// The next thing to do at `now`: lets time come to `now` first, then drains what is to be sent, then the events.
    #[must_use]
    pub fn poll(&mut self, now: Instant) -> Output {
        self.handle_timeout(now);
        let request_due = match self.send_or_wait(now) {
            Ok(transmit) => return Output::Transmit(transmit),
            Err(request_due) => request_due,
        };
        match self.poll_event() {
            Some(event) => Output::Event(event),
            None => Output::Wait(self.earliest(request_due)),
        }
    }

    /// The datagram that is due at `now`, if any. Once returned it counts as sent.
    #[must_use]
    pub fn poll_transmit(&mut self, now: Instant) -> Option<Transmit> {
        self.send_or_wait(now).ok()
    }

    /// The next event, if there is one.
    #[must_use]
    pub fn poll_event(&mut self) -> Option<Event> {
        match self.gateway_report {
            GatewayReport::Nothing => {}
            GatewayReport::Restarted => {
                self.gateway_report = GatewayReport::Nothing;
                return Some(Event::GatewayRestarted);
            }
            GatewayReport::Changed => {
                self.gateway_report = GatewayReport::Nothing;
                return Some(Event::GatewayChanged(self.gateway));
            }
            GatewayReport::ChangedAndRestarted => {
                self.gateway_report = GatewayReport::Restarted;
                return Some(Event::GatewayChanged(self.gateway));
            }
        }
        for index in 0..self.slots.len() {
            let Some(slot) = self.slots.get_mut(index) else { break };
            if let Some(event) = slot.take_event(self.quiet_until) {
                if slot.has_ended() {
                    self.forget(index);
                }
                return Some(event);
            }
        }
        if let Some(event) = self.take_unmapped_all() {
            return Some(event);
        }
        self.external.pending_report.take().map(Event::ExternalAddress)
    }

    /// When [`handle_timeout`](Self::handle_timeout) and [`poll_transmit`](Self::poll_transmit) have something to do next;
    /// `None` if nothing will happen by itself. It may lie in the past: then they have something to do now.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.earliest(match self.in_flight {
            Some(exchange) => Some(exchange.deadline),
            None => self.agenda().map(|(due, _)| due),
        })
    }
}

impl<const N: usize> Client<N> {
    /// The datagram that is due at `now`, or else when the next one is.
    fn send_or_wait(&mut self, now: Instant) -> Result<Transmit, Option<Instant>> {
        let mut exchange = match self.in_flight {
            Some(exchange) => exchange,
            None => match self.agenda() {
                Some((due, ask)) if due <= now => Exchange::new(now, ask),
                later => return Err(later.map(|(due, _)| due)),
            },
        };
        let ask = exchange.ask;
        let resends = exchange.send(now, &self.schedule(ask));
        self.in_flight = Some(exchange);
        let resends = resends.ok_or(Some(exchange.deadline))?;
        if ask == Ask::ExternalAddress {
            self.external.check_at = now + CHECK_PAUSE;
        }
        let payload = self.request(ask).ok_or(Some(exchange.deadline))?.encode();
        Ok(Transmit { to: self.gateway, kind: TransmitKind::Request { resends }, payload })
    }

    /// What comes first: the next request, or the end of a lease.
    fn earliest(&self, request_due: Option<Instant>) -> Option<Instant> {
        let mut first = request_due;
        for end in self.slots.iter().filter_map(|slot| slot.ends_at()) {
            first = Some(first.map_or(end, |first| first.min(end)));
        }
        first
    }

    /// What to ask next, and when. Deletions wait for nothing, and a question that checks an announcement waits for its
    /// turn only; all else waits for the end of the pause. Of what the pause held up, that which was due first goes first.
    fn agenda(&self) -> Option<(Instant, Ask)> {
        if let Some(ask) = self.next_unmap_all() {
            return Some((Instant::ZERO, ask));
        }
        let mut first = EarliestAsk { due: Instant::ZERO, was_due: Instant::ZERO, ask: None };
        match self.external.inquiry {
            Inquiry::None => {}
            Inquiry::Announcement => first.offer(Instant::ZERO, self.external.check_at, Ask::ExternalAddress),
            Inquiry::Request => first.offer(Instant::ZERO, Instant::ZERO, Ask::ExternalAddress),
        }
        if self.external.is_watched() {
            first.offer(self.quiet_until, self.external.ask_at, Ask::ExternalAddress);
        }
        for slot in &self.slots {
            if slot.has_own_deletion() {
                return Some((Instant::ZERO, Ask::Unmap(slot.key)));
            }
            if let Some(due) = slot.due() {
                first.offer(self.quiet_until, due, Ask::Map(slot.key));
            }
        }
        first.ask.map(|ask| (first.due, ask))
    }

    /// Frees a slot, whose place the last one takes.
    fn forget(&mut self, index: usize) {
        if let Some((last, others)) = self.slots.split_last_mut() {
            if let Some(slot) = others.get_mut(index) {
                core::mem::swap(slot, last);
            }
        }
        self.slots.pop();
    }

    fn request(&mut self, ask: Ask) -> Option<Request> {
        Some(match ask {
            Ask::ExternalAddress => Request::ExternalAddress,
            Ask::Map(key) => self.slot_mut(key)?.request(),
            Ask::Unmap(key) => Request::delete(key.protocol, key.internal_port),
            Ask::UnmapAll(protocol) => Request::delete(protocol, 0),
        })
    }
}

/// What is to be asked first, of all that was offered.
struct EarliestAsk {
    due: Instant,
    /// When it would have been due without the pause.
    was_due: Instant,
    ask: Option<Ask>,
}

impl EarliestAsk {
    fn offer(&mut self, not_before: Instant, was_due: Instant, ask: Ask) {
        let due = was_due.max(not_before);
        if self.ask.is_none() || due < self.due || (due == self.due && was_due < self.was_due) {
            *self = Self { due, was_due, ask: Some(ask) };
        }
    }
}
