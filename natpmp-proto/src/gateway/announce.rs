//! Announcements (section 3.2.1).

use core::net::SocketAddrV4;

use super::Gateway;
use crate::datagram::{Transmit, TransmitKind};
use crate::time::{Instant, Span};
use crate::wire::{ANNOUNCEMENT_GROUP, ANNOUNCEMENT_PORT, Response};

/// How far the present row of announcements has come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Announcing {
    sent: u8,
    next_at: Instant,
}

impl<const N: usize> Gateway<N> {
    /// The announcement that is due at `now`, if any: to be sent by multicast out of each internal interface.
    ///
    /// There are ten in a row, the first gap 250 ms and each next one doubled, after the boot, on getting or changing the
    /// external address, and on any loss of state (section 3.2.1).
    #[must_use]
    pub fn poll_transmit(&mut self, now: Instant) -> Option<Transmit> {
        if self.next_announcement()? > now {
            return None;
        }
        let address = self.external_address?;
        let Announcing { sent, next_at } = self.announcing?;
        let gap = Span::from_millis(FIRST_GAP_MS.saturating_mul(1u32.checked_shl(sent.into()).unwrap_or(u32::MAX)));
        let sent = sent.saturating_add(1);
        self.announcing = (sent < ANNOUNCEMENTS).then(|| Announcing {
            sent,
            // A driver that comes late does not make them a burst.
            next_at: next_at.max(now) + gap,
        });
        let payload = Response::ExternalAddress { epoch: self.epoch(now), address }.encode();
        let to = SocketAddrV4::new(ANNOUNCEMENT_GROUP, ANNOUNCEMENT_PORT);
        Some(Transmit { to, kind: TransmitKind::Announcement, payload })
    }

    /// Begins a row of announcements, the first at once.
    pub(super) fn announce(&mut self, now: Instant) {
        self.announcing = Some(Announcing { sent: 0, next_at: now });
    }

    /// When the next announcement is due; without an external address, or with NAT switched off, there is none.
    pub(super) fn next_announcement(&self) -> Option<Instant> {
        self.external_address?;
        self.announcing.filter(|_| self.is_on).map(|announcing| announcing.next_at)
    }
}

const ANNOUNCEMENTS: u8 = 10;
const FIRST_GAP_MS: u32 = 250;
