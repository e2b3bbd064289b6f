//! Calls that wait for what the gateway says.

use std::future::Future;
use std::net::Ipv4Addr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use natpmp_proto::client::{Ending, Event, RequestError};
use natpmp_proto::{Instant, Mapping, Protocol};

use super::state::State;
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
        command: impl FnOnce(&mut State, Instant) -> Result<Option<T>, Error>,
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

    fn result(&self, state: &mut State, now: Instant, outcome: Outcome) -> Result<T, Error> {
        if let Outcome::Answered(Answer::Mapping(mapping)) = outcome {
            state.owners.mark_reported(mapping.protocol, mapping.internal_port);
        }
        if outcome == Outcome::TimedOut && matches!(self.awaited, Awaited::Ending(..)) {
            state.is_gateway_silent = true;
        }
        let gateway = state.machine.gateway();
        let waited = now.saturating_since(self.began);
        let failed = |error| Err(Error::from_machine(error, gateway, waited, state.network_error));
        match outcome {
            Outcome::Answered(answer) => (self.read)(answer).ok_or(Error::Interrupted),
            Outcome::Failed(error) => failed(error),
            Outcome::Interrupted => Err(Error::Interrupted),
            Outcome::TimedOut => match self.last_error(state) {
                Some(error) => failed(error),
                None => Err(Error::NoAnswer { gateway, waited: self.bound.unwrap_or(waited) }),
            },
            Outcome::Stopped => Err(Error::Stopped),
        }
    }

    /// Why a kept mapping is not open so far.
    fn last_error(&self, state: &State) -> Option<RequestError> {
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
            // It was polled once too often.
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

/// What a call waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Awaited {
    ExternalAddress,
    Mapping(Protocol, u16),
    /// A kept one, whatever it takes.
    Open(Protocol, u16),
    Ending(Protocol, u16),
    UnmappedAll(Protocol),
}

/// What it gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Address(Ipv4Addr),
    Mapping(Mapping),
    Ended(Ending),
    UnmappedAll,
}

impl Answer {
    pub(crate) fn mapping(self) -> Option<Mapping> {
        match self {
            Self::Mapping(mapping) => Some(mapping),
            _ => None,
        }
    }

    pub(crate) fn ending(self) -> Option<Ending> {
        match self {
            Self::Ended(ending) => Some(ending),
            _ => None,
        }
    }
}

/// How a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Answered(Answer),
    Failed(RequestError),
    /// Something else was done with the mapping meanwhile.
    Interrupted,
    /// The call waits no longer.
    TimedOut,
    /// Nobody will answer any more.
    Stopped,
}

/// All calls that wait, or have an outcome that was not fetched yet.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    waiting: Vec<Waiting>,
    last: u64,
}

#[derive(Debug)]
struct Waiting {
    id: u64,
    awaited: Awaited,
    deadline: Option<Instant>,
    outcome: Option<Outcome>,
    waker: Waker,
}

impl Waiters {
    /// A call waits from now on, by this number.
    pub(crate) fn add(&mut self, awaited: Awaited, deadline: Option<Instant>) -> u64 {
        self.last = self.last.saturating_add(1);
        self.waiting.push(Waiting { id: self.last, awaited, deadline, outcome: None, waker: Waker::noop().clone() });
        self.last
    }

    /// The outcome, if it is there: then the call waits no longer. If not, `waker` is pending_wakers when it is; the one before it comes
    /// back, to be dropped without any lock.
    pub(crate) fn take(&mut self, id: u64, waker: Waker) -> Result<Outcome, Waker> {
        let Some(index) = self.waiting.iter().position(|waiting| waiting.id == id) else { return Ok(Outcome::Stopped) };
        match self.waiting.get_mut(index) {
            Some(waiting) if waiting.outcome.is_none() => Err(std::mem::replace(&mut waiting.waker, waker)),
            _ => Ok(self.waiting.swap_remove(index).outcome.unwrap_or(Outcome::Stopped)),
        }
    }

