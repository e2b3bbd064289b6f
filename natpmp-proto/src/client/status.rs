//! Getters, and the state of a mapping as users see it.

use core::net::SocketAddrV4;

use super::Client;
use super::ask::Key;
use super::event::Error;
use super::slot::{Hold, Life, Slot};
use crate::mapping::Mapping;
use crate::time::Instant;
use crate::wire::Protocol;

/// A mapping as the machine holds it at present.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub struct MappingStatus {
    /// Of the mapping.
    pub protocol: Protocol,
    /// Of the mapping.
    pub internal_port: u16,
    /// Whether it is kept, or was asked for once.
    pub is_kept: bool,
    /// Where it stands.
    pub state: MappingState,
    /// Why the last attempt failed; `None` once one has succeeded.
    pub last_error: Option<Error>,
}

/// Where a mapping stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum MappingState {
    /// Not open; it is asked for at `next_attempt` or soon after.
    Closed {
        /// When it is asked for next.
        next_attempt: Instant,
    },
    /// Open, by the gateway's word.
    Open {
        /// The mapping.
        mapping: Mapping,
        /// When its lease ends unless it is renewed.
        expires: Instant,
        /// When it is renewed; `None` for a mapping held once.
        renewal: Option<Instant>,
    },
    /// Being deleted.
    Closing,
    /// Over; the event that says so waits to be polled.
    Ended,
}

/// Getters.
impl<const N: usize> Client<N> {
    /// The gateway's address and port.
    #[must_use]
    pub const fn gateway(&self) -> SocketAddrV4 {
        self.gateway
    }

    /// A mapping by what it is known by; `None` if the machine does not hold it.
    #[must_use]
    pub fn mapping(&self, protocol: Protocol, internal_port: u16) -> Option<MappingStatus> {
        let key = Key { protocol, internal_port };
        self.slot(key).map(|slot| slot.status(self.quiet_until))
    }

    /// All mappings that the machine holds, in no particular order.
    pub fn mappings(&self) -> impl Iterator<Item = MappingStatus> {
        self.slots.iter().map(|slot| slot.status(self.quiet_until))
    }

    /// How many mappings it can hold: `N`.
    #[must_use]
    pub const fn capacity(&self) -> usize {
        N
    }
}

impl Slot {
    fn status(&self, quiet_until: Instant) -> MappingStatus {
        MappingStatus {
            protocol: self.key.protocol,
            internal_port: self.key.internal_port,
            is_kept: self.hold == Hold::Kept,
            state: self.state(quiet_until),
            last_error: self.error,
        }
    }

    fn state(&self, quiet_until: Instant) -> MappingState {
        match (self.life, self.mapping()) {
            (Life::Open { .. }, Some(mapping)) => {
                let expires = self.ends;
                let renewal = self.due().map(|due| due.max(quiet_until));
                MappingState::Open { mapping, expires, renewal }
            }
            (Life::Closed(_), _) => MappingState::Closed { next_attempt: self.due.max(quiet_until) },
            (Life::Closing(_), _) => MappingState::Closing,
            (Life::Ended(_) | Life::Open { .. }, _) => MappingState::Ended,
        }
    }
}
