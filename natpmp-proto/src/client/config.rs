use core::net::{Ipv4Addr, SocketAddrV4};
use core::time::Duration;

use crate::retry::{Backoff, Schedule};
use crate::wire::GATEWAY_PORT;

/// How a client behaves. Everything but the gateway has a default.
///
/// ```
/// use core::net::Ipv4Addr;
/// use natpmp_proto::{Config, Schedule};
///
/// let config = Config::new(Ipv4Addr::new(192, 168, 1, 1)).schedule(Schedule::QUICK).seed(0x5eed);
/// assert_eq!(config.gateway().port(), 5351);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    pub(super) gateway: SocketAddrV4,
    pub(super) schedule: Schedule,
    pub(super) backoff: Backoff,
    pub(super) external_address_interval: Duration,
    pub(super) seed: u64,
}

impl Config {
    /// For the gateway at `address`, port 5351.
    #[must_use]
    pub const fn new(address: Ipv4Addr) -> Self {
        Self::for_gateway(SocketAddrV4::new(address, GATEWAY_PORT))
    }

    /// For the gateway at `gateway`, whatever its port.
    #[must_use]
    pub const fn for_gateway(gateway: SocketAddrV4) -> Self {
        Self {
            gateway,
            schedule: Schedule::RFC,
            backoff: Backoff::DEFAULT,
            external_address_interval: Duration::from_secs(300),
            seed: 0,
        }
    }

    /// How patiently a request is pursued; [`Schedule::RFC`] by default.
    #[must_use]
    pub const fn schedule(self, schedule: Schedule) -> Self {
        Self { schedule, ..self }
    }

    /// The pause before what failed is tried again; from 2 s to 64 s by default.
    #[must_use]
    pub const fn backoff(self, backoff: Backoff) -> Self {
        Self { backoff, ..self }
    }

    /// How often the external address is asked for while changes of it are to be told
    /// ([`watch_external_address`](super::Client::watch_external_address)); 300 s by default, at least 1 s.
    /// Gateways announce such changes, but not all of them, and announcements get lost.
    #[must_use]
    pub const fn external_address_interval(self, interval: Duration) -> Self {
        Self { external_address_interval: interval, ..self }
    }

    /// Where the randomness comes from that spreads clients in time (section 3.7): give each client another seed.
    #[must_use]
    pub const fn seed(self, seed: u64) -> Self {
        Self { seed, ..self }
    }

    /// The gateway's address and port.
    #[must_use]
    pub const fn gateway(&self) -> SocketAddrV4 {
        self.gateway
    }
}
