//! Outputs: what to send, what to tell, and when to come back.

use core::net::SocketAddrV4;
use core::time::Duration;

use super::ask::{Ask, Exchange};
use super::event::Event;
use super::slot::Life;
use super::{Client, UnmapAll};
use crate::time::Instant;
use crate::wire::{Encoded, Protocol, Request};

/// What is to be done next, in this order: everything is sent, then everything is told, then there is time to wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send this datagram, then poll again.
    Transmit(Transmit),
    /// Something happened; poll again.
    Event(Event),
    /// Nothing more at present. Poll again after the next input, or when this moment has come; `None`: only after an input or a command.
    Wait(Option<Instant>),
}

/// A datagram to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// The gateway.
    pub to: SocketAddrV4,
    /// The packet.
    pub payload: Encoded,
    /// How often this request was sent before in the present run of its schedule: 0 for the first time.
    pub resends: u8,
}

/// Outputs.
impl<const N: usize> Client<N> {
    /// The next thing to do at `now`: lets time come to `now` first, then drains what is to be sent, then what is to be told.
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

    /// The next thing to tell, if there is any.
    #[must_use]
    pub fn poll_event(&mut self) -> Option<Event> {
        if core::mem::take(&mut self.gateway_news) {
            return Some(Event::GatewayChanged(self.gateway));
        }
        if core::mem::take(&mut self.restart_news) {
            return Some(Event::GatewayRestarted);
        }
        let quiet_until = self.quiet_until;
        let told = self
            .slots
            .iter_mut()
            .enumerate()
            .find_map(|(index, slot)| slot.take_event(quiet_until).map(|event| (index, slot.has_ended(), event)));
        if let Some((index, has_ended, event)) = told {
            if has_ended && index < self.slots.len() {
                self.slots.swap_remove(index);
            }
            return Some(event);
        }
        for protocol in Protocol::ALL {
            let unmap_all = self.unmap_all_mut(protocol);
            if let UnmapAll::Done(result) = *unmap_all {
                *unmap_all = UnmapAll::Idle;
                return Some(Event::UnmappedAll { protocol, result });
            }
        }
        self.external.news.take().map(Event::ExternalAddress)
    }

    /// When [`handle_timeout`](Self::handle_timeout) and [`poll_transmit`](Self::poll_transmit) have something to do next;
    /// `None` if nothing will happen by itself. It may lie in the past: then they have something to do now.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let request = match self.in_flight {
            Some(exchange) => Some(exchange.deadline),
            None => self.agenda().map(|(due, _)| due),
        };
        self.earliest(request)
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
        let resends = exchange.send(now, self.schedule(ask));
        self.in_flight = Some(exchange);
        let resends = resends.ok_or(Some(exchange.deadline))?;
        if ask == Ask::ExternalAddress {
            self.question_from = now + QUESTION_PAUSE;
        }
        let payload = self.request(ask).ok_or(Some(exchange.deadline))?.encode();
        Ok(Transmit { to: self.gateway, payload, resends })
    }

    /// What comes first: the next request, or the end of a lease.
    fn earliest(&self, request_due: Option<Instant>) -> Option<Instant> {
        let ends = self.slots.iter().filter_map(|slot| slot.ends_at());
        ends.chain(request_due).min()
    }

    /// What to ask next, and when. Deletions wait for nothing, and a question that checks an announcement waits for its
    /// turn only; all else waits for the end of the pause. Of what the pause held up, that which was due first goes first.
    fn agenda(&self) -> Option<(Instant, Ask)> {
        // Plain loops: with many slots this is most of what a step costs.
        let mut next: Option<(Instant, Instant, Ask)> = None;
        let mut consider = |due: Instant, was_due: Instant, ask: Ask| {
            if next.is_none_or(|(earliest, was_earliest, _)| (due, was_due) < (earliest, was_earliest)) {
                next = Some((due, was_due, ask));
            }
        };
        for protocol in Protocol::ALL {
            if self.unmap_all_of(protocol).is_wanted() {
                consider(Instant::ZERO, Instant::ZERO, Ask::UnmapAll(protocol));
            }
        }
        for slot in &self.slots {
            if matches!(slot.life, Life::Closing { with_all: false, .. }) {
                consider(Instant::ZERO, Instant::ZERO, Ask::Unmap(slot.key));
            }
        }
        if self.question {
            consider(self.question_from, self.question_from, Ask::ExternalAddress);
        }
        let asked = self.external.is_asked.then_some(Instant::ZERO);
        let watched = self.external.is_watched.then_some(self.external.ask_at);
        if let Some(due) = asked.or(watched) {
            consider(due.max(self.quiet_until), due, Ask::ExternalAddress);
        }
        for slot in &self.slots {
            if let Some(due) = slot.due() {
                consider(due.max(self.quiet_until), due, Ask::Map(slot.key));
            }
        }
        next.map(|(due, _, ask)| (due, ask))
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

/// Announcements are checked by one question in this time.
const QUESTION_PAUSE: Duration = Duration::from_secs(1);
