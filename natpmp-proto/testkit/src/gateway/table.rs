//! The mappings that a gateway has.

use std::net::Ipv4Addr;
use std::time::Duration;

use natpmp_proto::{Instant, Protocol};

/// One mapping with its lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Who asked for it.
    pub client: Ipv4Addr,
    /// Of the traffic mapped.
    pub protocol: Protocol,
    /// The client's port.
    pub internal_port: u16,
    /// The gateway's port.
    pub external_port: u16,
    /// When it ends.
    pub expires: Instant,
}

/// All mappings of one gateway.
#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    leases: Vec<Lease>,
}

/// A request to map.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wish {
    pub(super) client: Ipv4Addr,
    pub(super) protocol: Protocol,
    pub(super) internal_port: u16,
    pub(super) suggested: u16,
    pub(super) lifetime: u32,
}

impl Table {
    pub(super) fn leases(&self) -> &[Lease] {
        &self.leases
    }

    /// A lease that ends takes its mapping with it (section 3.4).
    pub(super) fn expire(&mut self, now: Instant) {
        self.leases.retain(|lease| now < lease.expires);
    }

    pub(super) fn clear(&mut self) {
        self.leases.clear();
    }

    /// Makes or renews a mapping, and returns its external port; `None` if no port is left.
    pub(super) fn map(&mut self, now: Instant, wish: &Wish, moves: bool, twice: bool) -> Option<u16> {
        let expires = now + Duration::from_secs(wish.lifetime.into());
        let known = self.leases.iter().position(|lease| {
            lease.is_of(wish.client, wish.protocol, wish.internal_port)
                && (!twice || lease.external_port == wish.suggested)
        });
        if let Some(known) = known {
            let moved = if moves {
                Some(self.free_port(wish, self.leases[known].external_port.wrapping_add(1))?)
            } else {
                None
            };
            let lease = &mut self.leases[known];
            lease.expires = expires;
            lease.external_port = moved.unwrap_or(lease.external_port);
            return Some(lease.external_port);
        }
        let external_port =
            self.free_port(wish, if wish.suggested > 1 { wish.suggested } else { wish.internal_port })?;
        let Wish { client, protocol, internal_port, .. } = *wish;
        self.leases.push(Lease { client, protocol, internal_port, external_port, expires });
        Some(external_port)
    }

    /// Deletes a mapping; one that is not there is as good as deleted.
    pub(super) fn unmap(&mut self, client: Ipv4Addr, protocol: Protocol, internal_port: u16) {
        self.leases.retain(|lease| !lease.is_of(client, protocol, internal_port));
    }

    pub(super) fn unmap_all(&mut self, client: Ipv4Addr, protocol: Protocol, both: bool) {
        self.leases.retain(|lease| lease.client != client || (lease.protocol != protocol && !both));
    }

    /// The first free port from `from` on. The companion port of the other protocol is the same client's (section 3.3).
    fn free_port(&self, wish: &Wish, from: u16) -> Option<u16> {
        let from = from.max(LOWEST);
        let is_free = |port: &u16| {
            !self.leases.iter().any(|lease| {
                lease.external_port == *port && (lease.client != wish.client || lease.protocol == wish.protocol)
            })
        };
        (from..=u16::MAX).chain(LOWEST..from).find(is_free)
    }
}

impl Lease {
    fn is_of(&self, client: Ipv4Addr, protocol: Protocol, internal_port: u16) -> bool {
        (self.client, self.protocol, self.internal_port) == (client, protocol, internal_port)
    }
}

const LOWEST: u16 = 1024;