    /// A call was given up. What comes back is to be dropped without any lock.
    pub(crate) fn remove(&mut self, id: u64) -> Option<Waker> {
        let index = self.waiting.iter().position(|waiting| waiting.id == id)?;
        Some(self.waiting.swap_remove(index).waker)
    }

    /// Gives the event to all who wait for it. Whoever is to be woken is added to `pending_wakers`.
    pub(crate) fn dispatch_event(&mut self, event: &Event, pending_wakers: &mut Vec<Waker>) {
        self.resolve(pending_wakers, |waiting| waiting.awaited.outcome(event));
    }

    /// Ends the waits that were to last no longer than to `now`.
    pub(crate) fn handle_timeout(&mut self, now: Instant, pending_wakers: &mut Vec<Waker>) {
        self.resolve(pending_wakers, |waiting| {
            waiting.deadline.filter(|&deadline| deadline <= now).map(|_| Outcome::TimedOut)
        });
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let waiting = self.waiting.iter().filter(|waiting| waiting.outcome.is_none());
        waiting.filter_map(|waiting| waiting.deadline).min()
    }

    /// Ends all waits: nobody will answer any more.
    pub(crate) fn close(&mut self, pending_wakers: &mut Vec<Waker>) {
        self.resolve(pending_wakers, |_| Some(Outcome::Stopped));
    }

    fn resolve(&mut self, pending_wakers: &mut Vec<Waker>, outcome: impl Fn(&Waiting) -> Option<Outcome>) {
        for waiting in self.waiting.iter_mut().filter(|waiting| waiting.outcome.is_none()) {
            waiting.outcome = outcome(waiting);
            if waiting.outcome.is_some() {
                pending_wakers.push(std::mem::replace(&mut waiting.waker, Waker::noop().clone()));
            }
        }
    }
}

impl Awaited {
    /// What the event means to a call that waits; `None` if it is not about it.
    fn outcome(self, event: &Event) -> Option<Outcome> {
        match (self, *event) {
            (Self::ExternalAddress, Event::ExternalAddress(result)) => Some(outcome(result.map(Answer::Address))),
            (Self::UnmappedAll(awaited), Event::UnmappedAll { protocol, result }) if protocol == awaited => {
                Some(outcome(result.map(|()| Answer::UnmappedAll)))
            }
            (Self::Mapping(protocol, port) | Self::Open(protocol, port) | Self::Ending(protocol, port), event)
                if event.mapping_key() != Some((protocol, port)) =>
            {
                None
            }
            (Self::Mapping(..), event) => outcome_of_mapping(event),
            // Failures are no end of it.
            (Self::Open(..), Event::Failed { .. }) => None,
            (Self::Open(..), event) => outcome_of_mapping(event),
            (Self::Ending(..), event) => outcome_of_ending(event),
            _ => None,
        }
    }
}

fn outcome_of_mapping(event: Event) -> Option<Outcome> {
    match event {
        Event::Mapped(mapping) | Event::Renewed(mapping) | Event::PortChanged { mapping, .. } => {
            Some(Outcome::Answered(Answer::Mapping(mapping)))
        }
        Event::Failed { error, .. } | Event::Ended { ending: Ending::NotMapped(error), .. } => {
            Some(Outcome::Failed(error))
        }
        // It was to be renewed, and no answer came in time.
        Event::Ended { ending: Ending::Expired, .. } => Some(Outcome::Failed(RequestError::NoAnswer)),
        Event::Ended { .. } => Some(Outcome::Interrupted),
        _ => None,
    }
}

fn outcome_of_ending(event: Event) -> Option<Outcome> {
    match event {
        Event::Ended { ending: Ending::NotUnmapped(error), .. } => Some(Outcome::Failed(error)),
        Event::Ended { ending, .. } => Some(Outcome::Answered(Answer::Ended(ending))),
        Event::Mapped(_) | Event::PortChanged { .. } => Some(Outcome::Interrupted),
        _ => None,
    }
}

fn outcome(result: Result<Answer, RequestError>) -> Outcome {
    result.map_or_else(Outcome::Failed, Outcome::Answered)
}
