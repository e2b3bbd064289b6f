//! What a client was told to be like, and moments that are not known exactly, since it chooses at random.

use std::net::SocketAddrV4;
use std::time::Duration;

use natpmp_proto::{Backoff, Config, Instant, Schedule};

/// The settings of a client, readable by its witness.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    pub(super) gateway: SocketAddrV4,
    schedule: Schedule,
    backoff: Backoff,
    pub(super) interval: Duration,
    seed: u64,
}

impl Rules {
    /// Those of [`Config::for_gateway`].
    #[must_use]
    pub const fn new(gateway: SocketAddrV4) -> Self {
        Self {
            gateway,
            schedule: Schedule::RFC,
            backoff: Backoff::DEFAULT,
            interval: Duration::from_secs(300),
            seed: 0,
        }
    }

    /// As [`Config::schedule`].
    #[must_use]
    pub const fn schedule(self, schedule: Schedule) -> Self {
        Self { schedule, ..self }
    }

    /// As [`Config::backoff`].
    #[must_use]
    pub const fn backoff(self, backoff: Backoff) -> Self {
        Self { backoff, ..self }
    }

    /// As [`Config::external_address_interval`].
    #[must_use]
    pub const fn external_address_interval(self, interval: Duration) -> Self {
        Self { interval, ..self }
    }

    /// As [`Config::seed`].
    #[must_use]
    pub const fn seed(self, seed: u64) -> Self {
        Self { seed, ..self }
    }

    /// The same for the client.
    #[must_use]
    pub fn config(&self) -> Config {
        Config::for_gateway(self.gateway)
            .schedule(self.schedule)
            .backoff(self.backoff)
            .external_address_interval(self.interval)
            .seed(self.seed)
    }

    /// How long to wait after each send (section 3.1): of the RFC's own schedules by the RFC's own numbers.
    pub(super) fn waits(&self) -> Vec<Duration> {
        match self.schedule {
            Schedule::RFC => doubled(9),
            Schedule::QUICK => doubled(5),
            other => (1..).map_while(|send| other.wait_after(send)).collect(),
        }
    }

    /// Those of a question that nobody waits for: 7.75 s at most.
    pub(super) fn short_waits(&self) -> Vec<Duration> {
        let (mut left, mut cut) = (LONGEST_QUESTION, Vec::new());
        let waits = self.waits();
        for wait in &waits {
            if left.is_zero() {
                break;
            }
            // No send is left without time for its answer.
            let wait = if left < *wait + waits[0] { left } else { *wait };
            cut.push(wait);
            left -= wait;
        }
        cut
    }

    /// The pause before what failed is tried again: doubled from failure to failure up to the longest, less a quarter at most.
    pub(super) fn pause(&self, failures: u32) -> (Duration, Duration) {
        let (first, longest) = (self.backoff.pause(0), self.backoff.pause(u8::MAX));
        let pause = first.checked_mul(1 << failures.min(30)).map_or(longest, |pause| pause.min(longest));
        (pause - pause / 4, pause)
    }

    pub(super) fn shortest_pause(&self) -> Duration {
        self.backoff.pause(0)
    }

    pub(super) fn pause_from(&self, now: Instant, failures: u32) -> Window {
        let (shortest, longest) = self.pause(failures);
        Window::after(now, shortest, longest)
    }
}

/// 250 ms, and each next wait twice as long.
fn doubled(count: u32) -> Vec<Duration> {
    (0..count).map(|number| Duration::from_millis(250 << number)).collect()
}

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

const LONGEST_QUESTION: Duration = Duration::from_millis(7_750);
