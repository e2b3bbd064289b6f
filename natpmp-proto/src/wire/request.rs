use super::bytes::word;
use super::{DecodeError, Encoded, OPCODE_EXTERNAL_ADDRESS, PCP_VERSION, Protocol, RESPONSE_BIT, VERSION};

/// What a client asks of a gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Request {
    /// The external address (section 3.2): 2 bytes.
    ExternalAddress,
    /// A mapping, its renewal or its deletion (sections 3.3 and 3.4): 12 bytes.
    Map {
        /// Of the traffic to be mapped.
        protocol: Protocol,
        /// The client's own port. 0 in a deletion stands for all mappings of this protocol.
        internal_port: u16,
        /// The port wished for on the gateway; 0 for any, and in a deletion.
        suggested_external_port: u16,
        /// In seconds; 0 deletes.
        lifetime: u32,
    },
}

impl Request {
    /// The request that deletes a mapping: lifetime 0 and suggested external port 0 (section 3.4).
    /// With internal port 0 it deletes **all** mappings of this client and protocol.
    #[must_use]
    pub const fn delete(protocol: Protocol, internal_port: u16) -> Self {
        Self::Map { protocol, internal_port, suggested_external_port: 0, lifetime: 0 }
    }

    /// The opcode: 0, 1 or 2.
    #[must_use]
    pub const fn opcode(&self) -> u8 {
        match self {
            Self::ExternalAddress => OPCODE_EXTERNAL_ADDRESS,
            Self::Map { protocol, .. } => protocol.opcode(),
        }
    }

    /// The packet's bytes.
    #[must_use]
    pub fn encode(&self) -> Encoded {
        let header = word(u16::from_be_bytes([VERSION, self.opcode()]), RESERVED);
        match *self {
            Self::ExternalAddress => Encoded::new([header, 0, 0, 0], EXTERNAL_ADDRESS_LENGTH),
            Self::Map { internal_port, suggested_external_port, lifetime, .. } => {
                Encoded::new([header, word(internal_port, suggested_external_port), lifetime, 0], MAP_LENGTH)
            }
        }
    }

    /// Reads a request as a gateway receives it. The reserved field is ignored, as is all that follows the form.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`], [`DecodeError::NotARequest`] (never to be answered, whatever its version),
    /// [`DecodeError::Pcp`] and [`DecodeError::OtherVersion`] (to be answered with an unsupported version), and
    /// [`DecodeError::UnsupportedOpcode`] (to be answered with the request itself and result 5).
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let truncated = |needed: u8| DecodeError::Truncated { length: bytes.len(), needed: needed.into() };
        let &[version, opcode, ..] = bytes else { return Err(truncated(EXTERNAL_ADDRESS_LENGTH)) };
        if opcode & RESPONSE_BIT != 0 {
            return Err(DecodeError::NotARequest { opcode });
        }
        match version {
            VERSION => {}
            PCP_VERSION => return Err(DecodeError::Pcp { opcode, result: None }),
            _ => return Err(DecodeError::OtherVersion { version, opcode }),
        }
        if opcode == OPCODE_EXTERNAL_ADDRESS {
            return Ok(Self::ExternalAddress);
        }
        let protocol = Protocol::from_opcode(opcode).ok_or(DecodeError::UnsupportedOpcode { opcode })?;
        Self::decode_map(protocol, bytes).ok_or(truncated(MAP_LENGTH))
    }

    fn decode_map(protocol: Protocol, bytes: &[u8]) -> Option<Self> {
        let &[_, _, _, _, i0, i1, e0, e1, l0, l1, l2, l3] = bytes.first_chunk()?;
        Some(Self::Map {
            protocol,
            internal_port: u16::from_be_bytes([i0, i1]),
            suggested_external_port: u16::from_be_bytes([e0, e1]),
            lifetime: u32::from_be_bytes([l0, l1, l2, l3]),
        })
    }
}

const RESERVED: u16 = 0;
const EXTERNAL_ADDRESS_LENGTH: u8 = 2;
const MAP_LENGTH: u8 = 12;
