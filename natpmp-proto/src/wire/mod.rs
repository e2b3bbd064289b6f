//! The packets of NAT-PMP, both directions, both ways: values from bytes and bytes from values.
//!
//! | packet | bytes | RFC 6886 | here |
//! | --- | --- | --- | --- |
//! | external address request | 2 | 3.2 | [`Request::ExternalAddress`] |
//! | external address response, announcement | 12 | 3.2, 3.2.1 | [`Response::ExternalAddress`] |
//! | mapping request, deletion | 12 | 3.3, 3.4 | [`Request::Map`] |
//! | mapping response | 16 | 3.3, 3.4 | [`Response::Map`] |
//! | any answer with a result other than 0 | 4 and more | 3.5 | [`Response::Failure`] |
//! | unsupported opcode | as the request | 3.5 | [`encode_unsupported_opcode`] |
//!
//! Nothing here panics, whatever the bytes. A packet longer than its form is read as its form; the rest is ignored.
//! Packets of PCP (version 2, on the same ports) are recognised and not parsed.
//!
//! ```
//! use natpmp_proto::wire::{Protocol, Request, Response};
//!
//! let request = Request::Map {
//!     protocol: Protocol::Udp,
//!     internal_port: 4000,
//!     suggested_external_port: 0,
//!     lifetime: 120,
//! };
//! assert_eq!(&request.encode()[..], [0, 1, 0, 0, 0x0f, 0xa0, 0, 0, 0, 0, 0, 120]);
//!
//! let answer = [0, 129, 0, 0, 0, 0, 0, 9, 0x0f, 0xa0, 0x0f, 0xa0, 0, 0, 0, 120];
//! assert_eq!(
//!     Response::decode(&answer),
//!     Ok(Response::Map { protocol: Protocol::Udp, epoch: 9, internal_port: 4000, external_port: 4000, lifetime: 120 })
//! );
//! ```

mod bytes;
mod error;
mod refusal;
mod request;
mod response;

pub use bytes::Encoded;
pub use error::DecodeError;
pub use refusal::Refusal;
pub use request::Request;
pub use response::{Failure, FailureDetail, Response, encode_unsupported_opcode};

/// UDP port of a gateway: requests go there (section 3.1).
pub const GATEWAY_PORT: u16 = 5351;

/// UDP port of a client: announcements come there (section 3.2.1).
pub const ANNOUNCEMENT_PORT: u16 = 5350;

/// The group that announcements are sent to: all hosts of the link (section 3.2.1).
pub const ANNOUNCEMENT_GROUP: core::net::Ipv4Addr = core::net::Ipv4Addr::new(224, 0, 0, 1);

/// The protocol of a mapping. UDP and TCP are mapped apart (section 3.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "lowercase"))]
pub enum Protocol {
    /// UDP, opcode 1.
    Udp,
    /// TCP, opcode 2.
    Tcp,
}

impl Protocol {
    /// Both, in the order of their opcodes.
    pub const ALL: [Self; 2] = [Self::Udp, Self::Tcp];

    /// The opcode of a mapping request for this protocol (section 3.3).
    #[must_use]
    pub const fn opcode(self) -> u8 {
        match self {
            Self::Udp => 1,
            Self::Tcp => 2,
        }
    }

    const fn from_opcode(opcode: u8) -> Option<Self> {
        match opcode {
            1 => Some(Self::Udp),
            2 => Some(Self::Tcp),
            _ => None,
        }
    }
}

/// `udp` or `tcp`.
impl core::fmt::Display for Protocol {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.pad(match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
        })
    }
}

const VERSION: u8 = 0;
const PCP_VERSION: u8 = 2;
const OPCODE_EXTERNAL_ADDRESS: u8 = 0;
const RESPONSE_BIT: u8 = 0x80;

#[cfg(test)]
mod tests;
