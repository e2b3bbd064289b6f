//! What happened on a network, in numbers.

use std::fmt;
use std::ops::AddAssign;
use std::time::Duration;

/// The sums of what happened.
#[derive(Clone, Copy, Debug, Default)]
pub struct Statistics {
    /// Virtual time of networks.
    pub network_time: Duration,
    /// Virtual time of hosts.
    pub host_time: Duration,
    /// Things that happened: arrivals, polls, outcomes.
    pub things: u64,
    /// Datagrams that clients sent.
    pub sends: u64,
    /// Datagrams that the gateway received.
    pub requests: u64,
    /// Answers that it sent.
    pub answers: u64,
    /// Announcements that it sent.
    pub announcements: u64,
    /// Datagrams that were forged.
    pub forged: u64,
    /// Times that a fault began.
    pub faults: u64,
    /// Times that all faults ended, and everything came to agree.
    pub peaces: u64,
    /// The longest time that took.
    pub longest_peace: Duration,
}

impl Statistics {
    pub(super) fn pass(&mut self, duration: Duration, hosts: usize) {
        self.network_time += duration;
        self.host_time += duration * u32::try_from(hosts).unwrap_or(u32::MAX);
    }
}

impl AddAssign for Statistics {
    fn add_assign(&mut self, other: Self) {
        self.network_time += other.network_time;
        self.host_time += other.host_time;
        self.things += other.things;
        self.sends += other.sends;
        self.requests += other.requests;
        self.answers += other.answers;
        self.announcements += other.announcements;
        self.forged += other.forged;
        self.faults += other.faults;
        self.peaces += other.peaces;
        self.longest_peace = self.longest_peace.max(other.longest_peace);
    }
}

impl fmt::Display for Statistics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let span = |time: Duration, of: &str| match time.as_secs_f64() / 86_400.0 {
            days if days < DAYS_A_YEAR => format!("{days:.1} {of}-days"),
            days => format!("{:.2} {of}-years", days / DAYS_A_YEAR),
        };
        write!(
            f,
            "{}, {}: {} things happened, {} requests sent and {} received, {} answers, \
             {} announcements, {} forged datagrams; {} faults, {} times peace, in {:?} at the latest",
            span(self.network_time, "network"),
            span(self.host_time, "host"),
            self.things,
            self.sends,
            self.requests,
            self.answers,
            self.announcements,
            self.forged,
            self.faults,
            self.peaces,
            self.longest_peace,
        )
    }
}

const DAYS_A_YEAR: f64 = 365.25;
