//! How often a client is answered.

use core::fmt;
use core::net::Ipv4Addr;
use core::time::Duration;

use crate::random::{Random, spread};
use crate::time::Instant;

/// A bound on the requests of each client, for an adapter to hold them against before it passes them to a
/// [`Gateway`](super::Gateway): nobody, and nobody in the name of another, is answered more often. What is over it is
/// to be dropped without a word, since an answer is what it is meant to spare.
///
/// A client has so many requests a second, and may save up those of two seconds. `CLIENTS` of them are remembered, a
/// multiple of 8, in 12 bytes each. When there are more, the one whose requests are the least of a burden is forgotten: so who
/// is held back stays so until 7 others at least are held back as well.
///
/// ```
/// use natpmp_proto::Instant;
/// use natpmp_proto::gateway::RateLimit;
///
/// let mut limit: RateLimit<64> = RateLimit::new(10, 0x5eed);
/// let client = [192, 168, 1, 2].into();
/// assert_eq!((0..100).filter(|_| limit.admits(Instant::ZERO, client)).count(), 20);
/// assert!(limit.admits(Instant::from_millis(100), client), "one more a tenth of a second later");
/// assert_eq!(limit.refused(), 80);
/// ```
#[derive(Clone)]
pub struct RateLimit<const CLIENTS: usize> {
    clients: [Client; CLIENTS],
    /// What a request takes of the time that its client has.
    cost: Duration,
    seed: u32,
    refused: u64,
}

/// One who has asked.
#[derive(Clone, Copy)]
struct Client {
    address: Ipv4Addr,
    /// When all that it was given will be earned again.
    even_at: Instant,
}

impl<const CLIENTS: usize> RateLimit<CLIENTS> {
    /// One of them is where a client is looked for.
    const SETS: u64 = (CLIENTS / WAYS) as u64;

    /// So many requests a second, 1 to 1,000,000. The seed keeps clients from choosing whom they displace.
    #[must_use]
    pub const fn new(per_second: u32, seed: u64) -> Self {
        const { assert!(CLIENTS > 0 && CLIENTS % WAYS == 0, "a multiple of 8 clients is remembered") };
        let cost = match 1_000_000_u32.checked_div(per_second) {
            Some(0) => 1,
            Some(micros) => micros,
            None => 1_000_000,
        };
        Self {
            clients: [Client { address: Ipv4Addr::UNSPECIFIED, even_at: Instant::ZERO }; CLIENTS],
            cost: Duration::from_micros(cost as u64),
            seed: Random::new(seed).state(),
            refused: 0,
        }
    }

    /// Whether a request that comes now is within the bound; it counts if it is.
    #[must_use]
    pub fn admits(&mut self, now: Instant, client: Ipv4Addr) -> bool {
        let (cost, set) = (self.cost, self.set_of(client));
        let Some(set) = self.clients.chunks_exact_mut(WAYS).nth(set) else { return true };
        let known = set.iter().position(|known| known.address == client);
        let chosen = match known {
            Some(place) => set.get_mut(place),
            None => set.iter_mut().min_by_key(|known| known.even_at),
        };
        let Some(chosen) = chosen else { return true };
        let saved_up = if known.is_some() { chosen.even_at.max(now) } else { now };
        let even_at = saved_up + cost;
        let is_within = even_at.saturating_since(now) <= BURST;
        if is_within {
            *chosen = Client { address: client, even_at };
        } else {
            self.refused = self.refused.saturating_add(1);
        }
        is_within
    }

    /// How many requests were over the bound.
    #[must_use]
    pub const fn refused(&self) -> u64 {
        self.refused
    }

    fn set_of(&self, client: Ipv4Addr) -> usize {
        let scaled = u64::from(spread(client.to_bits(), self.seed)).wrapping_mul(Self::SETS) >> 32;
        usize::try_from(scaled).unwrap_or(0)
    }
}

impl<const CLIENTS: usize> fmt::Debug for RateLimit<CLIENTS> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimit").field("cost", &self.cost).field("refused", &self.refused).finish_non_exhaustive()
    }
}

/// How many clients are compared with one another when one is to be forgotten.
const WAYS: usize = 8;
/// As many requests as this earns may come at once.
const BURST: Duration = Duration::from_secs(2);
