use core::net::Ipv4Addr;

use super::bytes::word;
use super::{DecodeError, Encoded, OPCODE_EXTERNAL_ADDRESS, PCP_VERSION, Protocol, RESPONSE_BIT, Refusal, VERSION};

/// What a gateway answers or announces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Response {
    /// The external address (section 3.2), as an answer or as an announcement (section 3.2.1): 12 bytes.
    ExternalAddress {
        /// Seconds since the gateway's table was last empty by accident (section 3.6).
        epoch: u32,
        /// The gateway's external address.
        #[cfg_attr(feature = "defmt", defmt(Debug2Format))]
        address: Ipv4Addr,
    },
    /// A mapping was made or renewed, or deleted if the lifetime is 0 (sections 3.3 and 3.4): 16 bytes.
    Map {
        /// Of the traffic mapped.
        protocol: Protocol,
        /// Seconds since the gateway's table was last empty by accident (section 3.6).
        epoch: u32,
        /// The client's own port, as requested.
        internal_port: u16,
        /// The port on the gateway; 0 after a deletion.
        external_port: u16,
        /// The lifetime granted, in seconds; 0 after a deletion.
        lifetime: u32,
    },
    /// A result other than 0 (section 3.5), for any request.
    Failure(Failure),
    /// A result of 0 for an opcode that NAT-PMP does not define.
    UnknownSuccess {
        /// The opcode of the request, 3 to 127.
        opcode: u8,
    },
}

/// An answer with a result other than 0 (section 3.5).
///
/// Gateways send it in many lengths; 4 bytes are enough to be understood. All but the fields here is ignored: address,
/// external port and lifetime mean nothing in a failure (sections 3.2 and 3.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Failure {
    /// The opcode of the request, 0 to 127. An unsupported version is answered with 0, whatever was asked (erratum 3618).
    pub opcode: u8,
    /// What the gateway said.
    pub refusal: Refusal,
    /// What it said besides, if the answer was long enough. Never there with an unsupported opcode: that answer is
    /// the request sent back, and has other fields in these places.
    pub detail: Option<FailureDetail>,
}

/// The rest of a [`Failure`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct FailureDetail {
    /// Seconds since the gateway's table was last empty by accident (section 3.6).
    pub epoch: u32,
    /// The internal port of the mapping request that failed, if the answer was long enough.
    pub internal_port: Option<u16>,
}

impl Response {
    /// The packet's bytes, in the form that the RFC gives it: 12 bytes for an external address, 16 for a mapping, 8 for
    /// an unsupported version; a failure without detail has 4.
    #[must_use]
    pub fn encode(&self) -> Encoded {
        match *self {
            Self::ExternalAddress { epoch, address } => {
                let header = header(OPCODE_EXTERNAL_ADDRESS, SUCCESS);
                Encoded::new([header, epoch, address.to_bits(), 0], EXTERNAL_ADDRESS_LENGTH)
            }
            Self::Map { protocol, epoch, internal_port, external_port, lifetime } => {
                let header = header(protocol.opcode(), SUCCESS);
                Encoded::new([header, epoch, word(internal_port, external_port), lifetime], MAP_LENGTH)
            }
            Self::Failure(failure) => failure.encode(),
            Self::UnknownSuccess { opcode } => Encoded::new([header(opcode, SUCCESS), 0, 0, 0], RESULT_LENGTH),
        }
    }

    /// Reads a response or an announcement as a client receives it.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] if a success is shorter than its form, or a failure too short for a result;
    /// [`DecodeError::NotAResponse`], [`DecodeError::Pcp`] and [`DecodeError::OtherVersion`].
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let truncated = |needed: u8| DecodeError::Truncated { length: bytes.len(), needed: needed.into() };
        let &[version, opcode, ref rest @ ..] = bytes else { return Err(truncated(RESULT_LENGTH)) };
        let result = half(rest);
        match version {
            VERSION => {}
            PCP_VERSION => {
                let result = result.map(|bytes| bytes.to_be_bytes()[1]);
                return Err(DecodeError::Pcp { opcode, result });
            }
            _ => return Err(DecodeError::OtherVersion { version, opcode }),
        }
        if is_old_version_error(bytes) {
            return Ok(Failure::decode(OPCODE_EXTERNAL_ADDRESS, Refusal::UnsupportedVersion, bytes));
        }
        if opcode & RESPONSE_BIT == 0 {
            return Err(DecodeError::NotAResponse { opcode });
        }
        let opcode = opcode & !RESPONSE_BIT;
        if let Some(refusal) = Refusal::from_code(result.ok_or(truncated(RESULT_LENGTH))?) {
            return Ok(Failure::decode(opcode, refusal, bytes));
        }
        if opcode == OPCODE_EXTERNAL_ADDRESS {
            return Self::decode_external_address(bytes).ok_or(truncated(EXTERNAL_ADDRESS_LENGTH));
        }
        match Protocol::from_opcode(opcode) {
            Some(protocol) => Self::decode_map(protocol, bytes).ok_or(truncated(MAP_LENGTH)),
            None => Ok(Self::UnknownSuccess { opcode }),
        }
    }

    /// The epoch, if the packet carries one (section 3.6).
    #[must_use]
    pub const fn epoch(&self) -> Option<u32> {
        match self {
            Self::ExternalAddress { epoch, .. } | Self::Map { epoch, .. } => Some(*epoch),
            Self::Failure(Failure { detail: Some(detail), .. }) => Some(detail.epoch),
            Self::Failure(_) | Self::UnknownSuccess { .. } => None,
        }
    }

    fn decode_external_address(bytes: &[u8]) -> Option<Self> {
        let &[_, _, _, _, e0, e1, e2, e3, a0, a1, a2, a3] = bytes.first_chunk()?;
        Some(Self::ExternalAddress {
            epoch: u32::from_be_bytes([e0, e1, e2, e3]),
            address: Ipv4Addr::new(a0, a1, a2, a3),
        })
    }

    fn decode_map(protocol: Protocol, bytes: &[u8]) -> Option<Self> {
        let &[_, _, _, _, e0, e1, e2, e3, i0, i1, p0, p1, l0, l1, l2, l3] = bytes.first_chunk()?;
        Some(Self::Map {
            protocol,
            epoch: u32::from_be_bytes([e0, e1, e2, e3]),
            internal_port: u16::from_be_bytes([i0, i1]),
            external_port: u16::from_be_bytes([p0, p1]),
            lifetime: u32::from_be_bytes([l0, l1, l2, l3]),
        })
    }
}

