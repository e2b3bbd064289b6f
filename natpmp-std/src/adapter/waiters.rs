//! Blocking calls that wait for an event of the machine.

use std::net::Ipv4Addr;
use std::sync::mpsc::{self, Receiver, Sender};

use natpmp_proto::client::{Ending, Error, Event};
use natpmp_proto::{Mapping, Protocol};

/// What a call waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Awaited {
    ExternalAddress,
    Mapping(Protocol, u16),
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

/// Or why not. `Interrupted`: something else was done with the mapping meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Answered(Answer),
    Failed(Error),
    Interrupted,
}

/// All calls that wait.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    waiting: Vec<(Awaited, Sender<Outcome>)>,
    is_closed: bool,
}

impl Waiters {
    /// Nobody will answer any more.
    pub(crate) fn closed() -> Self {
        Self { waiting: Vec::new(), is_closed: true }
    }

    /// Where the outcome comes; the sender is dropped when nobody will answer.
    pub(crate) fn wait_for(&mut self, awaited: Awaited) -> Receiver<Outcome> {
        let (sender, receiver) = mpsc::channel();
        if !self.is_closed {
            self.waiting.push((awaited, sender));
        }
        receiver
    }

    /// Gives the event to all who wait for it.
    pub(crate) fn tell(&mut self, event: &Event) {
        self.waiting.retain(|(awaited, sender)| match awaited.outcome(event) {
            Some(outcome) => {
                // Whoever asked may have given up waiting.
                let _ = sender.send(outcome);
                false
            }
            None => true,
        });
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
            (Self::Mapping(protocol, port) | Self::Ending(protocol, port), event)
                if event.mapping_key() != Some((protocol, port)) =>
            {
                None
            }
            (Self::Mapping(..), event) => outcome_of_mapping(event),
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
        Event::Ended { ending: Ending::Expired, .. } => Some(Outcome::Failed(Error::NoAnswer)),
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

fn outcome(result: Result<Answer, Error>) -> Outcome {
    result.map_or_else(Outcome::Failed, Outcome::Answered)
}
