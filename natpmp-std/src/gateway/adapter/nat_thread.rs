//! The NAT works on a thread of its own: while it does, other clients are answered, and what is requested meanwhile makes
//! its next batch.

use std::io;
use std::net::Ipv4Addr;
use std::sync::mpsc::{self, Receiver, Sender, TryRecvError};
use std::task::Waker;

use natpmp_proto::gateway::{NatFailure, NatRequest};

use super::helper::Helper;
use crate::gateway::nat::Nat;

/// The way to the NAT and back. Dropping it waits until the NAT has removed all that it made.
#[derive(Debug)]
pub(super) struct NatThread {
    work: Option<Sender<Work>>,
    outcomes: Receiver<(NatRequest, Result<(), NatFailure>)>,
    helper: Helper,
}

#[derive(Debug)]
enum Work {
    Request(NatRequest),
    ExternalAddress(Option<Ipv4Addr>),
    /// All that stood before the start was requested.
    Begin,
}

impl NatThread {
    /// Wakes `waker` when there are outcomes, and at the end.
    pub(super) fn start(nat: Box<dyn Nat>, waker: Waker) -> io::Result<Self> {
        let (work, receiver) = mpsc::channel();
        let (sender, outcomes) = mpsc::channel();
        let alert = waker.clone();
        let helper = Helper::start("natpmp nat", waker, move || run(nat, &receiver, &sender, &alert))?;
        Ok(Self { work: Some(work), outcomes, helper })
    }

    pub(super) fn request(&self, request: NatRequest) {
        self.send(Work::Request(request));
    }

    pub(super) fn set_external_address(&self, address: Option<Ipv4Addr>) {
        self.send(Work::ExternalAddress(address));
    }

    /// All that stood before the start was requested: the NAT is told in one go, so that it can drop what is left of an
    /// earlier run and nothing else.
    pub(super) fn begin(&self) {
        self.send(Work::Begin);
    }

    /// The next outcome, if there is any.
    pub(super) fn outcome(&self) -> Option<(NatRequest, Result<(), NatFailure>)> {
        self.outcomes.try_recv().ok()
    }

    /// The NAT is to remove all that it made, once it has done what was requested.
    pub(super) fn end(&mut self) {
        self.work = None;
    }

    /// Whether the NAT has removed all that it made.
    pub(super) fn is_over(&self) -> bool {
        self.helper.is_over()
    }

    /// Ends, and waits until it is over.
    pub(super) fn join(&mut self) {
        self.end();
        self.helper.join();
    }

    fn send(&self, work: Work) {
        if let Some(sender) = &self.work {
            // The thread ends when this sender is dropped, and not before.
            let _ = sender.send(work);
        }
    }
}

fn run(
    mut nat: Box<dyn Nat>,
    work: &Receiver<Work>,
    outcomes: &Sender<(NatRequest, Result<(), NatFailure>)>,
    waker: &Waker,
) {
    let apply = |nat: &mut dyn Nat, batch: Vec<NatRequest>| {
        let results = nat.apply(&batch);
        for (request, result) in batch.into_iter().zip(results) {
            // Nobody listens any more once the gateway ends.
            let _ = outcomes.send((request, result));
        }
        waker.wake_by_ref();
    };
    let mut first_batch = Some(Vec::new());
    let mut held_back = None;
    while let Some(first) = held_back.take().or_else(|| work.recv().ok()) {
        match (first, &mut first_batch) {
            (Work::ExternalAddress(address), _) => nat.set_external_address(address),
            (Work::Request(request), Some(batch)) => batch.push(request),
            (Work::Request(request), None) => {
                let (batch, next) = batch(request, work);
                held_back = next;
                apply(&mut *nat, batch);
            }
            (Work::Begin, first_batch) => apply(&mut *nat, first_batch.take().unwrap_or_default()),
        }
    }
    nat.end();
}

/// All requests that wait, up to something else.
fn batch(first: NatRequest, work: &Receiver<Work>) -> (Vec<NatRequest>, Option<Work>) {
    let mut batch = vec![first];
    while batch.len() < LARGEST_BATCH {
        match work.try_recv() {
            Ok(Work::Request(request)) => batch.push(request),
            Ok(other) => return (batch, Some(other)),
            Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
        }
    }
    (batch, None)
}

const LARGEST_BATCH: usize = 1_024;
