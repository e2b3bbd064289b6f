//! Waiting for a condition, never for a time.

use std::time::{Duration, Instant};

/// Asks until the condition holds, and for `limit` at most. Whether it came to hold.
#[must_use]
pub fn wait_until(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + limit;
    loop {
        if condition() {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        std::thread::sleep(INTERVAL);
    }
}

/// Does something, and says how long it was until the condition held, which is also printed.
///
/// # Panics
/// If it does not hold within `limit`.
pub fn back_within(limit: Duration, what: &str, mend: impl FnOnce(), is_back: impl FnMut() -> bool) -> Duration {
    mend();
    let mended = Instant::now();
    assert!(wait_until(limit, is_back), "{what}: not back within {limit:?}");
    let took = mended.elapsed();
    println!("{what}: back after {took:?}");
    took
}

const INTERVAL: Duration = Duration::from_millis(5);
