//! A thread that ends flows: the walk through connection tracking takes ten milliseconds even where there is nothing in it, and
//! requests are not to wait for it.

use std::collections::HashSet;
use std::fmt;
use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{self, JoinHandle};

use natpmp_netlink::BatchSocket;
use natpmp_proto::gateway::NatMapping;

use super::cleanup::FlowCleanup;
use super::conntrack::{Conntrack, Flow, FlowFilter};
use super::operation::{self, Element, Operation};

/// The calls that the thread makes to the kernel; tests put a fake one in its place.
pub(super) trait Tracker: Send + fmt::Debug {
    /// Lists the flows of connection tracking: at least those that one of these filters lets through, some of them twice.
    fn flows(&mut self, filters: &[FlowFilter]) -> io::Result<Vec<Flow>>;
    /// Removes flows; those that are gone already count as removed.
    fn end_flows(&mut self, flows: &[Flow]) -> io::Result<()>;
    /// Has all of these take effect, or none.
    fn commit(&mut self, operations: &[Operation]) -> io::Result<()>;
}

/// The way to the thread. Dropping it waits for the end of what the thread does at the time.
#[derive(Debug)]
pub(super) struct FlowCleaner {
    jobs: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
    /// How many jobs it got, and how many it has done.
    sent: usize,
    done: Arc<AtomicUsize>,
}

#[derive(Debug)]
enum Job {
    Ended(NatMapping, Ipv4Addr),
    Installed(NatMapping),
    /// The flows of all of these are to be looked for. Whoever waits for it hears of it.
    Settle {
        external: Option<Ipv4Addr>,
        has_table: bool,
        done: Option<Sender<()>>,
    },
}

impl FlowCleaner {
    pub(super) fn start(tracker: Box<dyn Tracker>) -> io::Result<Self> {
        let (jobs, receiver) = mpsc::channel();
        let done = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&done);
        let thread =
            thread::Builder::new().name("natpmp flows".into()).spawn(move || run(tracker, &receiver, &counter))?;
        Ok(Self { jobs: Some(jobs), thread: Some(thread), sent: 0, done })
    }

    /// The flows of this mapping are to end.
    pub(super) fn mapping_ended(&mut self, mapping: NatMapping, external: Ipv4Addr) {
        self.send(Job::Ended(mapping, external));
    }

    /// The flows that keep packets from this mapping are to end.
    pub(super) fn mapping_installed(&mut self, mapping: NatMapping) {
        self.send(Job::Installed(mapping));
    }

    /// Has the thread look for all of these flows now. While there is no table, nothing can reset connections.
    pub(super) fn settle(&mut self, external: Option<Ipv4Addr>, has_table: bool) {
        self.send(Job::Settle { external, has_table, done: None });
    }

    /// As [`settle`](Self::settle), and waits until it is done.
    pub(super) fn finish(&mut self, external: Option<Ipv4Addr>, has_table: bool) {
        let (sender, done) = mpsc::channel();
        self.send(Job::Settle { external, has_table, done: Some(sender) });
        // It is gone if the thread is.
        let _ = done.recv();
    }

    /// Whether it has done all that it was asked for.
    pub(super) fn is_idle(&self) -> bool {
        self.done.load(Ordering::Acquire) == self.sent
    }

    fn send(&mut self, job: Job) {
        self.sent = self.sent.wrapping_add(1);
        if let Some(jobs) = &self.jobs {
            // The thread reads until this sender is dropped.
            let _ = jobs.send(job);
        }
    }
}

impl Drop for FlowCleaner {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // One that panicked has nothing more to say.
            let _ = thread.join();
        }
    }
}

fn run(mut tracker: Box<dyn Tracker>, jobs: &Receiver<Job>, done: &AtomicUsize) {
    let mut cleanup = FlowCleanup::default();
    let mut count = 0usize;
    while let Ok(first) = jobs.recv() {
        let (mut settling, mut waiting) = (None, Vec::new());
        // One walk serves all that came in the meantime.
        for job in std::iter::once(first).chain(jobs.try_iter()) {
            count = count.wrapping_add(1);
            match job {
                Job::Ended(mapping, external) => cleanup.mapping_ended(mapping, external),
                Job::Installed(mapping) => cleanup.mapping_installed(mapping),
                Job::Settle { external, has_table, done } => {
                    settling = Some((external, has_table));
                    waiting.extend(done);
                }
            }
        }
        if let Some((external, has_table)) = settling {
            settle(&mut *tracker, &mut cleanup, external, has_table);
            done.store(count, Ordering::Release);
        }
        drop(waiting);
    }
}

