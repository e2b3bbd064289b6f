//! The clock: milliseconds since boot, from the timer that every Cortex-M has.

use core::sync::atomic::{AtomicU32, Ordering};

use cortex_m::peripheral::SYST;
use cortex_m::peripheral::syst::SystClkSource;
use cortex_m_rt::exception;
use natpmp_proto::Instant;

use crate::board::CORE_HZ;

/// Counts the milliseconds in 64 bits: 32 of them would be back at 0 after 49 days.
#[derive(Debug)]
pub struct Clock {
    seen: u32,
    millis: u64,
}

impl Clock {
    /// Starts it at 0. From now on it also wakes a processor that sleeps, every millisecond.
    #[must_use]
    pub fn start(mut timer: SYST) -> Self {
        timer.set_clock_source(SystClkSource::Core);
        timer.set_reload(CORE_HZ / 1_000 - 1);
        timer.clear_current();
        timer.enable_counter();
        timer.enable_interrupt();
        Self { seen: 0, millis: 0 }
    }

    /// The time; to be asked for once in 49 days at least.
    pub fn now(&mut self) -> Instant {
        let ticks = TICKS.load(Ordering::Relaxed);
        self.millis += u64::from(ticks.wrapping_sub(self.seen));
        self.seen = ticks;
        Instant::from_millis(self.millis)
    }
}

/// The same moment for smoltcp.
#[must_use]
pub fn to_smoltcp(now: Instant) -> smoltcp::time::Instant {
    smoltcp::time::Instant::from_micros(i64::try_from(now.as_micros()).unwrap_or(i64::MAX))
}

/// And back.
#[must_use]
pub fn from_smoltcp(at: smoltcp::time::Instant) -> Instant {
    Instant::from_micros(u64::try_from(at.total_micros()).unwrap_or(0))
}

#[exception]
fn SysTick() {
    // The only one who writes. Cortex-M0 has no atomic addition.
    TICKS.store(TICKS.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
}

static TICKS: AtomicU32 = AtomicU32::new(0);
