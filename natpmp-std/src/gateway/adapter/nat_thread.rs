//! The NAT works on a thread of its own: while it does, other clients are answered, and what is requested meanwhile makes
//! its next batch.

use std::io;
use std::iter;
use std::net::Ipv4Addr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{self, Receiver, Sender, TryRecvError};
use std::task::Waker;

use natpmp_proto::gateway::{NatFailure, NatRequest};

use super::helper::Helper;
use crate::gateway::nat::Nat;

/// The way to the NAT and back. Dropping it waits until the NAT has removed all that it made.
#[derive(Debug)]
pub(super) struct NatThread {
    work: Option<Sender<Work>>,
    outcomes: Receiver<Outcome>,
    helper: Helper,
}

/// What was requested, and what came of it.
type Outcome = (NatRequest, Result<(), NatFailure>);

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
    pub(super) fn outcome(&self) -> Option<Outcome> {
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

fn run(nat: Box<dyn Nat>, work: &Receiver<Work>, outcomes: &Sender<Outcome>, waker: &Waker) {
    let mut asked = Asked { requests: Vec::new(), outcomes, waker };
    // What it leaves behind is not looked at: it is gone with the panic.
    if catch_unwind(AssertUnwindSafe(|| serve(nat, work, &mut asked))).is_ok() {
        return;
    }
    log::warn!("the NAT has failed for good: no mappings can be made until the gateway is started again");
    asked.settle(Vec::new());
    // Clients are to hear of it, rather than nothing.
    while let Ok(work) = work.recv() {
        if let Work::Request(request) = work {
            asked.requests.push(request);
            asked.settle(Vec::new());
        }
    }
}

/// Until the end of the work. A panic of the NAT drops it, and with it what it made.
fn serve(mut nat: Box<dyn Nat>, work: &Receiver<Work>, asked: &mut Asked<'_>) {
    let mut has_begun = false;
    let mut held_back = None;
    while let Some(first) = held_back.take().or_else(|| work.recv().ok()) {
        match first {
            Work::ExternalAddress(address) => nat.set_external_address(address),
            Work::Request(request) => {
                asked.requests.push(request);
                if has_begun {
                    held_back = gather(&mut asked.requests, work);
                    asked.apply(&mut *nat);
                }
            }
            Work::Begin => {
                has_begun = true;
                asked.apply(&mut *nat);
            }
        }
    }
    nat.end();
}

/// What the NAT has been asked for and has not done yet.
struct Asked<'a> {
    requests: Vec<NatRequest>,
    outcomes: &'a Sender<Outcome>,
    waker: &'a Waker,
}

impl Asked<'_> {
    fn apply(&mut self, nat: &mut dyn Nat) {
        let results = nat.apply(&self.requests);
        self.settle(results);
    }

    /// A request that the NAT says nothing of has failed.
    fn settle(&mut self, results: Vec<Result<(), NatFailure>>) {
        let results = results.into_iter().chain(iter::repeat(Err(NatFailure::Network)));
        for outcome in self.requests.drain(..).zip(results) {
            // Nobody listens any more once the gateway ends.
            let _ = self.outcomes.send(outcome);
        }
        self.waker.wake_by_ref();
    }
}

/// Adds the requests that wait, up to something else.
fn gather(batch: &mut Vec<NatRequest>, work: &Receiver<Work>) -> Option<Work> {
    while batch.len() < LARGEST_BATCH {
        match work.try_recv() {
            Ok(Work::Request(request)) => batch.push(request),
            Ok(other) => return Some(other),
            Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
        }
    }
    None
}

const LARGEST_BATCH: usize = 1_024;