fn settle(tracker: &mut dyn Tracker, cleanup: &mut FlowCleanup, external: Option<Ipv4Addr>, has_table: bool) {
    if cleanup.is_empty() {
        return;
    }
    let flows = match tracker.flows(&cleanup.filters(external)) {
        Ok(flows) => flows,
        Err(error) => {
            cleanup.give_up();
            return log::warn!("connections of mappings that ended may go on: {error}");
        }
    };
    let verdicts = cleanup.judge(flows, external);
    // The rules that reset come first: a packet that comes in between would begin the connection anew.
    if !verdicts.reset.is_empty() && has_table {
        if let Err(error) = tracker.commit(&reset_connections(&verdicts.reset)) {
            log::warn!("connections of mappings that ended may go on: {error}");
        }
    }
    if let Err(error) = tracker.end_flows(&verdicts.ended) {
        log::warn!("connections of mappings that ended may go on: {error}");
    }
}

/// Has the kernel reset the connections of these TCP mappings from now on.
fn reset_connections(mappings: &HashSet<NatMapping>) -> Vec<Operation> {
    let ports: Vec<_> = mappings.iter().map(|mapping| Element::EndedIn(mapping.external_port)).collect();
    let clients: Vec<_> = mappings.iter().map(|mapping| Element::EndedOut(mapping.internal)).collect();
    let mut operations = Vec::new();
    for elements in [ports, clients] {
        // An element that is there already would keep its old timeout.
        for operation in [Operation::Add, Operation::Delete, Operation::Add] {
            operations.extend(elements.iter().copied().map(operation));
        }
    }
    operations
}

/// The kernel of this host, or of the network namespace that the calling thread is in.
#[derive(Debug)]
pub(super) struct LinuxTracker {
    rules: BatchSocket,
}

impl LinuxTracker {
    pub(super) fn open() -> io::Result<Self> {
        Ok(Self { rules: BatchSocket::open()? })
    }

    /// The port that the kernel names in its notifications of what this commits.
    pub(super) const fn port(&self) -> u32 {
        self.rules.port()
    }
}

impl Tracker for LinuxTracker {
    fn flows(&mut self, filters: &[FlowFilter]) -> io::Result<Vec<Flow>> {
        // A filter saves the copying of what it keeps back, and costs a walk of its own.
        if filters.len() > MOST_LISTS || tracked_flows().is_some_and(|count| count < FEW_FLOWS) {
            return Conntrack::open()?.flows(None);
        }
        let lists: Vec<_> = thread::scope(|scope| {
            let walks: Vec<_> =
                filters.iter().map(|filter| scope.spawn(|| Conntrack::open()?.flows(Some(*filter)))).collect();
            walks.into_iter().map(|walk| walk.join().unwrap_or_else(|_| Err(io::ErrorKind::Other.into()))).collect()
        });
        let mut found = Vec::new();
        for list in lists {
            found.extend(list?);
        }
        Ok(found)
    }

    fn end_flows(&mut self, flows: &[Flow]) -> io::Result<()> {
        if flows.is_empty() { Ok(()) } else { Conntrack::open()?.delete(flows) }
    }

    fn commit(&mut self, operations: &[Operation]) -> io::Result<()> {
        self.rules.commit(&operation::batch(operations), |_| {}).map_err(io::Error::other)
    }
}

/// How many flows connection tracking has, if it says.
fn tracked_flows() -> Option<usize> {
    std::fs::read_to_string("/proc/sys/net/netfilter/nf_conntrack_count").ok()?.trim().parse().ok()
}

const MOST_LISTS: usize = 4;
const FEW_FLOWS: usize = 10_000;
