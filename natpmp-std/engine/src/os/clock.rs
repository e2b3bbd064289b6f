//! Time that goes on while the machine sleeps.
//!
//! Leases run on while a laptop is suspended, and so does this clock, with a timer on it: what is overdue on resume is done
//! at once. Linux and Android: boot time, and a timer of the kernel on boot time. Apple's systems: the clock counts sleep, and
//! there is no such timer; waits are cut to a minute, so that what is overdue is done within a minute of the resume. Elsewhere as
//! well, with the clock that the system offers for elapsed time: Windows' counts sleep, FreeBSD's does not.

use std::time::Duration;

use natpmp_proto::Instant;

/// The time since it was made.
#[derive(Debug)]
pub(crate) struct Clock {
    origin: Reading,
    /// Simulated sleep.
    #[cfg(test)]
    slept: std::sync::Mutex<Duration>,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self {
            origin: read(),
            #[cfg(test)]
            slept: std::sync::Mutex::default(),
        }
    }

    pub(crate) fn now(&self) -> Instant {
        let elapsed = since(self.origin);
        #[cfg(test)]
        let elapsed = elapsed + *self.slept.lock().unwrap();
        Instant::ZERO + elapsed
    }

    /// The machine sleeps this long.
    #[cfg(test)]
    pub(crate) fn sleep(&self, duration: Duration) {
        *self.slept.lock().unwrap() += duration;
    }
}

#[cfg(unix)]
type Reading = Duration;

#[cfg(unix)]
fn read() -> Reading {
    use rustix::time::{ClockId, clock_gettime};

    #[cfg(any(target_os = "linux", target_os = "android"))]
    const ID: ClockId = ClockId::Boottime;
    // Apple's counts sleep, unlike `std::time::Instant` there.
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    const ID: ClockId = ClockId::Monotonic;
    Duration::try_from(clock_gettime(ID)).unwrap_or_default()
}

#[cfg(unix)]
fn since(origin: Reading) -> Duration {
    read().saturating_sub(origin)
}

#[cfg(not(unix))]
type Reading = std::time::Instant;

#[cfg(not(unix))]
fn read() -> Reading {
    std::time::Instant::now()
}

#[cfg(not(unix))]
fn since(origin: Reading) -> Duration {
    origin.elapsed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_on() {
        let clock = Clock::start();
        let before = clock.now();
        assert!(before < Instant::from_secs(60));
        while clock.now() <= before {}
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn it_is_the_clock_that_counts_suspend() {
        let uptime = std::fs::read_to_string("/proc/uptime").unwrap();
        let uptime: f64 = uptime.split(' ').next().unwrap().parse().unwrap();
        assert!((read().as_secs_f64() - uptime).abs() < 1.0, "/proc/uptime counts suspend");
    }
}
