//! Randomness from a seed given by the caller: enough to spread clients in time, never for secrets.

use crate::time::Span;

/// A generator of the xorshift family with 32 bits of state.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Random {
    state: u32,
}

impl Random {
    /// Any seed will do; seeds that differ in any bit lead to different sequences as a rule.
    pub(crate) const fn new(seed: u64) -> Self {
        let [a, b, c, d, e, f, g, h] = seed.to_le_bytes();
        let low = u32::from_le_bytes([a, b, c, d]);
        let high = u32::from_le_bytes([e, f, g, h]);
        let folded = low ^ high.rotate_left(16) ^ ODD;
        // The one state that xorshift never leaves.
        let state = if folded == 0 { ODD } else { folded };
        Self { state }
    }

    /// Uniformly distributed from zero up to `limit` (in steps of a microsecond at the finest).
    #[inline(never)] // many call it, and firmware has more time than flash
    pub(crate) fn up_to(&mut self, limit: Span) -> Span {
        let fraction = self.next();
        // limit * fraction / 2^32, in microseconds and without 128 bits: limits here are minutes at most.
        let micros = limit.as_micros();
        let high = (micros >> 16).saturating_mul(fraction.into()) >> 16;
        let low = (micros & 0xffff).saturating_mul(fraction.into()) >> 32;
        Span::from_micros(high.saturating_add(low))
    }

    /// Uniformly distributed from `low` to `high`, both included.
    pub(crate) fn between(&mut self, low: u16, high: u16) -> u16 {
        let span = u64::from(high.saturating_sub(low)).saturating_add(1);
        let offset = u64::from(self.next()).saturating_mul(span) >> 32;
        low.saturating_add(u16::try_from(offset).unwrap_or(0))
    }

    /// A value that depends on the seed.
    pub(crate) const fn state(&self) -> u32 {
        self.state
    }

    fn next(&mut self) -> u32 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 17;
        self.state ^= self.state << 5;
        self.state.wrapping_mul(ODD)
    }
}

/// Spreads values evenly over all of 32 bits, in a way that depends on the seed.
pub(crate) const fn spread(value: u32, seed: u32) -> u32 {
    let mut spread = (value ^ seed).wrapping_mul(ODD);
    spread = (spread ^ (spread >> 15)).wrapping_mul(ODD);
    spread ^ (spread >> 16)
}

const ODD: u32 = 0x9e37_79b1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_fill_the_range_evenly_and_never_leave_it() {
        let limit = Span::from_secs(5);
        let mut buckets = [0u32; 10];
        for seed in 0..1_000 {
            let mut random = Random::new(seed);
            for _ in 0..10 {
                let value = random.up_to(limit);
                assert!(value <= limit);
                let index = usize::try_from(value.as_micros() / 500_000).unwrap_or(0).min(9);
                if let Some(bucket) = buckets.get_mut(index) {
                    *bucket += 1;
                }
            }
        }
        assert!(buckets.iter().all(|&count| (850..1_150).contains(&count)), "{buckets:?}");
    }

    /// Marsaglia's own example ("Xorshift RNGs", 2003).
    #[test]
    fn the_state_goes_on_as_published() {
        let mut random = Random { state: 2_463_534_242 };
        let value = random.next();
        assert_eq!(random.state(), 723_471_715);
        assert_eq!(value, 723_471_715_u32.wrapping_mul(ODD));
    }

    /// A table whose places it chooses is then filled evenly, whatever bits the values differ in.
    #[test]
    fn every_bit_of_a_value_and_of_the_seed_reaches_every_bit_of_its_spread() {
        for bit in 0..32 {
            let (mut by_value, mut by_seed) = (0, 0);
            for value in 0..1_000 {
                by_value |= spread(value, 7) ^ spread(value ^ 1 << bit, 7);
                by_seed |= spread(value, 7) ^ spread(value, 7 ^ 1 << bit);
            }
            assert_eq!((by_value, by_seed), (u32::MAX, u32::MAX), "bit {bit}");
        }
    }

    #[test]
    fn no_two_values_have_the_same_spread() {
        let spreads: std::collections::HashSet<_> = (0..50_000).map(|value| spread(value, 7)).collect();
        assert_eq!(spreads.len(), 50_000);
    }

    #[test]
    fn no_seed_gets_stuck() {
        for seed in [0, 1, u64::MAX, u64::from(ODD), u64::from(ODD) << 16] {
            let mut random = Random::new(seed);
            let first = random.next();
            assert_ne!(first, random.next(), "seed {seed}");
        }
    }
}
