//! A timer that wakes whoever waits for the sockets, also when it fell due while the machine slept.

use std::io;
use std::time::Duration;

use crate::client::Register;

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
