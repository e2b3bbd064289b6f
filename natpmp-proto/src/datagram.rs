//! What both machines have in common at the edge: a datagram that goes out, and why one that came in was dropped.

use core::net::SocketAddrV4;

use crate::wire::{DecodeError, Encoded};

/// A datagram to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// Where it goes.
    pub to: SocketAddrV4,
    /// What it is.
    pub kind: TransmitKind,
    /// The packet.
    pub payload: Encoded,
}

impl Transmit {
    /// How often this request was sent before in the present run of its schedule: 0 for the first time, and for what a
    /// gateway sends.
    #[must_use]
    pub const fn resends(&self) -> u8 {
        match self.kind {
            TransmitKind::Request { resends } => resends,
            _ => 0,
        }
    }
}

/// What a datagram to be sent is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum TransmitKind {
    /// A client's request, to its gateway.
    Request {
        /// How often it was sent before in the present run of its schedule: 0 for the first time.
        resends: u8,
    },
    /// A gateway's answer, to the client that asked.
    Answer,
    /// A gateway's announcement, to 224.0.0.1 port 5350 (section 3.2.1): send it out of each internal interface.
    Announcement,
}

/// Why a datagram was dropped. Dropping it changed nothing, extended no wait, and brings no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Discard {
    /// Client: it does not come from the gateway (sections 3.2, 3.3 and 3.2.1).
    NotFromGateway,
    /// Client: it answers no request that is in flight: late, repeated, or for another port.
    NotAwaited,
    /// Client: it is not a response or announcement of NAT-PMP. Gateway: it cannot be answered, because it is too short, a
    /// response (section 3.5), or an unknown opcode with less than the 4 bytes that a result takes.
    Undecodable(DecodeError),
    /// Gateway: NAT is switched off, and nothing is answered (section 3.8).
    SwitchedOff,
    /// Gateway: it comes from no address that a client can have: the external address, a group, or none (section 3.3).
    NotFromClient,
    /// Gateway: too many deletions of all mappings are under way; the client will ask again.
    Busy,
}
