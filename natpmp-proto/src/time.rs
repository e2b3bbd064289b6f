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
#[repr(Rust, packed(4))] // aligned to 8 bytes it would cost a firmware 4 more in many places
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

    /// As [`saturating_since`](Self::saturating_since), as the machines count.
    pub(crate) const fn span_since(self, earlier: Self) -> Span {
        Span::from_micros(self.micros.saturating_sub(earlier.micros))
    }

    /// The time from `earlier` to `self`; zero if `earlier` is the later one.
    #[must_use]
    pub const fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.micros.saturating_sub(earlier.micros))
    }
}

#[cfg(feature = "defmt")]
impl defmt::Format for Instant {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "Instant {{ micros: {=u64} }}", self.as_micros());
    }
}

/// Saturates at the end of time.
impl Add<Duration> for Instant {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self::from_micros(self.micros.saturating_add(micros(duration)))
    }
}

/// Saturates at the end of time.
impl Add<Span> for Instant {
    type Output = Self;

    #[inline(never)] // many call it, and firmware has more time than flash
    fn add(self, span: Span) -> Self {
        Self::from_micros(self.micros.saturating_add(span.micros))
    }
}

/// A span of time inside of the machines. Unlike a `Duration` it is one number, and costs no division to make: processors that
/// cannot divide take half a kilobyte for that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Span {
    micros: u64,
}

impl Span {
    pub(crate) const ZERO: Self = Self::from_micros(0);

    pub(crate) const fn from_micros(micros: u64) -> Self {
        Self { micros }
    }

    pub(crate) const fn from_millis(millis: u32) -> Self {
        Self::from_micros((millis as u64).saturating_mul(1_000))
    }

    pub(crate) const fn from_secs(secs: u32) -> Self {
        Self::from_micros((secs as u64).saturating_mul(MICROS_PER_SECOND))
    }

    pub(crate) const fn as_micros(self) -> u64 {
        self.micros
    }

    /// Whole seconds, at most what 32 bits hold: 136 years.
    ///
    /// A million is 2^6 * 15,625: shifted, and divided as on paper by two digits of 16 bits. A division of 64 bits takes seven
    /// times the code on processors that have none.
    #[allow(clippy::cast_possible_truncation, reason = "shifted to what is left of it")]
    #[inline(never)]
    pub(crate) const fn whole_secs(self) -> u32 {
        let rest = self.micros >> 6;
        let (high, low) = ((rest >> 32) as u32, rest as u32);
        if high >= 15_625 {
            return u32::MAX;
        }
        let first = (high << 16) | (low >> 16);
        let second = ((first % 15_625) << 16) | (low & 0xffff);
        ((first / 15_625) << 16) | (second / 15_625)
    }

    pub(crate) const fn saturating_sub(self, other: Self) -> Self {
        Self::from_micros(self.micros.saturating_sub(other.micros))
    }

    /// One part of two to the power of `halvings`.
    pub(crate) const fn halved(self, halvings: u8) -> Self {
        Self::from_micros(self.micros >> halvings)
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
    fn whole_seconds_are_those_of_a_division() {
        let end = u64::from(u32::MAX) * 1_000_000;
        for near in
            [0, 63, 64, 999_999, 1_000_000, 65_535_999_999, 65_536_000_000, 4_194_303_999_999, end, end + 999_999]
        {
            for micros in near.saturating_sub(2)..near + 3 {
                let expected = u32::try_from(micros / 1_000_000).unwrap_or(u32::MAX);
                assert_eq!(Span::from_micros(micros).whole_secs(), expected, "{micros}");
            }
        }
        assert_eq!(Span::from_micros(u64::MAX).whole_secs(), u32::MAX);
        for step in 0..100_000 {
            let micros = step * 42_949_672_957;
            assert_eq!(u64::from(Span::from_micros(micros).whole_secs()), micros / 1_000_000);
        }
    }

    #[test]
    fn a_sum_is_exact_to_the_microsecond() {
        let sum = Instant::from_micros(999_999) + Duration::new(3, 1_999);
        assert_eq!(sum.as_micros(), 4_000_000);
        assert_eq!(sum.saturating_since(Instant::from_secs(3)), Duration::from_secs(1));
    }
}
