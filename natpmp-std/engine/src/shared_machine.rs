use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Wake, Waker};

use natpmp_proto::Instant;

use crate::os::clock::Clock;

/// A machine with whoever waits for what it says, shared by those who give it commands and the one who drives it.
///
/// `S` is all that the lock protects. Nobody is woken under the lock: see [`PendingWakers`].
pub(crate) struct SharedMachine<S> {
    state: Mutex<S>,
    driver: Arc<DriverWaker>,
    pub(crate) clock: Clock,
}

/// Those to be woken as soon as the lock is given back: waking them, and dropping what they waited with, may run code of others.
pub(crate) trait PendingWakers {
    /// Where those are collected while the lock is held.
    fn pending_wakers(&mut self) -> &mut Vec<Waker>;
}

impl<S: PendingWakers> SharedMachine<S> {
    pub(crate) fn new(state: S) -> Self {
        let driver = Arc::new(DriverWaker(Mutex::new(Waker::noop().clone())));
        Self { state: Mutex::new(state), driver, clock: Clock::start() }
    }

    /// Sets who drives the machine from now on: it is woken when there is something to do.
    pub(crate) fn set_waker(&self, waker: &Waker) {
        self.driver.set(waker);
    }

    /// A waker of whoever drives the machine at the time of waking.
    #[cfg(feature = "server")]
    pub(crate) fn waker(&self) -> Waker {
        Waker::from(Arc::clone(&self.driver))
    }

    /// Gives a command, and wakes the driver to carry out what follows from it.
    pub(crate) fn command<T>(&self, command: impl FnOnce(&mut S, Instant) -> T) -> T {
        let result = self.with(command);
        self.driver.wake_by_ref();
        result
    }

    /// Takes the lock, works on the state, gives the lock back, and wakes those that the work has collected.
    pub(crate) fn with<T>(&self, work: impl FnOnce(&mut S, Instant) -> T) -> T {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let result = work(&mut state, self.now());
        let pending_wakers = std::mem::take(state.pending_wakers());
        drop(state);
        pending_wakers.into_iter().for_each(Waker::wake);
        result
    }

    pub(crate) fn now(&self) -> Instant {
        self.clock.now()
    }
}

/// Passes a wake-up on to whoever drives now.
struct DriverWaker(Mutex<Waker>);

impl DriverWaker {
    fn set(&self, waker: &Waker) {
        let mut current = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !current.will_wake(waker) {
            let before = std::mem::replace(&mut *current, waker.clone());
            drop(current);
            drop(before);
        }
    }
}

impl Wake for DriverWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let waker = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        waker.wake();
    }
}
