//! Which requests come to the machine at all.

use std::hash::{BuildHasher, RandomState};
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use natpmp_proto::Instant;
use natpmp_proto::gateway::RateLimit;

use super::interfaces::LocalAddress;
use super::sources::Sources;

/// Keeps out what comes too often, and what cannot be from where it says.
pub(super) struct Guard {
    limit: Option<Box<RateLimit<CLIENTS>>>,
    sources: Sources,
    /// When it may be said again that somebody asks too often.
    say_at: Instant,
}

impl Guard {
    /// `locals`: all addresses of this host.
    pub(super) fn new(requests_per_second: Option<u32>, locals: &[LocalAddress]) -> Self {
        let seed = RandomState::new().hash_one(CLIENTS);
        let limit = requests_per_second.map(|requests| Box::new(RateLimit::new(requests, seed)));
        Self { limit, sources: Sources::new(locals), say_at: Instant::ZERO }
    }

    /// The addresses of this host are these by now.
    pub(super) fn follow(&mut self, locals: &[LocalAddress]) {
        self.sources.follow(locals);
    }

    /// Whether a request that was heard at `local` is to be answered. `dropped` counts those that come too often.
    pub(super) fn admits(
        &mut self,
        now: Instant,
        local: Option<&LocalAddress>,
        client: Ipv4Addr,
        dropped: &AtomicU64,
    ) -> bool {
        self.is_within_rate(now, client, dropped) && local.is_some_and(|local| self.sources.admit(local, client))
    }

    fn is_within_rate(&mut self, now: Instant, client: Ipv4Addr, dropped: &AtomicU64) -> bool {
        let Some(limit) = &mut self.limit else { return true };
        let is_within = limit.admits(now, client);
        if !is_within {
            let refused = limit.refused();
            dropped.store(refused, Ordering::Relaxed);
            if self.say_at <= now {
                self.say_at = now + SAY_INTERVAL;
                log::warn!(
                    "{client} asks too often, or somebody in its name: not all of its requests are answered \
                     (of all clients, dropped so far: {refused})"
                );
            }
        }
        is_within
    }
}

/// How many are told apart, in 12 KiB.
const CLIENTS: usize = 1_024;
/// Whoever reads the log is not to be flooded either.
const SAY_INTERVAL: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_that_cannot_be_from_where_it_says_is_kept_out() {
        let address = Ipv4Addr::new(192, 168, 1, 1);
        let netmask = Ipv4Addr::new(255, 255, 255, 0);
        let lan = LocalAddress { address, interface: "lan0".into(), index: Some(u32::MAX), netmask };
        let mut guard = Guard::new(None, std::slice::from_ref(&lan));
        let dropped = AtomicU64::new(0);
        let mut admits =
            |local: Option<&LocalAddress>, client: [u8; 4]| guard.admits(Instant::ZERO, local, client.into(), &dropped);
        assert!(admits(Some(&lan), [192, 168, 1, 2]));
        assert!(!admits(Some(&lan), [192, 168, 1, 1]), "it is this host's");
        assert!(!admits(Some(&lan), [192, 168, 1, 255]), "all of the network");
        assert!(!admits(None, [192, 168, 1, 2]), "heard at no address");
        assert_eq!(dropped.into_inner(), 0, "that is not for asking too often");
    }
}
