//! Deletions (section 3.4): of one mapping, by a request of its own, and of all mappings of a protocol, by one request.
//!
//! *Delete all* is here from the command to its event. [`Client::unmap_all`] and [`Client::clear`] begin it in [`UnmapAll`];
//! [`Client::next_unmap_all`] has it sent before all else; the gateway's answer or its silence ends it in
//! [`UnmapAll::Done`], and with it the mappings that wait in [`Deletion::WithAll`]; [`Client::take_unmapped_all`] reports it.
//! What one mapping goes through is in `Slot::unmap` and `Slot::unmapped`.

use super::Client;
use super::event::{Event, MapError, RequestError};
use super::exchange::{Ask, Key};
use super::slot::{Deletion, Life};
use crate::time::Instant;
use crate::wire::Protocol;

/// The deletion of all mappings of one protocol. While it is to be sent its deadline is now, and once it is in flight that of the
/// exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UnmapAll {
    /// Nobody wants it. It has no deadline.
    Idle,
    /// The schedule says when it is sent. Deadline: now, then `Exchange::deadline`.
    BySchedule,
    /// It is sent once and given up, since the gateway does not answer or the caller has no time. Deadline: as in `BySchedule`.
    LastTry,
    /// It is sent once, and its silence is no verdict on the gateway. Deadline: as in `BySchedule`.
    Clearing,
    /// It has ended so. It has no deadline: the next poll reports it.
    Done(Result<(), RequestError>),
}

/// Commands.
impl<const N: usize> Client<N> {
    /// Deletes a mapping, whether this machine made it or not. The answer comes as [`Event::Ended`].
    ///
    /// A mapping with internal port 0 is forgotten and left to lapse ([`Ending::LeftToLapse`](super::Ending::LeftToLapse)), since its deletion would
    /// delete all mappings.
    ///
    /// # Errors
    /// [`MapError::TableFull`] if the machine does not hold the mapping, and has no slot free to pursue its deletion.
    pub fn unmap(&mut self, now: Instant, protocol: Protocol, internal_port: u16) -> Result<(), MapError> {
        let key = Key { protocol, internal_port };
        let is_unknown = self.slot(key).is_none();
        if is_unknown {
            self.push(key, now)?;
        }
        if let Some(slot) = self.slot_mut(key) {
            slot.is_unanswered |= is_unknown;
            slot.unmap(now, Deletion::BySchedule);
        }
        self.drop_exchange(Ask::Map(key));
        self.preempt_for_deletion();
        self.wake(now);
        Ok(())
    }

    /// Deletes **all** mappings of `protocol` that the gateway has for this host, those of other programs too (section
    /// 3.4). The answer comes as [`Event::UnmappedAll`], and as [`Event::Ended`] for each mapping held here.
    ///
    /// Some gateways delete the other protocol's mappings as well: those that are kept here are renewed at once.
    pub fn unmap_all(&mut self, now: Instant, protocol: Protocol) {
        for slot in self.slots.iter_mut().filter(|slot| slot.key.protocol == protocol) {
            slot.unmap(now, Deletion::WithAll);
        }
        let asked = self.in_flight.and_then(|exchange| exchange.ask.key());
        if asked.is_some_and(|key| key.protocol == protocol) {
            self.in_flight = None;
        }
        *self.unmap_all_mut(protocol) = UnmapAll::BySchedule;
        self.preempt_for_deletion();
        self.wake(now);
    }

    /// Deletes **all** mappings of both protocols that the gateway has for this host, those of other programs too, and makes anew
    /// what is kept here: for a host that has taken a new address, whose earlier holder may have left some (section 3.4).
    /// What is held once and open ends. The answers come as [`Event::UnmappedAll`].
    ///
    /// Each deletion is sent once, and its silence is no verdict: what is kept does not wait for it.
    pub fn clear(&mut self, now: Instant) {
        self.unmap_all = [UnmapAll::Clearing; 2];
        self.preempt_for_deletion();
        self.wake(now);
    }

    /// Sends every deletion that the gateway has not answered once more, one after the other, and gives each up if its answer
    /// does not come within the first wait of the schedule: for a caller that has not much time left.
    pub fn hasten_deletions(&mut self, now: Instant) {
        for slot in &mut self.slots {
            slot.shorten_deletion();
        }
        for protocol in Protocol::ALL {
            self.unmap_all_mut(protocol).shorten();
        }
        self.in_flight = None;
        self.wake(now);
    }
}

