//! What both machines have in common at the edge: a datagram that goes out, and why one that came in was dropped.

use core::net::SocketAddrV4;

use crate::wire::{DecodeError, Encoded, encode_unsupported_opcode};

/// A datagram to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// Where it goes.
    pub to: SocketAddrV4,
    /// What it is, and through which socket it goes.
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

    /// Writes the whole datagram to the front of `buffer`, and returns it; `None` if the buffer is too small. One of 16 bytes or of
    /// the request's size is large enough.
    ///
    /// Only a [`TransmitKind::Echo`] needs this, and `request`, which is the datagram that the gateway was given last: it sends that
    /// back, and nothing if it is another one. All others are their payload, which can be sent from where it is.
    #[must_use]
    pub fn write<'b>(&self, request: &[u8], buffer: &'b mut [u8]) -> Option<&'b [u8]> {
        if matches!(self.kind, TransmitKind::Echo { .. }) {
            return encode_unsupported_opcode(request, buffer);
        }
        let (front, _) = buffer.split_at_mut_checked(self.payload.len())?;
        for (to, from) in front.iter_mut().zip(self.payload.iter()) {
            *to = *from;
        }
        Some(front)
    }
}

/// What a datagram to be sent is, and through which socket it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum TransmitKind {
    /// A client's request, to its gateway, through the socket that receives the answers.
    Request {
        /// How often it was sent before in the present run of its schedule: 0 for the first time.
        resends: u8,
    },
    /// A gateway's answer, to the client that asked.
    Answer {
        /// The socket that the request came in by.
        socket: SocketId,
    },
    /// A gateway's answer to an opcode that is not defined: the whole request comes back (section 3.5), too long for a machine
    /// to hold. The payload is its first 4 bytes; [`Transmit::write`] adds the others. Whoever sends the payload alone is
    /// understood as well.
    Echo {
        /// The socket that the request came in by.
        socket: SocketId,
    },
    /// A gateway's announcement, to 224.0.0.1 port 5350 (section 3.2.1), through every socket: send it out of each internal
    /// interface.
    Announcement,
}

/// A socket of a gateway, as the caller numbers them: one for each internal address. The machine stores the number with a request,
/// and says it with the answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct SocketId(pub u16);

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
    /// Gateway: the answer to an earlier datagram still waits to be polled. Poll after each datagram, until there is nothing to
    /// send.
    AnswerNotPolled,
}
