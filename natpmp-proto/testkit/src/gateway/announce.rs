//! Announcements: when they are due (section 3.2.1).

use std::time::Duration;

use natpmp_proto::Instant;

/// Ten announcements, the first gap 250 ms, each next one doubled.
#[derive(Clone, Copy, Debug)]
pub(super) struct Series {
    next: Instant,
    sent: u32,
}

impl Series {
    pub(super) fn new(now: Instant) -> Self {
        Self { next: now, sent: 0 }
    }

    pub(super) fn due(&self) -> Option<Instant> {
        (self.sent < ANNOUNCEMENTS).then_some(self.next)
    }

    /// Counts one as sent, if one is due.
    pub(super) fn send(&mut self, now: Instant) -> bool {
        let is_due = self.due().is_some_and(|due| due <= now);
        if is_due {
            self.next = now + FIRST_GAP * 2u32.pow(self.sent);
            self.sent += 1;
        }
        is_due
    }
}

const ANNOUNCEMENTS: u32 = 10;
const FIRST_GAP: Duration = Duration::from_millis(250);
