use core::fmt;

/// A result code other than 0 (section 3.5): what a gateway says instead of yes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Refusal {
    /// 1: the gateway does not speak this version of the protocol.
    UnsupportedVersion,
    /// 2: refused by policy, or mapping is switched off.
    NotAuthorized,
    /// 3: the gateway itself has no external address.
    NetworkFailure,
    /// 4: no port or no memory is left for another mapping.
    OutOfResources,
    /// 5: the gateway does not know this kind of request.
    UnsupportedOpcode,
    /// A code that the RFC does not define (6 and above): fatal to its request, whatever it means.
    Other(u16),
}

impl Refusal {
    /// The refusal that a result code stands for; `None` for 0, which is success.
    #[must_use]
    pub const fn from_code(code: u16) -> Option<Self> {
        Some(match code {
            0 => return None,
            1 => Self::UnsupportedVersion,
            2 => Self::NotAuthorized,
            3 => Self::NetworkFailure,
            4 => Self::OutOfResources,
            5 => Self::UnsupportedOpcode,
            other => Self::Other(other),
        })
    }

    /// The result code on the wire.
    #[must_use]
    pub const fn code(self) -> u16 {
        match self {
            Self::UnsupportedVersion => 1,
            Self::NotAuthorized => 2,
            Self::NetworkFailure => 3,
            Self::OutOfResources => 4,
            Self::UnsupportedOpcode => 5,
            Self::Other(code) => code,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let meaning = match self {
            Self::UnsupportedVersion => "unsupported version: it does not speak NAT-PMP as RFC 6886 defines it",
            Self::NotAuthorized => "not authorized: its configuration refuses this mapping",
            Self::NetworkFailure => "network failure: it has no external address itself",
            Self::OutOfResources => "out of resources: no free port or memory for another mapping",
            Self::UnsupportedOpcode => "unsupported opcode: it does not know this kind of request",
            Self::Other(_) => "a result that RFC 6886 does not define",
        };
        write!(f, "result {} ({meaning})", self.code())
    }
}

impl core::error::Error for Refusal {}
