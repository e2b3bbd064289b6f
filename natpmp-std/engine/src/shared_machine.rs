use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Wake, Waker};

use natpmp_proto::Instant;

use crate::os::clock::Clock;

/// A machine and whoever waits for what it says, shared by those who give it commands and the one who drives it.
pub(crate) struct SharedMachine<C> {
    core: Mutex<C>,
    alert: Arc<Alert>,
    pub(crate) clock: Clock,
}

/// Whoever is to be woken as soon as the lock is given back: waking, and dropping what was waited with, may run code of others.
pub(crate) trait PendingWakers {
    fn woken(&mut self) -> &mut Vec<Waker>;
}

impl<C: PendingWakers> SharedMachine<C> {
    pub(crate) fn new(core: C) -> Self {
        let alert = Arc::new(Alert(Mutex::new(Waker::noop().clone())));
        Self { core: Mutex::new(core), alert, clock: Clock::start() }
    }

    /// Who is to be woken when there is something to do.
    pub(crate) fn set_waker(&self, waker: &Waker) {
        self.alert.set(waker);
    }

    /// Wakes whoever drives at that time.
    #[cfg(feature = "server")]
    pub(crate) fn waker(&self) -> Waker {
        Waker::from(Arc::clone(&self.alert))
    }

    /// Gives a command; the driver carries out what follows from it.
    pub(crate) fn command<T>(&self, command: impl FnOnce(&mut C, Instant) -> T) -> T {
        let result = self.with(command);
        self.alert.wake_by_ref();
        result
    }

    /// Has the core for itself.
    pub(crate) fn with<T>(&self, work: impl FnOnce(&mut C, Instant) -> T) -> T {
        let mut core = self.core.lock().unwrap_or_else(PoisonError::into_inner);
        let result = work(&mut core, self.now());
        let woken = std::mem::take(core.woken());
        drop(core);
        woken.into_iter().for_each(Waker::wake);
        result
    }

    pub(crate) fn now(&self) -> Instant {
        self.clock.now()
    }
}

/// Passes a wake-up on to whoever drives now.
struct Alert(Mutex<Waker>);

impl Alert {
    fn set(&self, waker: &Waker) {
        let mut current = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !current.will_wake(waker) {
            let before = std::mem::replace(&mut *current, waker.clone());
            drop(current);
            drop(before);
        }
    }
}

impl Wake for Alert {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let waker = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        waker.wake();
    }
}
