use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use natpmp_proto::Instant;

use super::state::Core;
use super::waiters::{Answer, Awaited, Outcome};
use super::{ClientHandle, Error};

/// Waits for what the gateway says to a request. The request is on its way when this exists; dropping it gives up the waiting, and
/// changes nothing else. A mapping that no call heard of is deleted when the client ends.
#[must_use = "the outcome is told to whoever waits for it"]
pub struct Call<T> {
    handle: Arc<ClientHandle>,
    state: State<T>,
    began: Instant,
    bound: Option<Duration>,
    read: fn(Answer) -> Option<T>,
    /// It waits for a deletion.
    is_ending: bool,
}

enum State<T> {
    Known(Result<T, Error>),
    Waiting(u64),
    Done,
}

impl<T> Call<T> {
    /// The command and the wait begin under one lock, so that no event can come between. The command says if there is nothing to
    /// wait for. The wait ends after `bound`, if there is one.
    pub(crate) fn begin(
        handle: &Arc<ClientHandle>,
        awaited: Awaited,
        bound: Option<Duration>,
        read: fn(Answer) -> Option<T>,
        command: impl FnOnce(&mut Core, Instant) -> Result<Option<T>, Error>,
    ) -> Self {
        let (state, began) = handle.shared.command(|core, now| {
            let state = match command(core, now) {
                Ok(None) => State::Waiting(core.waiters.add(awaited, bound.map(|bound| now + bound))),
                Ok(Some(known)) => State::Known(Ok(known)),
                Err(error) => State::Known(Err(error)),
            };
            (state, now)
        });
        let is_ending = matches!(awaited, Awaited::Ending(..));
        Self { handle: Arc::clone(handle), state, began, bound, read, is_ending }
    }

    fn result(&self, core: &mut Core, now: Instant, outcome: Outcome) -> Result<T, Error> {
        if let Outcome::Answered(Answer::Mapping(mapping)) = outcome {
            core.owners.hear(mapping.protocol, mapping.internal_port);
        }
        if outcome == Outcome::TimedOut && self.is_ending {
            core.is_silent = true;
        }
        let gateway = core.machine.gateway();
        let waited = now.saturating_since(self.began);
        match outcome {
            Outcome::Answered(answer) => (self.read)(answer).ok_or(Error::Interrupted),
            Outcome::Failed(error) => Err(Error::from_machine(error, gateway, waited, core.network_error)),
            Outcome::Interrupted => Err(Error::Interrupted),
            Outcome::TimedOut => Err(Error::NoAnswer { gateway, waited: self.bound.unwrap_or(waited) }),
            Outcome::Stopped => Err(Error::Stopped),
        }
    }
}

/// It is never pinned: nothing in it refers to itself.
impl<T> Unpin for Call<T> {}

impl<T> Future for Call<T> {
    type Output = Result<T, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match std::mem::replace(&mut self.state, State::Done) {
            State::Known(result) => Poll::Ready(result),
            State::Waiting(id) => {
                let shared = Arc::clone(&self.handle.shared);
                let outcome = shared.with(|core, now| {
                    let outcome = core.waiters.take(id, context.waker().clone())?;
                    Ok::<_, Waker>(self.result(core, now, outcome))
                });
                match outcome {
                    Ok(result) => Poll::Ready(result),
                    Err(_before) => {
                        self.state = State::Waiting(id);
                        Poll::Pending
                    }
                }
            }
            // It was polled once too often.
            State::Done => Poll::Ready(Err(Error::Stopped)),
        }
    }
}

impl<T> Drop for Call<T> {
    fn drop(&mut self) {
        let State::Waiting(id) = self.state else { return };
        // It is dropped without the lock.
        let _waker = self.handle.shared.with(|core, _| core.waiters.remove(id));
    }
}
