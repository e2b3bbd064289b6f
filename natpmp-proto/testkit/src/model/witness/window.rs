//! Moments that are not known exactly, since the client chooses at random.

use std::time::Duration;

use natpmp_proto::Instant;

/// Something may be done from one moment on, and must be by another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) from: Instant,
    pub(super) by: Instant,
}

impl Window {
    /// At any time, and at once.
    pub(super) const ALWAYS: Self = Self { from: Instant::ZERO, by: Instant::ZERO };

    pub(super) fn at(moment: Instant) -> Self {
        Self { from: moment, by: moment }
    }

    /// From `shortest` to `longest` after `now`.
    pub(super) fn after(now: Instant, shortest: Duration, longest: Duration) -> Self {
        Self { from: now + shortest, by: now + longest }
    }

    pub(super) fn later_by(self, duration: Duration) -> Self {
        Self { from: self.from + duration, by: self.by + duration }
    }

    pub(super) fn or_earlier(self, other: Self) -> Self {
        Self { from: self.from.min(other.from), by: self.by.min(other.by) }
    }

    pub(super) fn or_later(self, other: Self) -> Self {
        Self { from: self.from.max(other.from), by: self.by.max(other.by) }
    }

    pub(super) fn has(self, moment: Instant) -> bool {
        self.from <= moment && moment <= self.by
    }

    pub(super) fn may(self, now: Instant) -> bool {
        self.from <= now
    }

    pub(super) fn must(self, now: Instant) -> bool {
        self.by <= now
    }
}
