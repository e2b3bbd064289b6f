//! Waiting in real time: a test on real sockets waits for a condition, and a test that would hang fails.

use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

/// Asks until the condition holds.
///
/// # Panics
/// If it does not hold within [`SOON`].
#[track_caller]
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + SOON;
    while !condition() {
        assert!(Instant::now() < deadline, "not within {SOON:?}: {what}");
        thread::sleep(GLANCE);
    }
}

/// What `work` returns; a test that would hang fails instead.
///
/// # Panics
/// If it does not return within [`SOON`], or panics.
#[track_caller]
pub fn in_time<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let waiting = begin(work);
    waiting.recv_timeout(SOON).expect("it returns in time")
}

/// Does `work` on a thread of its own; its result can be received.
pub fn begin<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Receiver<T> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || sender.send(work()));
    receiver
}

/// Long enough for anything that is not meant to wait.
pub const SOON: Duration = Duration::from_secs(10);
const GLANCE: Duration = Duration::from_millis(2);
