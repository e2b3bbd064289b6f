//! Time that goes on while the machine sleeps.
//!
//! Leases run on while a laptop is suspended, and so does this clock, with a timer on it: what is overdue on resume is done
//! at once. Linux and Android: boot time, and a timer of the kernel on boot time. Apple's systems: the clock counts sleep, and
//! there is no such timer; waits are cut to a minute, so that what is overdue is done within a minute of the resume. Elsewhere as
//! well, with the clock that the system offers for elapsed time: Windows' counts sleep, FreeBSD's does not.

use std::io;
use std::time::Duration;

use natpmp_proto::Instant;

use crate::client::Register;

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

#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) use boot_time::Timer;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) use none::Timer;

/// A timer of the kernel on boot time.
#[cfg(any(target_os = "linux", target_os = "android"))]
mod boot_time {
    use std::os::fd::OwnedFd;

    use log::warn;
    use natpmp_proto::Instant;
    use rustix::time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
    };

    use super::{Duration, Register, io};
    use crate::client::Source;

    #[derive(Debug)]
    pub(crate) struct Timer {
        timer: OwnedFd,
        set_to: Option<Instant>,
    }

    impl Timer {
        pub(crate) fn new<R: Register>(register: &mut R) -> io::Result<Self> {
            let timer = timerfd_create(TimerfdClockId::Boottime, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
            register.watch(Source::Timer, timer.try_clone()?)?;
            Ok(Self { timer, set_to: None })
        }

        /// Wakes at `deadline`, and not before it. What is still to be waited for by whoever waits: nothing, or no time at all.
        pub(crate) fn set(&mut self, now: Instant, deadline: Option<Instant>) -> Option<Duration> {
            if deadline.is_some_and(|deadline| deadline <= now) {
                return Some(Duration::ZERO);
            }
            let wait = deadline.map(|deadline| deadline.saturating_since(now).min(LONGEST_WAIT));
            if self.set_to != deadline {
                // No time at all is how it is switched off.
                let it_value = Timespec::try_from(wait.unwrap_or_default()).unwrap_or(NEVER);
                let value = Itimerspec { it_interval: NEVER, it_value };
                if let Err(error) = timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &value) {
                    warn!("the timer cannot be set ({error}): waiting by another one");
                    return wait;
                }
                self.set_to = deadline;
            }
            None
        }
    }

    #[cfg(test)]
    impl Timer {
        /// What the kernel says of it.
        pub(crate) fn information(&self) -> io::Result<String> {
            use std::os::fd::AsRawFd;

            std::fs::read_to_string(format!("/proc/self/fdinfo/{}", self.timer.as_raw_fd()))
        }
    }

    const NEVER: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };
    /// The kernel knows no time beyond some 292 years.
    const LONGEST_WAIT: Duration = Duration::from_secs(1 << 31);
}

/// There is none: who waits does so by the clock of its own timers, and looks again soon.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod none {
    use natpmp_proto::Instant;

    use super::{Duration, Register, io};

    #[derive(Debug)]
    pub(crate) struct Timer;

    impl Timer {
        pub(crate) fn new<R: Register>(_: &mut R) -> io::Result<Self> {
            Ok(Self)
        }

        pub(crate) fn set(&mut self, now: Instant, deadline: Option<Instant>) -> Option<Duration> {
            deadline.map(|deadline| deadline.saturating_since(now).min(LONGEST_WAIT))
        }
    }

    const LONGEST_WAIT: Duration = Duration::from_secs(60);
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
