use core::fmt;

/// Why bytes are not a packet of NAT-PMP, with the values that say so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum DecodeError {
    /// Fewer bytes than the packet's form has. An answer that carries a result other than 0 needs 4 only.
    Truncated {
        /// Bytes there were.
        length: usize,
        /// Bytes that were needed.
        needed: usize,
    },
    /// A packet of PCP (RFC 6887), which shares the ports; recognised, not parsed.
    Pcp {
        /// The second byte: the response bit and the opcode. `0x80` is an announcement or an answer to one.
        opcode: u8,
        /// The fourth byte: the result of a response; `None` if the packet ends before it.
        result: Option<u8>,
    },
    /// Neither NAT-PMP (version 0) nor PCP (version 2).
    OtherVersion {
        /// The version it claims.
        version: u8,
        /// The opcode that follows.
        opcode: u8,
    },
    /// A request where a response was expected: the top bit of the opcode is not set.
    NotAResponse {
        /// The opcode as received.
        opcode: u8,
    },
    /// A response where a request was expected: the top bit of the opcode is set.
    NotARequest {
        /// The opcode as received.
        opcode: u8,
    },
    /// A request with an opcode that NAT-PMP does not define (3 to 127).
    UnsupportedOpcode {
        /// The opcode as received.
        opcode: u8,
    },
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Truncated { length, needed } => write!(f, "{length} bytes where {needed} are needed"),
            Self::Pcp { opcode, result: None } => write!(f, "a PCP packet with opcode byte {opcode}"),
            Self::Pcp { opcode, result: Some(result) } => {
                write!(f, "a PCP packet with opcode byte {opcode} and result {result}")
            }
            Self::OtherVersion { version, opcode } => {
                write!(f, "version {version} (opcode {opcode}) where NAT-PMP is version 0")
            }
            Self::NotAResponse { opcode } => write!(f, "a request (opcode {opcode}) where a response was expected"),
            Self::NotARequest { opcode } => write!(f, "a response (opcode {opcode}) where a request was expected"),
            Self::UnsupportedOpcode { opcode } => write!(f, "opcode {opcode}, which NAT-PMP does not define"),
        }
    }
}

impl core::error::Error for DecodeError {}
