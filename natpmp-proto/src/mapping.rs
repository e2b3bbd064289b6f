//! What users ask for and what they get, as plain data.

use crate::wire::Protocol;

/// A mapping as the gateway granted it: plain data that can be stored, and refreshed or deleted later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Mapping {
    /// Of the traffic mapped.
    pub protocol: Protocol,
    /// The client's own port.
    pub internal_port: u16,
    /// The port on the gateway, where the traffic comes in; never 0.
    pub external_port: u16,
    /// The lifetime in seconds from the moment it was granted: the gateway's, but never more than was asked for.
    pub lifetime: u32,
}

impl Mapping {
    /// The request that asks for this mapping again: the same ports, the same lifetime.
    #[must_use]
    pub const fn request(&self) -> MapRequest {
        MapRequest::new(self.protocol, self.internal_port).external_port(self.external_port).lifetime(self.lifetime)
    }
}

/// A mapping that is wanted.
///
/// ```
/// use natpmp_proto::{MapRequest, Protocol};
///
/// let request = MapRequest::new(Protocol::Tcp, 6881).external_port(0).lifetime(3600);
/// # assert_eq!(request.internal_port(), 6881);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct MapRequest {
    protocol: Protocol,
    internal_port: u16,
    external_port: u16,
    lifetime: u32,
    refresh_interval: Option<u32>,
}

impl MapRequest {
    /// The lifetime that is asked for unless another is given: 7200 s (section 3.3).
    pub const DEFAULT_LIFETIME: u32 = 7_200;

    /// The longest lifetime that is ever sent: 365 days. More is cut to it: the clocks of many gateways hold 32 bits, and
    /// some "grant" a lifetime that wraps there, and drop the mapping at once.
    pub const LONGEST_LIFETIME: u32 = 365 * 24 * 3_600;

    /// A mapping of `internal_port`, on the same external port if it is free, for 7200 s.
    ///
    /// Internal port 0 is allowed: a large VPN provider expects it. Such a mapping is never deleted, since its deletion
    /// would read as "delete all mappings"; it is left to lapse.
    #[must_use]
    pub const fn new(protocol: Protocol, internal_port: u16) -> Self {
        Self {
            protocol,
            internal_port,
            external_port: internal_port,
            lifetime: Self::DEFAULT_LIFETIME,
            refresh_interval: None,
        }
    }

    /// The external port to suggest; 0 for any (section 3.3). The gateway may give another.
    #[must_use]
    pub const fn external_port(self, port: u16) -> Self {
        Self { external_port: port, ..self }
    }

    /// The lifetime to ask for, in seconds: 1 to [`Self::LONGEST_LIFETIME`], to which more is cut. 0 is refused when
    /// the mapping is asked for.
    #[must_use]
    pub const fn lifetime(self, seconds: u32) -> Self {
        Self { lifetime: seconds, ..self }
    }

    /// Renew a kept mapping every `seconds` rather than at half of the granted lifetime. 0 is refused when the
    /// mapping is asked for; an interval that is not shorter than the lifetime granted would let the mapping lapse, and
    /// half of the lifetime is taken instead.
    #[must_use]
    pub const fn refresh_interval(self, seconds: u32) -> Self {
        Self { refresh_interval: Some(seconds), ..self }
    }

    /// The protocol to be mapped.
    #[must_use]
    pub const fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// The client's own port.
    #[must_use]
    pub const fn internal_port(&self) -> u16 {
        self.internal_port
    }

    /// The external port that is suggested.
    #[must_use]
    pub const fn suggested_external_port(&self) -> u16 {
        self.external_port
    }

    /// The lifetime that will be asked for, in seconds.
    #[must_use]
    pub const fn requested_lifetime(&self) -> u32 {
        if self.lifetime > Self::LONGEST_LIFETIME { Self::LONGEST_LIFETIME } else { self.lifetime }
    }

    /// The interval of renewals in seconds, if it is not left to the lifetime.
    #[must_use]
    pub const fn chosen_refresh_interval(&self) -> Option<u32> {
        self.refresh_interval
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lifetime_of_more_than_365_days_is_cut_to_them() {
        let year = 31_536_000;
        assert_eq!(MapRequest::LONGEST_LIFETIME, year);
        for (seconds, asked) in [(0, 0), (1, 1), (year - 1, year - 1), (year, year), (year + 1, year), (u32::MAX, year)]
        {
            assert_eq!(MapRequest::new(Protocol::Udp, 4000).lifetime(seconds).requested_lifetime(), asked);
        }
    }
}