/// What inputs and outputs do about deletions.
impl<const N: usize> Client<N> {
    /// The deletion of all mappings that is to be sent, if there is one.
    pub(super) fn next_unmap_all(&self) -> Option<Ask> {
        Protocol::ALL.into_iter().find(|&protocol| self.unmap_all_of(protocol).is_wanted()).map(Ask::UnmapAll)
    }

    /// Whether it is a deletion that is sent once, and given up after the first wait.
    pub(super) fn is_sent_once(&self, ask: Ask) -> bool {
        match ask {
            Ask::Unmap(key) => self.slot(key).is_some_and(|slot| slot.life == Life::Closing(Deletion::LastTry)),
            Ask::UnmapAll(protocol) => {
                matches!(self.unmap_all_of(protocol), UnmapAll::LastTry | UnmapAll::Clearing)
            }
            Ask::ExternalAddress | Ask::Map(_) => false,
        }
    }

    /// Whether it is a deletion whose silence is no verdict on the gateway.
    pub(super) fn is_clearing(&self, ask: Ask) -> bool {
        matches!(ask, Ask::UnmapAll(protocol) if self.unmap_all_of(protocol) == UnmapAll::Clearing)
    }

    /// Takes the gateway's answer to the deletion of all mappings of a protocol.
    pub(super) fn finish_unmap_all(&mut self, now: Instant, protocol: Protocol, result: Result<(), RequestError>) {
        self.unmap_all_mut(protocol).end(result);
        for slot in &mut self.slots {
            let is_closed = match slot.life {
                Life::Closing(deletion) => deletion == Deletion::WithAll,
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

    /// Fails the deletion that was asked for, since the gateway cannot be asked anything at present. Others are sent once.
    pub(super) fn fail_unmap_all(&mut self, asked: Option<Ask>, error: RequestError) {
        for protocol in Protocol::ALL {
            let unmap_all = self.unmap_all_mut(protocol);
            if asked == Some(Ask::UnmapAll(protocol)) {
                unmap_all.end(Err(error));
            } else {
                unmap_all.shorten();
            }
        }
    }

    /// Fails every deletion of all mappings that the gateway has not answered.
    pub(super) fn end_unmap_all(&mut self, error: RequestError) {
        for unmap_all in &mut self.unmap_all {
            unmap_all.end(Err(error));
        }
    }

    /// The next event about the end of a deletion of all mappings, if there is one.
    pub(super) fn take_unmapped_all(&mut self) -> Option<Event> {
        for protocol in Protocol::ALL {
            let unmap_all = self.unmap_all_mut(protocol);
            if let UnmapAll::Done(result) = *unmap_all {
                *unmap_all = UnmapAll::Idle;
                return Some(Event::UnmappedAll { protocol, result });
            }
        }
        None
    }

    /// Drops the request in flight if it finds no answer and is no deletion, so that a deletion need not wait behind it. That
    /// request is asked again later.
    #[inline(never)]
    fn preempt_for_deletion(&mut self) {
        let is_deletion = |ask| matches!(ask, Ask::Unmap(_) | Ask::UnmapAll(_));
        if self.in_flight.is_some_and(|exchange| exchange.is_waiting_long() && !is_deletion(exchange.ask)) {
            self.in_flight = None;
        }
    }

    fn unmap_all_of(&self, protocol: Protocol) -> UnmapAll {
        let [udp, tcp] = self.unmap_all;
        if protocol == Protocol::Udp { udp } else { tcp }
    }

    fn unmap_all_mut(&mut self, protocol: Protocol) -> &mut UnmapAll {
        let [udp, tcp] = &mut self.unmap_all;
        match protocol {
            Protocol::Udp => udp,
            Protocol::Tcp => tcp,
        }
    }
}

impl UnmapAll {
    fn is_wanted(self) -> bool {
        matches!(self, Self::BySchedule | Self::LastTry | Self::Clearing)
    }

    fn end(&mut self, result: Result<(), RequestError>) {
        if self.is_wanted() {
            *self = Self::Done(result);
        }
    }

    /// Sends it once more only.
    fn shorten(&mut self) {
        if *self == Self::BySchedule {
            *self = Self::LastTry;
        }
    }
}
