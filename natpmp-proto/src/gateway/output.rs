//! Outputs: what to send, what the NAT is to do, what happened, and when to come back.

use core::net::SocketAddrV4;

use super::event::{Event, NatRequest};
use super::table::Phase;
use super::{Gateway, nat_mapping};
use crate::datagram::{Transmit, TransmitKind};
use crate::time::{Instant, Span};
use crate::wire::{ANNOUNCEMENT_GROUP, ANNOUNCEMENT_PORT, Response};

/// What is to be done next, in this order: everything is sent, then the NAT is asked for everything, then everything that
/// happened is reported, then there is time to wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send this datagram, through the socket that its kind names; then poll again.
    Transmit(Transmit),
    /// Have the NAT do this, and pass the outcome to [`handle_nat`](Gateway::handle_nat): at once, or when there is one. Then
    /// poll again.
    Nat(NatRequest),
    /// Something happened; poll again.
    Event(Event),
    /// Nothing more at present. Poll again after the next input, or when this moment has come; `None`: only after an input or a
    /// command.
    Wait(Option<Instant>),
}

/// Whether the gateway speaks, and of what by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Service {
    /// NAT is switched off: nothing is answered or announced (section 3.8). No deadline.
    Off,
    /// Requests are answered; nothing is to be announced. No deadline.
    Answering,
    /// Requests are answered, and a row of announcements is under way (section 3.2.1). Deadline: `next_at`, which waits for an
    /// external address where there is none.
    Announcing {
        /// How many of the row were sent.
        sent: u8,
        next_at: Instant,
    },
}

/// Outputs.
impl<const N: usize> Gateway<N> {
    /// The next thing to do at `now`: lets time come to `now` first, then drains what is to be sent, then what the NAT is to do,
    /// then what happened.
    #[must_use]
    pub fn poll(&mut self, now: Instant) -> Output {
        self.handle_timeout(now);
        if let Some(transmit) = self.poll_transmit(now) {
            return Output::Transmit(transmit);
        }
        if let Some(request) = self.poll_nat() {
            return Output::Nat(request);
        }
        match self.poll_event() {
            Some(event) => Output::Event(event),
            None => Output::Wait(self.poll_timeout()),
        }
    }

    /// The answer that waits, or else the announcement that is due at `now`, if any. Once returned it counts as sent.
    ///
    /// There are ten announcements in a row, the first gap 250 ms and each next one doubled, after the boot, on getting or
    /// changing the external address, and on any loss of state (section 3.2.1).
    #[must_use]
    pub fn poll_transmit(&mut self, now: Instant) -> Option<Transmit> {
        if self.outgoing.is_none() && self.next_announcement().is_some_and(|at| at <= now) {
            self.put_announcement(now);
        }
        self.outgoing.take()
    }

    /// What the NAT is to do next, if there is anything. Its outcome goes to [`handle_nat`](Self::handle_nat); several may be
    /// under way at a time, and come back in any order.
    #[must_use]
    pub fn poll_nat(&mut self) -> Option<NatRequest> {
        let index = self.table.dequeue()?;
        let entry = self.table.get_mut(index)?;
        entry.phase = match entry.phase {
            Phase::ToRemove => Phase::Removing,
            Phase::ToUpdate => Phase::Updating,
            _ => Phase::Installing,
        };
        let entry = self.table.get(index)?;
        let mapping = nat_mapping(self.table.key_of(entry)?, entry);
        Some(if entry.phase == Phase::Removing { NatRequest::Remove(mapping) } else { NatRequest::Install(mapping) })
    }

    /// The next thing that happened, if there is any.
    #[must_use]
    #[inline(never)] // polled one by one and by `poll`, and firmware has more time than flash
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// When [`handle_timeout`](Self::handle_timeout) or [`poll_transmit`](Self::poll_transmit) have something to do next;
    /// `None` if nothing will happen by itself. It may lie in the past: then they have something to do now.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.outgoing.is_some() {
            return Some(Instant::ZERO);
        }
        let announcement = self.next_announcement();
        let Some((_, check)) = self.table.first_check() else { return announcement };
        let check = Instant::from_secs(check.into());
        Some(announcement.map_or(check, |announcement| check.min(announcement)))
    }
}

impl<const N: usize> Gateway<N> {
    /// Begins a row of announcements, the first at once. Switching NAT on begins one as well, so that none has to be remembered
    /// while it is off.
    pub(super) fn announce(&mut self, now: Instant) {
        if self.service != Service::Off {
            self.service = Service::Announcing { sent: 0, next_at: now };
        }
    }

    /// When the next announcement is due; without an external address there is none.
    pub(super) fn next_announcement(&self) -> Option<Instant> {
        match self.service {
            Service::Announcing { next_at, .. } if self.external_address.is_some() => Some(next_at),
            _ => None,
        }
    }

    #[inline(never)] // seldom due
    fn put_announcement(&mut self, now: Instant) {
        let Service::Announcing { sent, next_at } = self.service else { return };
        let Some(address) = self.external_address else { return };
        let gap = Span::from_millis(FIRST_GAP_MS.wrapping_shl(sent.into()));
        let sent = sent.saturating_add(1);
        self.service = if sent < ANNOUNCEMENTS {
            // A driver that comes late does not make them a burst.
            Service::Announcing { sent, next_at: next_at.max(now) + gap }
        } else {
            Service::Answering
        };
        let to = SocketAddrV4::new(ANNOUNCEMENT_GROUP, ANNOUNCEMENT_PORT);
        let response = Response::ExternalAddress { epoch: self.epoch(now), address };
        self.put(to, TransmitKind::Announcement, &response);
    }

    pub(super) fn push_event(&mut self, event: Event) {
        if self.events.is_full() {
            self.events.pop_front();
            if let Some(oldest) = self.events.front_mut() {
                *oldest = Event::Missed;
            }
        }
        // There is room now.
        let _ = self.events.push_back(event);
    }
}

pub(super) const MOST_EVENTS: usize = 8;
const ANNOUNCEMENTS: u8 = 10;
const FIRST_GAP_MS: u32 = 250;
