//! Calls that wait for what the gateway says.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use natpmp_proto::Instant;
use natpmp_proto::client::RequestError;

use super::state::ClientState;
use super::waiters::{Answer, Awaited, CallOutcome};
use super::{ClientHandle, Error};

/// A future of what the gateway says to a request.
///
/// The request is on its way as soon as this exists, whether it is polled or not. Dropping it gives up the wait, and changes nothing
/// else; a mapping that no call has reported is deleted when the client ends. It holds the client, borrows nothing and is
/// [`Unpin`].
#[must_use = "the request is on its way, but only this has its outcome"]
pub struct Call<T> {
    handle: Arc<ClientHandle>,
    state: CallState<T>,
    began: Instant,
    bound: Option<Duration>,
    read: fn(Answer) -> Option<T>,
    awaited: Awaited,
}

enum CallState<T> {
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
        command: impl FnOnce(&mut ClientState, Instant) -> Result<Option<T>, Error>,
    ) -> Self {
        let (call, began) = handle.shared.command(|state, now| {
            let call = match command(state, now) {
                Ok(None) if state.is_closed() => CallState::Known(Err(Error::Stopped)),
                Ok(None) => CallState::Waiting(state.waiters.add(awaited, bound.map(|bound| now + bound))),
                Ok(Some(known)) => CallState::Known(Ok(known)),
                Err(error) => CallState::Known(Err(error)),
            };
            (call, now)
        });
        Self { handle: Arc::clone(handle), state: call, began, bound, read, awaited }
    }

    fn result(&self, state: &mut ClientState, now: Instant, outcome: CallOutcome) -> Result<T, Error> {
        if let CallOutcome::Answered(Answer::Mapping(mapping)) = outcome {
            state.owners.mark_reported(mapping.protocol, mapping.internal_port);
        }
        if outcome == CallOutcome::TimedOut && matches!(self.awaited, Awaited::Ending(..)) {
            state.is_gateway_silent = true;
        }
        let gateway = state.machine.gateway();
        let waited = now.saturating_since(self.began);
        let failed = |error| Err(Error::from_machine(error, gateway, waited, state.network_error));
        match outcome {
            CallOutcome::Answered(answer) => (self.read)(answer).ok_or(Error::Interrupted),
            CallOutcome::Failed(error) => failed(error),
            CallOutcome::Interrupted => Err(Error::Interrupted),
            CallOutcome::TimedOut => match self.last_error(state) {
                Some(error) => failed(error),
                None => Err(Error::NoAnswer { gateway, waited: self.bound.unwrap_or(waited) }),
            },
            CallOutcome::Stopped => Err(Error::Stopped),
        }
    }

    /// Why a kept mapping is not open so far.
    fn last_error(&self, state: &ClientState) -> Option<RequestError> {
        match self.awaited {
            Awaited::Open(protocol, port) => state.machine.mapping(protocol, port)?.last_error,
            _ => None,
        }
    }
}

/// It is never pinned: nothing in it refers to itself.
impl<T> Unpin for Call<T> {}

impl<T> Future for Call<T> {
    type Output = Result<T, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match std::mem::replace(&mut self.state, CallState::Done) {
            CallState::Known(result) => Poll::Ready(result),
            CallState::Waiting(id) => {
                let shared = Arc::clone(&self.handle.shared);
                let outcome = shared.with(|state, now| {
                    let outcome = state.waiters.take(id, context.waker().clone())?;
                    Ok::<_, Waker>(self.result(state, now, outcome))
                });
                match outcome {
                    Ok(result) => Poll::Ready(result),
                    Err(_before) => {
                        self.state = CallState::Waiting(id);
                        Poll::Pending
                    }
                }
            }
            // A future that is ready is not to be polled again.
            CallState::Done => Poll::Ready(Err(Error::Stopped)),
        }
    }
}

impl<T> Drop for Call<T> {
    fn drop(&mut self) {
        let CallState::Waiting(id) = self.state else { return };
        // It is dropped without the lock.
        let _waker = self.handle.shared.with(|state, _| state.waiters.remove(id));
    }
}
