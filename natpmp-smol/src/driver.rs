use std::fmt;
use std::future::Future;
use std::io;
use std::net::UdpSocket;
#[cfg(unix)]
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

#[cfg(unix)]
use async_io::Async;
use async_io::Timer;
use natpmp_engine::client::{CallbackRunner, ClientConfig, ClientEngine, ClientShared, Register, Source, Wait};

use crate::socket::Socket;

/// What makes a client work: it sends, receives and keeps time, for any number of mappings and callers. Spawn it, or poll it
/// beside them.
///
/// It completes when the last handle of its client (clones, kept mappings, futures) is gone, after the deletions that are
/// under way, or when no answer has come for 2 s or the goodbye that was chosen. Dropped before that, it leaves calls that wait with
/// [`Error::Stopped`](crate::Error::Stopped), ends the streams, and deletes nothing.
#[must_use = "a client does nothing without its driver"]
pub struct ClientDriver {
    engine: ClientEngine<Registrar>,
    callbacks: CallbackRunner,
    /// Where the engine has no timer of its own.
    timer: Option<Timer>,
}

impl ClientDriver {
    pub(crate) fn new(config: &ClientConfig) -> io::Result<Self> {
        let (engine, callbacks) = ClientEngine::new(config, Registrar::default())?;
        Ok(Self { engine, callbacks, timer: None })
    }

    pub(crate) fn shared(&self) -> &Arc<ClientShared> {
        self.engine.shared()
    }

    /// Whether there is something to do already, or else wakes the task when there is.
    ///
    /// # Errors
    /// If the system does not say.
    fn is_ready(&mut self, wait: Option<Duration>, context: &mut Context<'_>) -> io::Result<bool> {
        self.timer = wait.map(Timer::after);
        let mut is_ready = self.timer.as_mut().is_some_and(|timer| Pin::new(timer).poll(context).is_ready());
        for source in Source::ALL {
            if self.is_readable(source, context)? {
                self.engine.note_readable(source);
                is_ready = true;
            }
        }
        Ok(is_ready)
    }

    /// All of them are to wake the task: none is passed over because another one is readable.
    fn is_readable(&self, source: Source, context: &mut Context<'_>) -> io::Result<bool> {
        let mut is_any = false;
        for socket in self.engine.sockets(source) {
            is_any |= has_come(socket.poll_readable(context))?;
        }
        #[cfg(unix)]
        for (_, descriptor) in self.engine.register().descriptors.iter().filter(|(its, _)| *its == source) {
            is_any |= has_come(descriptor.poll_readable(context))?;
        }
        Ok(is_any)
    }
}

fn has_come(poll: Poll<io::Result<()>>) -> io::Result<bool> {
    match poll {
        Poll::Ready(result) => result.map(|()| true),
        Poll::Pending => Ok(false),
    }
}

impl Future for ClientDriver {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let driver = &mut *self;
        // Before anything is looked at, so that no command can come between.
        driver.engine.shared().set_waker(context.waker());
        // An answer that is there already is taken at once, whatever woke this.
        driver.engine.note_readable(Source::Request);
        let mut wait = None;
        // There may be a command, which says nothing here.
        let mut has_more = true;
        for _ in 0..MOST_TURNS {
            match driver.is_ready(wait, context) {
                Ok(false) if !has_more => return Poll::Pending,
                Ok(_) => {}
                Err(error) => {
                    driver.engine.give_up(&error);
                    return Poll::Ready(());
                }
            }
            has_more = driver.engine.receive();
            let next = driver.engine.drain();
            driver.callbacks.run_waiting();
            let Wait::For(until) = next else { return Poll::Ready(()) };
            wait = until;
        }
        // Other tasks are to have their turn.
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

impl fmt::Debug for ClientDriver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientDriver").finish_non_exhaustive()
    }
}

#[derive(Default)]
struct Registrar {
    #[cfg(unix)]
    descriptors: Vec<(Source, Async<OwnedFd>)>,
}

impl Register for Registrar {
    type Socket = Socket;

    fn register(&mut self, _: Source, socket: UdpSocket) -> io::Result<Socket> {
        Socket::new(socket)
    }

    #[cfg(unix)]
    fn watch(&mut self, source: Source, descriptor: OwnedFd) -> io::Result<()> {
        self.descriptors.push((source, Async::new_nonblocking(descriptor)?));
        Ok(())
    }
}

const MOST_TURNS: u8 = 16;
