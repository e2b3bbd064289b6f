//! The thread of the NAT. While the NAT works, the engine answers other clients, and what it requests meanwhile makes the next
//! batch.

use std::convert::Infallible;
use std::io;
use std::iter;
use std::net::Ipv4Addr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::{Context, Poll, Waker};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use natpmp_proto::gateway::{NatFailure, NatRequest};

use natpmp_nat::{Nat, Verdict};

use super::nat_inbox::{NatInbox, Next};
use crate::events::{EventQueue, EventSender, UNBOUNDED, event_queue};

/// The engine's end of the thread. Dropping it waits until the NAT has removed all that it made.
#[derive(Debug)]
pub(super) struct NatThread {
    // Dropped before the thread, which ends with it.
    work: Option<EventSender<Work>>,
    outcomes: EventQueue<NatOutcome>,
    /// Wakes the engine.
    waker: Waker,
    thread: WorkerThread,
}

/// A request, and what came of it.
type NatOutcome = (NatRequest, Result<(), NatFailure>);

/// What the thread does, in this order.
#[derive(Debug)]
enum Work {
    Request(NatRequest),
    ExternalAddress(Option<Ipv4Addr>),
    /// Every mapping from before the start has been requested.
    Begin,
}

impl NatThread {
    /// Starts the thread. `waker` wakes the engine when there are outcomes, and at the end.
    pub(super) fn start(nat: Box<dyn Nat>, waker: Waker) -> io::Result<Self> {
        let (work, receiver) = event_queue(UNBOUNDED);
        let (sender, outcomes) = event_queue(UNBOUNDED);
        let mut inbox = NatInbox::new(receiver)?;
        let thread = WorkerThread::start("natpmp nat", waker.clone(), move || run(nat, &mut inbox, sender))?;
        Ok(Self { work: Some(work), outcomes, waker, thread })
    }

    /// Asks the NAT to install or remove a mapping.
    pub(super) fn request(&self, request: NatRequest, pending_wakers: &mut Vec<Waker>) {
        self.push(Work::Request(request), pending_wakers);
    }

    /// Tells the NAT the external address, before what is requested later.
    pub(super) fn set_external_address(&self, address: Option<Ipv4Addr>, pending_wakers: &mut Vec<Waker>) {
        self.push(Work::ExternalAddress(address), pending_wakers);
    }

    /// Every mapping from before the start has been requested. The NAT gets them in one call, so that it can remove all else that is
    /// left of an earlier run.
    pub(super) fn begin(&self, pending_wakers: &mut Vec<Waker>) {
        self.push(Work::Begin, pending_wakers);
    }

    /// Takes the next outcome, or has the engine woken when there is one.
    pub(super) fn next_outcome(&mut self) -> Option<NatOutcome> {
        match self.outcomes.poll_next(&mut Context::from_waker(&self.waker)) {
            Poll::Ready(outcome) => outcome,
            Poll::Pending => None,
        }
    }

    /// Has the NAT remove all that it made, once it has done what was requested.
    pub(super) fn end(&mut self) {
        self.work = None;
    }

    /// Whether the NAT has removed all that it made.
    pub(super) fn is_over(&mut self) -> bool {
        self.thread.is_over()
    }

    /// Ends the thread, and waits until the NAT has removed all that it made.
    pub(super) fn join(&mut self) {
        self.end();
        self.thread.join();
    }

    /// A thread that waits is woken when the engine gives its lock back, so that its next call has all requests of the step.
    fn push(&self, work: Work, pending_wakers: &mut Vec<Waker>) {
        if let Some(sender) = &self.work {
            // The thread reads until this sender is dropped.
            sender.push(work, pending_wakers);
        }
    }
}

fn run(nat: Box<dyn Nat>, work: &mut NatInbox<Work>, outcomes: EventSender<NatOutcome>) {
    let mut batch = Batch { requests: Vec::new(), outcomes };
    // The panic drops the NAT, so that nothing of it is used afterwards.
    if catch_unwind(AssertUnwindSafe(|| serve(nat, work, &mut batch))).is_ok() {
        return;
    }
    log::warn!("the NAT has failed for good: no mappings can be made until the gateway is started again");
    batch.finish(Vec::new());
    // Clients get an answer that says so, rather than none.
    while let Next::Work(work) = work.wait(None) {
        if let Work::Request(request) = work {
            batch.requests.push(request);
            batch.finish(Vec::new());
        }
    }
}

/// Does the work until there is no more. A panic of the NAT drops it, and with it what it made.
fn serve(mut nat: Box<dyn Nat>, work: &mut NatInbox<Work>, batch: &mut Batch) {
    // Until the start is complete, requests only gather.
    let mut has_begun = false;
    let mut held_back = None;
    let mut upkeep = Upkeep::default();
    loop {
        upkeep.run(&mut *nat);
        let next = match held_back.take() {
            Some(work) => Next::Work(work),
            None => wait(&*nat, work, upkeep.next_deadline()),
        };
        match next {
            Next::Work(Work::ExternalAddress(address)) => nat.set_external_address(address),
            Next::Work(Work::Request(request)) => {
                batch.requests.push(request);
                if has_begun {
                    held_back = gather(&mut batch.requests, work);
                    batch.apply(&mut *nat);
                    upkeep.settle_soon();
                }
            }
            Next::Work(Work::Begin) => {
                has_begun = true;
                batch.apply(&mut *nat);
                upkeep.settle_soon();
            }
            #[cfg(unix)]
            Next::Changes => upkeep.verify(&mut *nat),
            Next::Due => {}
            Next::End => break,
        }
    }
    nat.end();
}

