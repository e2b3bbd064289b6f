use std::io;
use std::sync::Arc;
use std::task::Wake;

use log::warn;
use mio::{Registry, Token};

/// Makes whoever polls come back.
pub(crate) fn waker(registry: &Registry, token: Token) -> io::Result<std::task::Waker> {
    Ok(Arc::new(Waker(mio::Waker::new(registry, token)?)).into())
}

struct Waker(mio::Waker);

impl Wake for Waker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if let Err(error) = self.0.wake() {
            warn!("the worker cannot be woken: {error}");
        }
    }
}