impl Failure {
    fn encode(self) -> Encoded {
        let header = header(self.opcode, self.refusal.code());
        let Some(FailureDetail { epoch, internal_port }) = self.detail else {
            return Encoded::new([header, 0, 0, 0], RESULT_LENGTH);
        };
        // Section 3.3: the external port and the lifetime are 0. Section 3.2: the address is 0.0.0.0.
        let length = match internal_port {
            Some(_) => MAP_LENGTH,
            None if self.opcode == OPCODE_EXTERNAL_ADDRESS && self.refusal != Refusal::UnsupportedVersion => {
                EXTERNAL_ADDRESS_LENGTH
            }
            // An unsupported version has no address (section 3.5).
            None => EPOCH_LENGTH,
        };
        Encoded::new([header, epoch, word(internal_port.unwrap_or(0), 0), 0], length)
    }

    fn decode(opcode: u8, refusal: Refusal, bytes: &[u8]) -> Response {
        // An unsupported opcode comes back as the request itself, with other fields where the epoch would be.
        let detail = match *bytes {
            [_, _, _, _, e0, e1, e2, e3, ref rest @ ..] if refusal != Refusal::UnsupportedOpcode => {
                let internal_port = Protocol::from_opcode(opcode).and_then(|_| half(rest));
                Some(FailureDetail { epoch: u32::from_be_bytes([e0, e1, e2, e3]), internal_port })
            }
            _ => None,
        };
        Response::Failure(Self { opcode, refusal, detail })
    }
}

/// The answer to a request whose opcode is not defined (3 to 127): the whole request, with the top bit of its opcode set
/// and result 5 in bytes 2 and 3 (section 3.5), written to the front of `buffer`.
///
/// `None` if it is no such request, if the request is too short for a result (under 4 bytes), or if the buffer is too
/// short for the request.
#[must_use]
pub fn encode_unsupported_opcode<'b>(request: &[u8], buffer: &'b mut [u8]) -> Option<&'b [u8]> {
    let [VERSION, opcode @ 3..=127, _, _, rest @ ..] = request else { return None };
    let answer = buffer.get_mut(..request.len())?;
    let (head, tail) = answer.split_first_chunk_mut()?;
    let [high, low] = Refusal::UnsupportedOpcode.code().to_be_bytes();
    *head = [VERSION, opcode | RESPONSE_BIT, high, low];
    for (to, from) in tail.iter_mut().zip(rest) {
        *to = *from;
    }
    Some(answer)
}

fn header(opcode: u8, result: u16) -> u32 {
    word(u16::from_be_bytes([VERSION, opcode | RESPONSE_BIT]), result)
}

/// The 16 bits at the front.
fn half(bytes: &[u8]) -> Option<u16> {
    bytes.first_chunk().map(|&half| u16::from_be_bytes(half))
}

/// Erratum 3618: old gateways answer another version with opcode 0 where 128 is meant. Eight bytes tell it from a request.
fn is_old_version_error(bytes: &[u8]) -> bool {
    matches!(bytes, [VERSION, OPCODE_EXTERNAL_ADDRESS, 0, 1, _, _, _, _, ..])
}

const SUCCESS: u16 = 0;
const RESULT_LENGTH: u8 = 4;
const EPOCH_LENGTH: u8 = 8;
const EXTERNAL_ADDRESS_LENGTH: u8 = 12;
const MAP_LENGTH: u8 = 16;