#[cfg(unix)]
fn wait(nat: &dyn Nat, work: &mut NatInbox<Work>, deadline: Option<Instant>) -> Next<Work> {
    match nat.changes() {
        Some(changes) => work.wait_or_changes(changes, deadline),
        None => work.wait(deadline),
    }
}

#[cfg(not(unix))]
fn wait(_nat: &dyn Nat, work: &mut NatInbox<Work>, deadline: Option<Instant>) -> Next<Work> {
    work.wait(deadline)
}

/// What the NAT does when nobody waits for it.
#[derive(Debug, Default)]
struct Upkeep {
    settling: Settling,
    /// When a NAT that is broken is verified again.
    verify_at: Option<Instant>,
}

#[derive(Clone, Copy, Debug, Default)]
enum Settling {
    /// There is nothing to settle.
    #[default]
    Done,
    /// The NAT settles when it has had no work until `quiet_at`; `latest`, if it has always some.
    Waiting { quiet_at: Instant, latest: Instant },
}

impl Upkeep {
    fn settle_soon(&mut self) {
        let now = Instant::now();
        let latest = match self.settling {
            Settling::Done => later(now, LONGEST_UNSETTLED),
            Settling::Waiting { latest, .. } => latest,
        };
        self.settling = Settling::Waiting { quiet_at: latest.min(later(now, QUIET)), latest };
    }

    fn next_deadline(&self) -> Option<Instant> {
        let settle_at = match self.settling {
            Settling::Done => None,
            Settling::Waiting { quiet_at, .. } => Some(quiet_at),
        };
        settle_at.into_iter().chain(self.verify_at).min()
    }

    /// Does what is due.
    fn run(&mut self, nat: &mut dyn Nat) {
        let Some(now) = self.next_deadline().map(|_| Instant::now()) else { return };
        if self.verify_at.is_some_and(|at| at <= now) {
            self.verify(nat);
        }
        if let Settling::Waiting { quiet_at, .. } = self.settling {
            if quiet_at <= now {
                self.settling = Settling::Done;
                nat.settle();
            }
        }
    }

    fn verify(&mut self, nat: &mut dyn Nat) {
        let verdict = nat.verify();
        self.verify_at = (verdict == Verdict::Broken).then(|| later(Instant::now(), PAUSE_WHILE_BROKEN));
        if verdict == Verdict::Repaired {
            self.settle_soon();
        }
    }
}

fn later(now: Instant, delay: Duration) -> Instant {
    now.checked_add(delay).unwrap_or(now)
}

/// The requests of the next call of the NAT.
struct Batch {
    requests: Vec<NatRequest>,
    outcomes: EventSender<NatOutcome>,
}

impl Batch {
    fn apply(&mut self, nat: &mut dyn Nat) {
        let results = nat.apply(&self.requests);
        self.finish(results);
    }

    /// Passes on the outcomes. A request without a result has failed.
    fn finish(&mut self, results: Vec<Result<(), NatFailure>>) {
        let results = results.into_iter().chain(iter::repeat(Err(NatFailure::Network)));
        // Woken once, the engine finds all of them.
        let mut pending_wakers = Vec::new();
        for outcome in self.requests.drain(..).zip(results) {
            // Once the gateway ends nobody reads them any more.
            self.outcomes.push(outcome, &mut pending_wakers);
        }
        pending_wakers.into_iter().for_each(Waker::wake);
    }
}

/// Adds the requests that wait, and returns other work that follows them.
fn gather(batch: &mut Vec<NatRequest>, work: &mut NatInbox<Work>) -> Option<Work> {
    while batch.len() < LARGEST_BATCH {
        match work.try_next()? {
            Work::Request(request) => batch.push(request),
            other => return Some(other),
        }
    }
    None
}

/// A thread for work that may block, so that the engine need not. Dropping this waits for its end.
#[derive(Debug)]
pub(super) struct WorkerThread {
    /// Ends with the thread.
    running: EventQueue<Infallible>,
    /// Wakes the engine.
    waker: Waker,
    thread: Option<JoinHandle<()>>,
}

impl WorkerThread {
    /// Starts a thread. `waker` wakes the engine when `work` is done.
    pub(super) fn start(name: &str, waker: Waker, work: impl FnOnce() + Send + 'static) -> io::Result<Self> {
        let (sender, running) = event_queue(UNBOUNDED);
        let thread = thread::Builder::new().name(name.into()).spawn(move || {
            // Dropped when the work panics as well.
            let _sender = sender;
            work();
        })?;
        Ok(Self { running, waker, thread: Some(thread) })
    }

    /// Whether the work is done; if not, the engine is woken when it is.
    pub(super) fn is_over(&mut self) -> bool {
        self.running.poll_next(&mut Context::from_waker(&self.waker)).is_ready()
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

/// Requests in one call of the NAT.
const LARGEST_BATCH: usize = 1_024;
/// What flows through a mapping that ended is to stop within a tenth of a second, the NAT's work on it included.
const LONGEST_UNSETTLED: Duration = Duration::from_millis(30);
/// Settling may take longer than all else that a NAT does: requests that follow each other closely come first.
const QUIET: Duration = Duration::from_millis(5);
const PAUSE_WHILE_BROKEN: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;
