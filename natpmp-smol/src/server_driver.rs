use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use async_io::Timer;
use natpmp_engine::server::{ServerEngine, ServerError, ServerOptions, ServerShared, Wait};

use crate::socket::Socket;

/// What makes a [`Server`](crate::server::Server) work: hears all clients, answers them, and keeps time. Spawn it, or poll it beside them.
///
/// It completes when its server was dropped, as soon as the NAT is down and the state is in its file. Nothing of that blocks
/// the task.
///
/// Dropped before that, it does the same at once: it takes the NAT down, saves the state in its file, so that the next server
/// takes it up, and ends the subscriptions. The drop waits for the NAT and the file, as long as they take.
#[must_use = "a gateway does nothing without its driver"]
pub struct ServerDriver {
    shared: Arc<ServerShared>,
    /// Until all is done.
    engine: Option<ServerEngine<Socket>>,
    timer: Option<Timer>,
}

impl ServerDriver {
    pub(crate) fn start(settings: ServerOptions) -> Result<Self, ServerError> {
        let engine = ServerEngine::start(settings, Socket::new)?;
        Ok(Self { shared: Arc::clone(engine.shared()), engine: Some(engine), timer: None })
    }

    pub(crate) fn shared(&self) -> &Arc<ServerShared> {
        &self.shared
    }

    /// Does what is to be done now.
    fn turn(&mut self, context: &mut Context<'_>) -> Turn {
        let Some(engine) = &mut self.engine else { return Turn::End };
        let has_more = engine.receive();
        match engine.drain() {
            Wait::End => {
                self.engine = None;
                Turn::End
            }
            Wait::For(_) if has_more => Turn::Yield,
            Wait::For(wait) if is_ready(engine, &mut self.timer, wait, context) => Turn::Again,
            Wait::For(_) => Turn::Wait,
        }
    }
}

enum Turn {
    /// There is something to do already.
    Again,
    /// There is more to do, after others have had their turn.
    Yield,
    /// The task is woken when there is something to do.
    Wait,
    End,
}

impl Future for ServerDriver {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        // Before anything is looked at, so that nothing can come between: a command, or an outcome of the NAT.
        self.shared.set_waker(context.waker());
        for _ in 0..MOST_TURNS {
            match self.turn(context) {
                Turn::Again => {}
                Turn::Yield => break,
                Turn::Wait => return Poll::Pending,
                Turn::End => return Poll::Ready(()),
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

impl fmt::Debug for ServerDriver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerDriver").finish_non_exhaustive()
    }
}

/// Whether there is something to do already, or else wakes the task when there is.
fn is_ready(
    engine: &ServerEngine<Socket>,
    timer: &mut Option<Timer>,
    wait: Option<Duration>,
    context: &mut Context<'_>,
) -> bool {
    *timer = wait.map(Timer::after);
    let mut is_ready = timer.as_mut().is_some_and(|timer| Pin::new(timer).poll(context).is_ready());
    // All of them are to wake the task: none is passed over because another one is ready.
    for socket in engine.sockets() {
        if let Poll::Ready(result) = socket.poll_readable(context) {
            is_ready = true;
            if let Err(error) = result {
                engine.give_up(&error);
            }
        }
    }
    is_ready
}

const MOST_TURNS: u8 = 16;
