//! The calls that wait for an event of the machine, and what each event means to them.

use std::net::Ipv4Addr;
use std::task::Waker;

use natpmp_proto::client::{Ending, Event, RequestError};
use natpmp_proto::{Instant, Mapping, Protocol};

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
pub(crate) enum CallOutcome {
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
    outcome: Option<CallOutcome>,
    waker: Waker,
}

impl Waiters {
    /// A call waits from now on, by this number.
    pub(crate) fn add(&mut self, awaited: Awaited, deadline: Option<Instant>) -> u64 {
        self.last = self.last.saturating_add(1);
        self.waiting.push(Waiting { id: self.last, awaited, deadline, outcome: None, waker: Waker::noop().clone() });
        self.last
    }

    /// The outcome, if it is there: then the call waits no longer. If not, `waker` is woken when it is; the one before it comes
    /// back, to be dropped without any lock.
    pub(crate) fn take(&mut self, id: u64, waker: Waker) -> Result<CallOutcome, Waker> {
        let Some(index) = self.waiting.iter().position(|waiting| waiting.id == id) else {
            return Ok(CallOutcome::Stopped);
        };
        match self.waiting.get_mut(index) {
            Some(waiting) if waiting.outcome.is_none() => Err(std::mem::replace(&mut waiting.waker, waker)),
            _ => Ok(self.waiting.swap_remove(index).outcome.unwrap_or(CallOutcome::Stopped)),
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
            waiting.deadline.filter(|&deadline| deadline <= now).map(|_| CallOutcome::TimedOut)
        });
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let waiting = self.waiting.iter().filter(|waiting| waiting.outcome.is_none());
        waiting.filter_map(|waiting| waiting.deadline).min()
    }

    /// Ends all waits: nobody will answer any more.
    pub(crate) fn close(&mut self, pending_wakers: &mut Vec<Waker>) {
        self.resolve(pending_wakers, |_| Some(CallOutcome::Stopped));
    }

    fn resolve(&mut self, pending_wakers: &mut Vec<Waker>, outcome: impl Fn(&Waiting) -> Option<CallOutcome>) {
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
    fn outcome(self, event: &Event) -> Option<CallOutcome> {
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

fn outcome_of_mapping(event: Event) -> Option<CallOutcome> {
    match event {
        Event::Mapped(mapping) | Event::Renewed(mapping) | Event::PortChanged { mapping, .. } => {
            Some(CallOutcome::Answered(Answer::Mapping(mapping)))
        }
        Event::Failed { error, .. } | Event::Ended { ending: Ending::NotMapped(error), .. } => {
            Some(CallOutcome::Failed(error))
        }
        // It was to be renewed, and no answer came in time.
        Event::Ended { ending: Ending::Expired, .. } => Some(CallOutcome::Failed(RequestError::NoAnswer)),
        Event::Ended { .. } => Some(CallOutcome::Interrupted),
        _ => None,
    }
}

fn outcome_of_ending(event: Event) -> Option<CallOutcome> {
    match event {
        Event::Ended { ending: Ending::NotUnmapped(error), .. } => Some(CallOutcome::Failed(error)),
        Event::Ended { ending, .. } => Some(CallOutcome::Answered(Answer::Ended(ending))),
        Event::Mapped(_) | Event::PortChanged { .. } => Some(CallOutcome::Interrupted),
        _ => None,
    }
}

fn outcome(result: Result<Answer, RequestError>) -> CallOutcome {
    result.map_or_else(CallOutcome::Failed, CallOutcome::Answered)
}
