//! What callers see: events, the state of a mapping, and errors.

use core::fmt;
use core::net::{Ipv4Addr, SocketAddrV4};

use crate::mapping::Mapping;
use crate::time::Instant;
use crate::wire::{Protocol, Refusal};

/// What a client reports. Events are levels: what changed twice before it was polled is reported once, as it is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Event {
    /// A mapping that was not open is open: for the first time, or again.
    Mapped(Mapping),
    /// An open mapping was renewed, and has another external port now. That is no error: your peers have to know the new port.
    PortChanged {
        /// The mapping as it is now.
        mapping: Mapping,
        /// The external port that was reported before.
        previous_port: u16,
    },
    /// An open mapping was renewed on the port it had.
    Renewed(Mapping),
    /// An attempt to make or renew a mapping failed. A mapping that was open stays open until its lease ends.
    Failed {
        /// Of the mapping.
        protocol: Protocol,
        /// Of the mapping.
        internal_port: u16,
        /// Why.
        error: RequestError,
        /// When it is tried again; `None` for a mapping held once, which is not.
        retry_at: Option<Instant>,
    },
    /// A kept mapping is not open any more. It is asked for again.
    Lost {
        /// Of the mapping.
        protocol: Protocol,
        /// Of the mapping.
        internal_port: u16,
        /// The port that was open.
        external_port: u16,
        /// Why.
        cause: LossCause,
    },
    /// A mapping is over: the machine has forgotten it.
    Ended {
        /// Of the mapping.
        protocol: Protocol,
        /// Of the mapping.
        internal_port: u16,
        /// The port that it had last; 0 if it never had one.
        external_port: u16,
        /// How it ended.
        ending: Ending,
    },
    /// [`unmap_all`](super::Client::unmap_all) is done, or failed.
    UnmappedAll {
        /// Of the mappings.
        protocol: Protocol,
        /// Whether the gateway said yes.
        result: Result<(), RequestError>,
    },
    /// The answer to [`request_external_address`](super::Client::request_external_address), or a change while
    /// [`watch_external_address`](super::Client::watch_external_address) is on.
    /// [`AddressKind::of`](crate::AddressKind::of) says whether the internet can reach such an address.
    ExternalAddress(#[cfg_attr(feature = "defmt", defmt(Debug2Format))] Result<Ipv4Addr, RequestError>),
    /// The gateway lost its state (section 3.6). Every kept mapping is asked for again within some 5 s.
    GatewayRestarted,
    /// It is another gateway from now on, by [`set_gateway`](super::Client::set_gateway). Every kept mapping is asked for there.
    GatewayChanged(#[cfg_attr(feature = "defmt", defmt(Debug2Format))] SocketAddrV4),
}

impl Event {
    /// The protocol and internal port of the mapping that it is about, if it is about one.
    #[must_use]
    pub const fn mapping_key(&self) -> Option<(Protocol, u16)> {
        match *self {
            Self::Mapped(mapping) | Self::Renewed(mapping) | Self::PortChanged { mapping, .. } => {
                Some((mapping.protocol, mapping.internal_port))
            }
            Self::Failed { protocol, internal_port, .. }
            | Self::Lost { protocol, internal_port, .. }
            | Self::Ended { protocol, internal_port, .. } => Some((protocol, internal_port)),
            Self::UnmappedAll { .. } | Self::ExternalAddress(_) | Self::GatewayRestarted | Self::GatewayChanged(_) => {
                None
            }
        }
    }
}

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
    pub last_error: Option<RequestError>,
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

/// Why a kept mapping is not open any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum LossCause {
    /// Its lease ended and no renewal had got through.
    Expired,
    /// The gateway lost its state (section 3.6).
    GatewayRestarted,
    /// Another gateway was set.
    GatewayChanged,
    /// It was being deleted, and is wanted again.
    Unmapped,
}

/// How a mapping ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Ending {
    /// It was deleted, as asked: the gateway said so, or it had never been open.
    Unmapped,
    /// It was to be deleted, and its lease ended before the gateway answered.
    ExpiredUnmapping,
    /// It was to be deleted, and that failed: it stays open at the gateway until its lease ends.
    NotUnmapped(RequestError),
    /// It has internal port 0, whose deletion would delete all mappings: it is forgotten here and lapses by itself.
    LeftToLapse,
    /// It was held once, and could not be made.
    NotMapped(RequestError),
    /// It was held once, and its lease ended.
    Expired,
    /// It was held once, and the gateway lost its state (section 3.6).
    GatewayRestarted,
    /// It was held once, and another gateway was set.
    GatewayChanged,
}

/// Why something asked of the gateway was not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum RequestError {
    /// No answer to any of the sends of the schedule: the gateway is away, or does not speak NAT-PMP (section 3.1).
    NoAnswer,
    /// The gateway has nothing on that port (ICMP port unreachable): it does not speak NAT-PMP, or not at present.
    PortUnreachable,
    /// The request could not be sent: no route, no link, no address. The trouble is on this side.
    NetworkDown,
    /// The gateway said no.
    Refused(Refusal),
    /// The gateway said yes to a lifetime of 0 or a port of 0, which is no mapping.
    GrantedNothing,
    /// Another gateway was set before this one answered.
    GatewayChanged,
}

impl RequestError {
    /// Whether this is what a gateway without NAT-PMP looks like (section 3.8): a caller may go on without NAT.
    #[must_use]
    pub const fn is_unsupported(self) -> bool {
        matches!(
            self,
            Self::NoAnswer
                | Self::PortUnreachable
                | Self::Refused(Refusal::UnsupportedVersion | Refusal::UnsupportedOpcode)
        )
    }
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoAnswer => f.write_str("the gateway does not answer"),
            Self::PortUnreachable => f.write_str("the gateway has nothing on its NAT-PMP port (port unreachable)"),
            Self::NetworkDown => f.write_str("the network is down or unreachable on this side"),
            Self::Refused(refusal) => write!(f, "the gateway refused: {refusal}"),
            Self::GrantedNothing => f.write_str("the gateway granted nothing (lifetime 0 or port 0)"),
            Self::GatewayChanged => f.write_str("another gateway was set before this one answered"),
        }
    }
}

impl core::error::Error for RequestError {}

/// Why a mapping was not taken on. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum MapError {
    /// All slots are taken.
    TableFull {
        /// How many there are.
        capacity: usize,
    },
    /// A lifetime of 0 s would delete the mapping.
    ZeroLifetime,
    /// A refresh interval of 0 s would never pause.
    ZeroRefreshInterval,
}

impl fmt::Display for MapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TableFull { capacity } => {
                write!(
                    f,
                    "all {capacity} mappings that this client can hold are taken: unmap one, or use a larger client"
                )
            }
            Self::ZeroLifetime => f.write_str("a lifetime of 0 s deletes a mapping: ask for 1 s or more, or unmap"),
            Self::ZeroRefreshInterval => f.write_str("a refresh interval of 0 s: give 1 s or more, or none"),
        }
    }
}

impl core::error::Error for MapError {}

/// What an accepted datagram was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Received {
    /// The answer to the request in flight.
    Answer,
    /// An announcement of the gateway (section 3.2.1). It is not believed but checked: if it says anything new, the gateway is asked.
    Announcement {
        /// Seconds since the gateway's table was last empty by accident, as announced.
        epoch: u32,
        /// The external address, as announced.
        #[cfg_attr(feature = "defmt", defmt(Debug2Format))]
        address: Ipv4Addr,
    },
    /// A PCP announcement from the gateway's address: some gateways report a restart in no other way.
    PcpAnnouncement,
}
