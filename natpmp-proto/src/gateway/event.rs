//! What a gateway reports, and what it asks of its NAT.

use core::fmt;
use core::net::{Ipv4Addr, SocketAddrV4};

use crate::time::Instant;
use crate::wire::{Protocol, Refusal};

/// What happened, for a log or to keep a copy of the table. No more than 8 events wait to be polled; the oldest go first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A mapping is open.
    Opened(Mapping),
    /// The lease of an open mapping began anew.
    Renewed(Mapping),
    /// A mapping is gone.
    Closed {
        /// As it was.
        mapping: Mapping,
        /// Why.
        cause: CloseCause,
    },
    /// A request was refused.
    Refused {
        /// Who asked.
        client: Ipv4Addr,
        /// For which protocol.
        protocol: Protocol,
        /// For which port of its own.
        internal_port: u16,
        /// The result in its answer.
        refusal: Refusal,
    },
    /// Events were lost, since nobody polled them.
    Missed,
}

/// Why a mapping is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum CloseCause {
    /// It was deleted by its client, or its lease ended, or the table was cleared.
    Removed,
    /// The NAT did not take it on, or lost it.
    NatFailed,
}

/// A mapping in the gateway's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Mapping {
    /// The mapping.
    pub mapping: NatMapping,
    /// When its lease ends; `None` if the administrator made it.
    pub expires: Option<Instant>,
}

/// A mapping as the NAT is to have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(align(4))] // is moved by words
pub struct NatMapping {
    /// Of the traffic mapped.
    pub protocol: Protocol,
    /// Where it goes: the client's address and its own port.
    pub internal: SocketAddrV4,
    /// Where it comes in: the port on the gateway's external address.
    pub external_port: u16,
}

/// What the NAT is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NatRequest {
    /// Take on this mapping. It may have it already, from before a change of the external address: then it is to be
    /// brought up to date.
    Install(NatMapping),
    /// Drop this mapping and all connections on it.
    Remove(NatMapping),
}

impl NatRequest {
    /// The mapping that it is about.
    #[must_use]
    pub const fn mapping(&self) -> &NatMapping {
        match self {
            Self::Install(mapping) | Self::Remove(mapping) => mapping,
        }
    }
}

/// Why the NAT did not do what was requested.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum NatFailure {
    /// It does not work at present: the client gets result 3.
    Network,
    /// It has no room for another mapping: the client gets result 4.
    Resources,
}

impl fmt::Display for NatFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Network => "the NAT does not work at present",
            Self::Resources => "the NAT has no room for another mapping",
        })
    }
}
