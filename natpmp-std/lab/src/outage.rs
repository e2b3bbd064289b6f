//! Waiting for a condition, never for a time; and measuring for how long one did not hold.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
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
        std::thread::sleep(GLANCE);
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

/// A thread that asks again and again, ten times a second at most; ended when dropped.
#[derive(Debug)]
pub struct Meter {
    stop: Arc<AtomicBool>,
    probes: Arc<Mutex<Vec<Probe>>>,
    thread: Option<JoinHandle<()>>,
}

/// One question.
#[derive(Clone, Copy, Debug)]
pub struct Probe {
    /// When it was asked.
    pub at: Instant,
    /// Whether there was an answer.
    pub is_answered: bool,
}

impl Meter {
    /// Begins. `ask` is called in a thread of the meter's own, in the network namespace of the thread that calls this.
    #[must_use]
    pub fn start(mut ask: impl FnMut() -> bool + Send + 'static) -> Self {
        let (stop, probes) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let (stopped, noted) = (Arc::clone(&stop), Arc::clone(&probes));
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                let at = Instant::now();
                let is_answered = ask();
                lock(&noted).push(Probe { at, is_answered });
                std::thread::sleep(INTERVAL.saturating_sub(at.elapsed()));
            }
        });
        Self { stop, probes, thread: Some(thread) }
    }

    /// All that was asked so far, the earliest first.
    #[must_use]
    pub fn probes(&self) -> Vec<Probe> {
        lock(&self.probes).clone()
    }

    /// Whether the last three questions were asked after this, and each had its answer.
    #[must_use]
    pub fn is_steady_since(&self, time: Instant) -> bool {
        let probes = lock(&self.probes);
        probes.last_chunk::<3>().is_some_and(|last| last.iter().all(|probe| probe.at > time && probe.is_answered))
    }

    /// For how long there was no answer at most, between these two times: from the last question that had one to the next that had.
    #[must_use]
    pub fn longest_outage(&self, from: Instant, to: Instant) -> Duration {
        let (mut longest, mut last, mut is_out) = (Duration::ZERO, None, false);
        for probe in lock(&self.probes).iter().filter(|probe| probe.at <= to) {
            let since = probe.at.saturating_duration_since(*last.get_or_insert(probe.at));
            if is_out && probe.at >= from {
                longest = longest.max(since);
            }
            if probe.is_answered {
                last = Some(probe.at);
            }
            is_out = !probe.is_answered;
        }
        longest
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn lock(probes: &Mutex<Vec<Probe>>) -> MutexGuard<'_, Vec<Probe>> {
    probes.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Between two looks at a condition.
const GLANCE: Duration = Duration::from_millis(5);
/// Between two questions of a meter.
const INTERVAL: Duration = Duration::from_millis(100);
