use std::net::Ipv4Addr;
use std::time::Duration;

use natpmp_proto::Instant;

use super::External;
use super::interfaces::address_of;

/// Where the external address comes from.
pub(super) struct ExternalSource {
    external: External,
    look_at: Instant,
}

impl ExternalSource {
    pub(super) const fn new(external: External) -> Self {
        Self { external, look_at: Instant::ZERO }
    }

    pub(super) fn look(&mut self, now: Instant) -> Option<Ipv4Addr> {
        self.look_at = now + LOOK_INTERVAL;
        match &self.external {
            External::Address(address) => Some(*address),
            External::None => None,
            External::Interface(interface) => address_of(interface).unwrap_or_else(|error| {
                log::warn!("the address of {interface} cannot be learned: {error}");
                None
            }),
        }
    }

    /// From now on it is said, and not looked for.
    pub(super) fn fix(&mut self) {
        self.external = External::None;
    }

    pub(super) fn next_look(&self) -> Option<Instant> {
        matches!(self.external, External::Interface(_)).then_some(self.look_at)
    }

    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.next_look().is_some_and(|at| at <= now)
    }
}

const LOOK_INTERVAL: Duration = Duration::from_secs(2);
