//! A thread for what may block, so that the engine need not.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Waker;
use std::thread::{self, JoinHandle};

/// The thread. Dropping this waits for its end.
#[derive(Debug)]
pub(super) struct Helper {
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Helper {
    /// Wakes `waker` when `work` is done.
    pub(super) fn start(name: &str, waker: Waker, work: impl FnOnce() + Send + 'static) -> io::Result<Self> {
        let is_over = Arc::new(AtomicBool::new(false));
        let end = End { is_over: Arc::clone(&is_over), waker };
        let thread = thread::Builder::new().name(name.into()).spawn(move || {
            // Told also if the work panics.
            let _end = end;
            work();
        })?;
        Ok(Self { is_over, thread: Some(thread) })
    }

    /// Whether all is done.
    pub(super) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Acquire)
    }

    /// Waits for the end.
    pub(super) fn join(&mut self) {
        if let Some(thread) = self.thread.take() {
            // One that panicked has nothing more to say.
            let _ = thread.join();
        }
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        self.join();
    }
}

struct End {
    is_over: Arc<AtomicBool>,
    waker: Waker,
}

impl Drop for End {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Release);
        self.waker.wake_by_ref();
    }
}
