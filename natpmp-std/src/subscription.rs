use std::fmt;
use std::time::{Duration, Instant};

use natpmp_engine::EventQueue;

/// What a client tells, one after the other: an iterator that blocks until there is more, and ends when the client is gone.
///
/// It begins with what happens after it was made. A subscriber that does not keep up loses the oldest: 4,096 are kept.
pub struct Subscription<T>(EventQueue<T>);

impl<T> Subscription<T> {
    pub(crate) const fn new(events: EventQueue<T>) -> Self {
        Self(events)
    }

    /// The next one, waiting for it no longer than `timeout`; `None` if there is none by then, or the client is gone.
    #[must_use]
    pub fn next_timeout(&mut self, timeout: Duration) -> Option<T> {
        self.0.wait_next(Instant::now().checked_add(timeout))
    }
}

impl<T> Iterator for Subscription<T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.0.wait_next(None)
    }
}

impl<T> fmt::Debug for Subscription<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription").finish_non_exhaustive()
    }
}
