//! The thread of the NAT. While the NAT works, the engine answers other clients, and what it requests meanwhile makes the next
//! batch.

use std::io;
use std::iter;
use std::net::Ipv4Addr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender, TryRecvError};
use std::task::Waker;
use std::thread::{self, JoinHandle};

use natpmp_proto::gateway::{NatFailure, NatRequest};

use natpmp_nat::Nat;

/// The engine's end of the thread. Dropping it waits until the NAT has removed all that it made.
#[derive(Debug)]
pub(super) struct NatThread {
    work: Option<Sender<Work>>,
    outcomes: Receiver<Outcome>,
    /// How many requests have no outcome yet.
    pending: usize,
    thread: WorkerThread,
}

/// A request, and what came of it.
type Outcome = (NatRequest, Result<(), NatFailure>);

/// What the thread does, in this order.
#[derive(Debug)]
enum Work {
    Request(NatRequest),
    ExternalAddress(Option<Ipv4Addr>),
    /// Every mapping from before the start has been requested.
    Begin,
}

impl NatThread {
    /// Starts the thread, which wakes `waker` when there are outcomes, and at the end.
    pub(super) fn start(nat: Box<dyn Nat>, waker: Waker) -> io::Result<Self> {
        let (work, receiver) = mpsc::channel();
        let (sender, outcomes) = mpsc::channel();
        let engine = waker.clone();
        let thread = WorkerThread::start("natpmp nat", waker, move || run(nat, &receiver, &sender, &engine))?;
        Ok(Self { work: Some(work), outcomes, pending: 0, thread })
    }

    /// Asks the NAT to install or remove a mapping.
    pub(super) fn request(&mut self, request: NatRequest) {
        self.pending = self.pending.saturating_add(1);
        self.send(Work::Request(request));
    }

    /// Tells the NAT the external address, before what is requested later.
    pub(super) fn set_external_address(&self, address: Option<Ipv4Addr>) {
        self.send(Work::ExternalAddress(address));
    }

    /// Every mapping from before the start has been requested. The NAT gets them in one call, so that it can remove all else that is
    /// left of an earlier run.
    pub(super) fn begin(&self) {
        self.send(Work::Begin);
    }

    /// Takes the next outcome, if there is one.
    pub(super) fn next_outcome(&mut self) -> Option<Outcome> {
        let outcome = self.outcomes.try_recv().ok()?;
        self.pending = self.pending.saturating_sub(1);
        Some(outcome)
    }

    /// Whether every request has had its outcome.
    pub(super) const fn is_idle(&self) -> bool {
        self.pending == 0
    }

    /// Has the NAT remove all that it made, once it has done what was requested.
    pub(super) fn end(&mut self) {
        self.work = None;
    }

    /// Whether the NAT has removed all that it made.
    pub(super) fn is_over(&self) -> bool {
        self.thread.is_over()
    }

    /// Ends the thread, and waits until the NAT has removed all that it made.
    pub(super) fn join(&mut self) {
        self.end();
        self.thread.join();
    }

    fn send(&self, work: Work) {
        if let Some(sender) = &self.work {
            // The thread ends when this sender is dropped, and not before.
            let _ = sender.send(work);
        }
    }
}

fn run(nat: Box<dyn Nat>, work: &Receiver<Work>, outcomes: &Sender<Outcome>, waker: &Waker) {
    let mut batch = Batch { requests: Vec::new(), outcomes, waker };
    // The panic drops the NAT, so that nothing of it is used afterwards.
    if catch_unwind(AssertUnwindSafe(|| serve(nat, work, &mut batch))).is_ok() {
        return;
    }
    log::warn!("the NAT has failed for good: no mappings can be made until the gateway is started again");
    batch.finish(Vec::new());
    // Clients get an answer that says so, rather than none.
    while let Ok(work) = work.recv() {
        if let Work::Request(request) = work {
            batch.requests.push(request);
            batch.finish(Vec::new());
        }
    }
}

/// Does the work until there is no more. A panic of the NAT drops it, and with it what it made.
fn serve(mut nat: Box<dyn Nat>, work: &Receiver<Work>, batch: &mut Batch<'_>) {
    // Until the start is complete, requests only gather.
    let mut has_begun = false;
    let mut held_back = None;
    while let Some(first) = held_back.take().or_else(|| work.recv().ok()) {
        match first {
            Work::ExternalAddress(address) => nat.set_external_address(address),
            Work::Request(request) => {
                batch.requests.push(request);
                if has_begun {
                    held_back = gather(&mut batch.requests, work);
                    batch.apply(&mut *nat);
                }
            }
            Work::Begin => {
                has_begun = true;
                batch.apply(&mut *nat);
            }
        }
    }
    nat.end();
}

/// The requests of the next call of the NAT.
struct Batch<'a> {
    requests: Vec<NatRequest>,
    outcomes: &'a Sender<Outcome>,
    waker: &'a Waker,
}

impl Batch<'_> {
    fn apply(&mut self, nat: &mut dyn Nat) {
        let results = nat.apply(&self.requests);
        self.finish(results);
    }

    /// Passes on the outcomes. A request without a result has failed.
    fn finish(&mut self, results: Vec<Result<(), NatFailure>>) {
        let results = results.into_iter().chain(iter::repeat(Err(NatFailure::Network)));
        for outcome in self.requests.drain(..).zip(results) {
            // Nobody listens any more once the gateway ends.
            let _ = self.outcomes.send(outcome);
        }
        self.waker.wake_by_ref();
    }
}

/// Adds the requests that wait, and returns other work that follows them.
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

/// A thread for work that may block, so that the engine need not. Dropping this waits for its end.
#[derive(Debug)]
pub(super) struct WorkerThread {
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl WorkerThread {
    /// Starts a thread, which wakes `waker` when `work` is done.
    pub(super) fn start(name: &str, waker: Waker, work: impl FnOnce() + Send + 'static) -> io::Result<Self> {
        let is_over = Arc::new(AtomicBool::new(false));
        let end = End { is_over: Arc::clone(&is_over), waker };
        let thread = thread::Builder::new().name(name.into()).spawn(move || {
            // Dropped when the work panics as well.
            let _end = end;
            work();
        })?;
        Ok(Self { is_over, thread: Some(thread) })
    }

    /// Whether the work is done.
    pub(super) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Acquire)
    }

    /// Waits for the end.
    pub(super) fn join(&mut self) {
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has nothing more to say.
            let _ = thread.join();
        }
    }
}

impl Drop for WorkerThread {
    fn drop(&mut self) {
        self.join();
    }
}

struct End {
    is_over: Arc<AtomicBool>,
    waker: Waker,
}

impl Drop for End {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Release);
        self.waker.wake_by_ref();
    }
}

/// Requests in one call of the NAT.
const LARGEST_BATCH: usize = 1_024;
