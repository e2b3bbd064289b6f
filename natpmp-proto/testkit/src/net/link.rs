//! What the network does to datagrams.

use std::time::Duration;

use crate::Random;

/// The faults of the network, the same in both directions. The default is a perfect network without delay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// Datagrams lost, in percent.
    pub loss: u8,
    /// Datagrams that arrive twice, in percent.
    pub duplication: u8,
    /// Datagrams with their end cut off, in percent.
    pub corruption: u8,
    /// The shortest time on the way.
    pub shortest_delay: Duration,
    /// The longest time on the way: a wide range reorders datagrams.
    pub longest_delay: Duration,
}

impl Link {
    /// Loses all.
    pub const DEAD: Self = Self { loss: 100, ..Self::perfect() };

    /// Loses nothing, and takes no time.
    #[must_use]
    pub const fn perfect() -> Self {
        Self { loss: 0, duplication: 0, corruption: 0, shortest_delay: Duration::ZERO, longest_delay: Duration::ZERO }
    }

    /// A bad one: a third is lost, some arrive twice, broken, late and in another order.
    #[must_use]
    pub const fn bad() -> Self {
        Self {
            loss: 30,
            duplication: 15,
            corruption: 10,
            shortest_delay: Duration::from_millis(1),
            longest_delay: Duration::from_millis(700),
        }
    }

    /// The copies of a datagram that arrive, and how long each takes.
    pub(super) fn carry(&self, random: &mut Random, bytes: &[u8]) -> Vec<(Duration, Vec<u8>)> {
        let copies = 1 + usize::from(random.chance(self.duplication));
        let mut arrivals = Vec::new();
        for _ in 0..copies {
            if random.chance(self.loss) {
                continue;
            }
            let mut bytes = bytes.to_vec();
            if random.chance(self.corruption) {
                corrupt(random, &mut bytes);
            }
            arrivals.push((random.between(self.shortest_delay, self.longest_delay), bytes));
        }
        arrivals
    }
}

/// Cuts the end off. (A changed byte would pass for another, valid packet: UDP has a checksum against that.)
fn corrupt(random: &mut Random, bytes: &mut Vec<u8>) {
    let length = usize::try_from(random.below(bytes.len() as u64)).unwrap_or(0);
    bytes.truncate(length);
}
