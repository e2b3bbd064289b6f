//! When to send again, and when to give up: the schedule of section 3.1 as data.

use core::time::Duration;

use crate::time::Span;

/// How patiently one request is pursued: the first wait, doubled after every send up to a longest wait, until the
/// patience is used up.
///
/// ```
/// use core::time::Duration;
/// use natpmp_proto::Schedule;
///
/// let waits: Vec<_> = (1..).map_while(|send| Schedule::RFC.wait_after(send)).collect();
/// assert_eq!(waits.len(), 9);
/// assert_eq!(waits.first(), Some(&Duration::from_millis(250)));
/// assert_eq!(waits.last(), Some(&Duration::from_secs(64)));
/// assert_eq!(waits.iter().sum::<Duration>(), Duration::from_millis(127_750));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Schedule {
    first_ms: u32,
    longest_ms: u32,
    patience_ms: u32,
}

impl Schedule {
    /// RFC 6886, section 3.1: nine sends, the first wait 250 ms, each next one doubled, 127.75 s in all.
    pub const RFC: Self = Self::within(Duration::from_millis(127_750));

    /// The same spacing cut to five sends and 7.75 s: for a person who waits, or a program that can go on without NAT.
    pub const QUICK: Self = Self::within(Duration::from_millis(7_750));

    /// The RFC's spacing (250 ms, doubled up to 64 s), given up after `patience`.
    ///
    /// `patience` is held between 1 ms and about 49 days. A send that would leave less than the first wait for its
    /// answer is not made; the wait before it is stretched instead.
    #[must_use]
    pub const fn within(patience: Duration) -> Self {
        Self::custom(Duration::from_millis(250), Duration::from_secs(64), patience)
    }

    /// A schedule of one's own: the first wait, the longest wait that doubling may reach, and the patience in all.
    /// Each is held between 1 ms and about 49 days, and no request is sent more than 64 times.
    #[must_use]
    pub const fn custom(first: Duration, longest: Duration, patience: Duration) -> Self {
        Self { first_ms: millis(first), longest_ms: millis(longest), patience_ms: millis(patience) }
    }

    /// The same, given up after the first wait.
    pub(crate) fn once(self) -> Self {
        Self { patience_ms: self.patience_ms.min(self.first_ms), ..self }
    }

    /// The same, but no more patient than another one.
    pub(crate) fn at_most(self, other: Self) -> Self {
        Self { patience_ms: self.patience_ms.min(other.patience_ms), ..self }
    }

    /// How long to wait for an answer after the `send`-th send (counted from 1); `None` when there is no such send.
    #[must_use]
    pub fn wait_after(self, send: u8) -> Option<Duration> {
        self.wait_ms(send).map(|millis| Duration::from_millis(millis.into()))
    }

    /// The same, as the machines count.
    pub(crate) fn span_after(&self, send: u8) -> Option<Span> {
        self.wait_ms(send).map(Span::from_millis)
    }

    /// The time from the first send to giving up.
    #[must_use]
    pub fn total(self) -> Duration {
        (1..=MOST_SENDS).map_while(|send| self.wait_after(send)).fold(Duration::ZERO, Duration::saturating_add)
    }

    fn wait_ms(&self, send: u8) -> Option<u32> {
        if send == 0 || send > MOST_SENDS {
            return None;
        }
        let mut elapsed: u32 = 0;
        let mut wait = self.first_ms;
        for _ in 1..send {
            elapsed = elapsed.saturating_add(self.stretched(elapsed, wait));
            wait = wait.saturating_mul(2).min(self.longest_ms);
        }
        let left = self.patience_ms.saturating_sub(elapsed);
        (left > 0).then(|| self.stretched(elapsed, wait))
    }

    /// The wait, or all that is left of the patience if no further send would have the time to be answered.
    fn stretched(&self, elapsed: u32, wait: u32) -> u32 {
        let left = self.patience_ms.saturating_sub(elapsed);
        if left < wait.saturating_add(self.first_ms) { left } else { wait }
    }
}

/// The RFC's own patience.
impl Default for Schedule {
    fn default() -> Self {
        Self::RFC
    }
}

/// The growing pause before what failed is tried again: doubled from the first to the ceiling, for ever.
///
/// A random part of up to a quarter is taken off each pause, so that clients that failed together do not return together.
///
/// ```
/// use core::time::Duration;
/// use natpmp_proto::Backoff;
///
/// let backoff = Backoff::default();
/// assert_eq!(backoff.pause(0), Duration::from_secs(2));
/// assert_eq!(backoff.pause(3), Duration::from_secs(16));
/// assert_eq!(backoff.pause(255), Duration::from_secs(64));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Backoff {
    first_ms: u32,
    ceiling_ms: u32,
}

impl Backoff {
    /// From 2 s to 64 s.
    pub const DEFAULT: Self = Self::new(Duration::from_secs(2), Duration::from_secs(64));

