//! The NAT works on a thread of its own: while it does, other clients are answered, and what is requested meanwhile makes
//! its next batch.

use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender, TryRecvError};
use std::thread::{self, JoinHandle};

use mio::Waker;
use natpmp_proto::gateway::{NatFailure, NatRequest};

use super::nat::Nat;

/// The way to the NAT and back.
#[derive(Debug)]
pub(super) struct NatThread {
    work: Option<Sender<Work>>,
    outcomes: Receiver<(NatRequest, Result<(), NatFailure>)>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
enum Work {
    Request(NatRequest),
    ExternalAddress(Option<Ipv4Addr>),
    /// All that stood before the start was requested.
    Begin,
}

impl NatThread {
    /// Wakes `waker` when there are outcomes.
    pub(super) fn start(nat: Box<dyn Nat>, waker: Arc<Waker>) -> io::Result<Self> {
        let (work, receiver) = mpsc::channel();
        let (sender, outcomes) = mpsc::channel();
        let thread =
            thread::Builder::new().name("natpmp nat".into()).spawn(move || run(nat, &receiver, &sender, &waker))?;
        Ok(Self { work: Some(work), outcomes, thread: Some(thread) })
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

    fn send(&self, work: Work) {
        if let Some(sender) = &self.work {
            // The thread ends when this sender is dropped, and not before.
            let _ = sender.send(work);
        }
    }
}

/// Waits until the NAT has removed all that it made.
impl Drop for NatThread {
    fn drop(&mut self) {
        self.work = None;
        if let Some(thread) = self.thread.take() {
            // A NAT that panicked has nothing more to say.
            let _ = thread.join();
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
        if let Err(error) = waker.wake() {
            log::warn!("the gateway cannot be woken: {error}");
        }
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
