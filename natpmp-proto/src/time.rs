//! Time as the machines see it: told by the caller, never asked for, and unable to overflow.

use core::ops::Add;
use core::time::Duration;

/// A point in time: microseconds since an origin that the caller chooses and keeps.
///
/// The origin may be anything (boot, the start of the program); only differences matter. Use a clock that never runs
/// backwards and, where the system has one, one that goes on while the machine sleeps.
/// Arithmetic saturates: 64 bits of microseconds last for more than 500,000 years.
///
/// ```
/// use core::time::Duration;
/// use natpmp_proto::Instant;
///
/// let start = Instant::from_millis(1_500);
/// assert_eq!(start + Duration::from_millis(500), Instant::from_secs(2));
/// assert_eq!(start.saturating_since(Instant::from_secs(9)), Duration::ZERO);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Instant {
    micros: u64,
}

impl Instant {
    /// The origin itself.
    pub const ZERO: Self = Self::from_micros(0);

    /// The moment `micros` microseconds after the origin.
    #[must_use]
    pub const fn from_micros(micros: u64) -> Self {
        Self { micros }
    }

    /// The moment `millis` milliseconds after the origin.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self::from_micros(millis.saturating_mul(1_000))
    }

    /// The moment `secs` seconds after the origin.
    #[must_use]
    pub const fn from_secs(secs: u64) -> Self {
        Self::from_micros(secs.saturating_mul(MICROS_PER_SECOND))
    }

    /// Microseconds since the origin.
    #[must_use]
    pub const fn as_micros(self) -> u64 {
        self.micros
    }

    /// The time from `earlier` to `self`; zero if `earlier` is the later one.
    #[must_use]
    pub const fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.micros.saturating_sub(earlier.micros))
    }
}

/// Saturates at the end of time.
impl Add<Duration> for Instant {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self::from_micros(self.micros.saturating_add(micros(duration)))
    }
}

/// Microseconds of a duration, without the 128-bit arithmetic of `Duration::as_micros`.
const fn micros(duration: Duration) -> u64 {
    duration.as_secs().saturating_mul(MICROS_PER_SECOND).saturating_add(duration.subsec_micros() as u64)
}

const MICROS_PER_SECOND: u64 = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_saturates_at_both_ends() {
        // C28
        let end = Instant::from_micros(u64::MAX);
        assert_eq!(end + Duration::from_micros(1), end);
        assert_eq!(Instant::ZERO + Duration::MAX, end);
        assert_eq!(Instant::from_secs(u64::MAX), end);
        assert_eq!(Instant::from_millis(u64::MAX), end);
        assert_eq!(Instant::ZERO.saturating_since(end), Duration::ZERO);
    }

    #[test]
    fn a_sum_is_exact_to_the_microsecond() {
        let sum = Instant::from_micros(999_999) + Duration::new(3, 1_999);
        assert_eq!(sum.as_micros(), 4_000_000);
        assert_eq!(sum.saturating_since(Instant::from_secs(3)), Duration::from_secs(1));
    }
}
