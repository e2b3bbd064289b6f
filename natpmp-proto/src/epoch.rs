//! The rule of section 3.6 by which a client learns that its gateway has lost its state.

use crate::Instant;

/// What a gateway's epoch was when it was last heard.
///
/// ```
/// use natpmp_proto::{Epoch, Instant};
///
/// let heard = Epoch::new(1_000, Instant::from_secs(0));
/// let later = Instant::from_secs(800);
/// assert!(!heard.is_lost_by(1_800, later));
/// assert!(!heard.is_lost_by(1_698, later)); // a slow clock, and the 2 s of grace
/// assert!(heard.is_lost_by(1_697, later));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Epoch {
    seconds: u32,
    heard_at: Instant,
}

impl Epoch {
    /// `seconds` since the gateway's table was last empty by accident, as it said at `heard_at`.
    #[must_use]
    pub const fn new(seconds: u32, heard_at: Instant) -> Self {
        Self { seconds, heard_at }
    }

    /// Seconds, as the gateway said.
    #[must_use]
    pub const fn seconds(self) -> u32 {
        self.seconds
    }

    /// Whether hearing `seconds` at `now` means that the gateway has lost its state since: it is more than 2 s below
    /// the last epoch plus 7/8 of the time that went by here (section 3.6).
    ///
    /// An epoch of 32 bits ends after 136 years; its return to 0 then counts as a loss, and costs one round of renewals.
    #[must_use]
    pub fn is_lost_by(self, seconds: u32, now: Instant) -> bool {
        // In eighths of a microsecond, so that nothing is rounded.
        let elapsed = now.span_since(self.heard_at).as_micros().min(eighths(u32::MAX));
        // None of these can wrap: they are far below what 64 bits hold.
        let expected = eighths(self.seconds).wrapping_add(elapsed.wrapping_mul(7));
        eighths(seconds).wrapping_add(eighths(GRACE)) < expected.min(eighths(u32::MAX))
    }
}

const fn eighths(seconds: u32) -> u64 {
    (seconds as u64).wrapping_mul(8_000_000)
}

/// In seconds.
const GRACE: u32 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_that_keeps_time_is_no_loss() {
        // C18
        let epoch = Epoch::new(500, Instant::from_secs(100));
        assert_eq!(epoch.seconds(), 500);
        for elapsed in [0, 1, 10, 3_600, 86_400] {
            assert!(!epoch.is_lost_by(500 + elapsed, Instant::from_secs(100 + u64::from(elapsed))));
        }
    }

    #[test]
    fn the_bound_is_two_seconds_below_seven_eighths() {
        // C18
        let epoch = Epoch::new(1_000, Instant::ZERO);
        let now = Instant::from_secs(80);
        assert!(!epoch.is_lost_by(1_068, now));
        assert!(epoch.is_lost_by(1_067, now));
        assert!(!epoch.is_lost_by(998, Instant::ZERO));
        assert!(epoch.is_lost_by(997, Instant::ZERO));
        assert!(epoch.is_lost_by(998, Instant::from_micros(8)));
    }

    #[test]
    fn an_epoch_may_run_ahead_without_harm() {
        assert!(!Epoch::new(0, Instant::ZERO).is_lost_by(u32::MAX, Instant::ZERO));
    }

    #[test]
    fn years_and_clocks_at_their_end_do_not_overflow() {
        // C28
        let end = Instant::from_micros(u64::MAX);
        assert!(!Epoch::new(u32::MAX, Instant::ZERO).is_lost_by(u32::MAX, end));
        assert!(Epoch::new(u32::MAX, Instant::ZERO).is_lost_by(0, end));
        assert!(!Epoch::new(7, end).is_lost_by(7, Instant::ZERO));
    }
}