    /// The first pause and the longest one. Each is held between 1 ms and about 49 days.
    #[must_use]
    pub const fn new(first: Duration, ceiling: Duration) -> Self {
        Self { first_ms: millis(first), ceiling_ms: millis(ceiling) }
    }

    /// The pause after `failures` earlier failures in a row, before the random part is taken off.
    #[must_use]
    pub fn pause(self, failures: u8) -> Duration {
        Duration::from_millis(self.pause_ms(failures).into())
    }

    /// The same, as the machines count.
    pub(crate) fn pause_span(self, failures: u8) -> Span {
        Span::from_millis(self.pause_ms(failures))
    }

    fn pause_ms(self, failures: u8) -> u32 {
        let factor = 1u32.checked_shl(failures.into()).unwrap_or(u32::MAX);
        self.first_ms.saturating_mul(factor).min(self.ceiling_ms)
    }
}

/// [`Backoff::DEFAULT`].
impl Default for Backoff {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Milliseconds, at least one and at most what 32 bits hold.
#[allow(clippy::cast_possible_truncation, reason = "the value was compared with u32::MAX")]
pub(crate) const fn millis(duration: Duration) -> u32 {
    let millis = duration.as_secs().saturating_mul(1_000).saturating_add(duration.subsec_millis() as u64);
    if millis == 0 {
        1
    } else if millis > u32::MAX as u64 {
        u32::MAX
    } else {
        millis as u32
    }
}

const MOST_SENDS: u8 = 64;

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    fn waits(schedule: Schedule) -> Vec<u64> {
        (1..=255)
            .map_while(|send| schedule.wait_after(send))
            .map(|wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX))
            .collect()
    }

    #[test]
    fn the_rfc_schedule_sends_nine_times_and_gives_up_after_127_75_s() {
        // C03
        let expected = [250, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 64_000];
        assert_eq!(waits(Schedule::RFC), expected);
        assert_eq!(Schedule::RFC.total(), Duration::from_millis(127_750));
    }

    #[test]
    fn the_quick_schedule_is_the_same_cut_to_five_sends() {
        assert_eq!(waits(Schedule::QUICK), [250, 500, 1_000, 2_000, 4_000]);
    }

    #[test]
    fn any_patience_is_met_exactly() {
        for millis in [1, 10, 249, 250, 251, 499, 500, 999, 1_000, 3_333, 60_000, 127_750, 600_000] {
            let patience = Duration::from_millis(millis);
            assert_eq!(Schedule::within(patience).total(), patience, "{millis} ms");
        }
    }

    #[test]
    fn no_send_is_left_without_time_for_its_answer() {
        assert_eq!(waits(Schedule::within(Duration::from_millis(999))), [250, 749]);
        assert_eq!(waits(Schedule::within(Duration::from_millis(1_000))), [250, 500, 250]);
    }

    #[test]
    fn a_schedule_of_ones_own_stops_doubling_at_its_longest_wait() {
        let schedule =
            Schedule::custom(Duration::from_millis(10), Duration::from_millis(40), Duration::from_millis(190));
        assert_eq!(waits(schedule), [10, 20, 40, 40, 40, 40]);
    }

    #[test]
    fn extreme_schedules_end_and_do_not_overflow() {
        // C28
        let never = Schedule::custom(Duration::MAX, Duration::MAX, Duration::MAX);
        assert_eq!(waits(never), [u64::from(u32::MAX)]);
        let frantic = Schedule::custom(Duration::ZERO, Duration::ZERO, Duration::MAX);
        assert_eq!(waits(frantic).len(), usize::from(MOST_SENDS));
        assert_eq!(Schedule::RFC.wait_after(0), None);
        assert_eq!(Schedule::RFC.wait_after(255), None);
        let above_32_bits = Duration::from_millis((1 << 32) + 5);
        assert_eq!(waits(Schedule::custom(above_32_bits, above_32_bits, above_32_bits)), [u64::from(u32::MAX)]);
    }

    #[test]
    fn the_shorter_patience_of_two_schedules_counts_and_the_waits_are_its_own() {
        for other in [Schedule::RFC, Schedule::QUICK] {
            assert_eq!(waits(Schedule::QUICK.at_most(other)), waits(Schedule::QUICK));
            assert_eq!(waits(other.at_most(Schedule::QUICK)), waits(Schedule::QUICK));
        }
        let slow = Schedule::custom(Duration::from_secs(3), Duration::from_secs(3), Duration::from_secs(90));
        assert_eq!(waits(slow.at_most(Schedule::QUICK)), [3_000, 4_750]);
        assert_eq!(waits(slow.once()), [3_000]);
        assert_eq!(waits(Schedule::within(Duration::from_millis(10)).once()), [10]);
    }

    #[test]
    fn pauses_grow_to_their_ceiling_and_stay_there() {
        // C25
        let backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(10));
        let pauses: Vec<_> = [0, 1, 2, 3, 4, 31, 32, 255].map(|n| backoff.pause(n).as_secs()).into();
        assert_eq!(pauses, [1, 2, 4, 8, 10, 10, 10, 10]);
    }
}
