//! The kernel's NAT, by a table of its own in nftables.

mod cleaner;
mod cleanup;
pub mod conntrack;
mod expression;
mod kernel;
mod mappings;
mod operation;
mod readback;
mod schema;
mod setup;

use std::collections::HashSet;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use natpmp_proto::gateway::{NatFailure, NatMapping, NatRequest};

use crate::{Nat, Verdict};
use cleaner::{FlowCleaner, LinuxTracker, Tracker};
use kernel::{Kernel, Linux};
use mappings::{Applied, MappingTable, Transaction, add_mappings};
use operation::{Element, Operation};
use readback::Contents;
pub use readback::mappings_in_message;
use schema::{Interfaces, Table};

/// The kernel's NAT, by a table of its own in nftables: `table ip natpmp`. Linux 5.7 or later, and root or `CAP_NET_ADMIN`;
/// no program.
///
/// # What it does
/// - What comes to the external address and port goes to the client; the client sees who sent it.
/// - What the client sends from a mapped port to the internet leaves from the mapped external port.
/// - A client reaches another, and itself, by the external address; it is then seen with the external address, as from
///   outside.
/// - When a mapping ends, its connections are removed from connection tracking, by [`settle`](Nat::settle). What comes on one
///   of its TCP connections after that, from either side, is answered with a reset.
/// - Where a peer's flow with another host has the external port already, what the client sends to this peer leaves from
///   the next free port, as masquerading would have it.
///
/// However many mappings there are, the rules stay the same: mappings are elements of maps, found by hash. All requests
/// of one call are one transaction of the kernel; only if the kernel refuses it does the NAT try them apart. It changes
/// nothing outside of its table; a port that the box forwards by rules of its own stays with these.
///
/// # What the box must bring
/// - Forwarding: `sysctl net.ipv4.ip_forward=1`.
/// - A filter that lets mapped connections through: `ct status dnat accept` in its forward chain, if that drops by
///   default. No table can allow what another one drops.
/// - Masquerading, for what is not mapped: `oifname "wan0" masquerade`.
///
/// It warns, through the `log` crate, where the first or the second seems to be missing. It changes neither.
///
/// # After a crash
/// The table stays in the kernel as it was. The next start replaces it by an empty one, in one transaction; connections
/// on it go on until the first [`apply`](Nat::apply), which ends those of every mapping that it does not install again.
///
/// # When somebody else changes the table
/// The reload of a firewall may remove it, a saved rule set may bring an older one back, and anybody may change its rules and
/// elements by hand. The kernel notifies of all that ([`changes`](Nat::changes)), and [`verify`](Nat::verify) makes the table anew, as
/// does the next [`apply`](Nat::apply).
///
/// # Limits
/// - A rule that somebody replaces (`nft replace rule`) keeps the kernel's number for it, and `verify` does not see that.
/// - When `verify` makes the table anew, TCP connections whose mapping had ended before are not reset any more.
/// - A flow that the client began before the mapping keeps the port that it had, and goes on when the mapping ends.
/// - Where the external port equals the internal one, a flow that the client began stays after a crash as well: nobody can
///   tell any more whether it is older than the mapping.
/// - Where what is bridged passes the filters (`bridge-nf-call-iptables=1`), a client reaches itself by the external
///   address only if its port of the bridge is in hairpin mode. It reaches others.
/// - A box runs one of these: the table is made for one.
/// - An idle TCP connection learns of the end of its mapping when it next sends something: the kernel knows no
///   sequence numbers to reset it with before. The rules that reset it stay for 2 h 4 min, and go with the table.
/// - After [`end`](Nat::end) these rules are gone too. Where the external port equals the internal one, a connection on
///   which the client speaks first may then go on, as any that the box masquerades.
///
/// # Why no crate for the rule set
/// The kernel is spoken to directly, by netlink: a process of `nft` takes some milliseconds, and reads every set of intervals
/// of the box before it adds one element. Crates that speak of nftables run that same program, take C libraries, or have a
/// licence that is not ours. What it takes here is one fixed table, and lists of elements.
#[derive(Debug)]
pub struct Nftables {
    kernel: Box<dyn Kernel>,
    interfaces: Interfaces,
    external: Option<Ipv4Addr>,
    /// The mappings that are to be in the kernel.
    mappings: MappingTable,
    table: TableState,
    /// The mappings that an earlier process left, until the first `apply` has said which of them it takes over.
    previous: Vec<(NatMapping, Ipv4Addr)>,
    cleaner: FlowCleaner,
    /// The mappings whose flows may not have ended yet.
    ending: HashSet<(NatMapping, Ipv4Addr)>,
    /// When it was last said that somebody else changed the table.
    warned: Option<Instant>,
    /// When it was last said that somebody changes the table all the time, which no earlier warning holds back.
    warned_of_contest: Option<Instant>,
    repairs: Repairs,
}

/// How often the table was made anew of late.
#[derive(Clone, Copy, Debug, Default)]
struct Repairs {
    since: Option<Instant>,
    count: u32,
}

impl Repairs {
    /// Counts one, or says that there were too many: somebody takes away whatever is made, and would keep this thread busy.
    fn begin(&mut self) -> bool {
        if self.since.is_none_or(|since| since.elapsed() >= REPAIRS_COUNT_FOR) {
            *self = Self { since: Some(Instant::now()), count: 0 };
        }
        self.count = self.count.saturating_add(1);
        self.count <= MOST_REPAIRS
    }
}

/// What is known of the table in the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TableState {
    /// The kernel has it, with all mappings.
    Current,
    /// Somebody else may have changed it.
    Suspect,
    /// A transaction was refused, or none was tried yet: the next one makes the whole table.
    Unknown,
    /// The NAT has removed it, or has left it to the next process: dropping the NAT does nothing more.
    Released,
}

impl Nftables {
    /// Makes the table, in place of one that was left there; nothing is open yet, and there is no external address.
    ///
    /// `external` is the interface towards the internet; without one it is any that is not internal. `internal` are
    /// those where the clients are.
    ///
    /// # Errors
    /// - [`io::ErrorKind::InvalidInput`]: no internal interface, or what cannot be the name of one.
    /// - What the kernel said, if the table could not be made.
    pub fn start(external: Option<&str>, internal: &[&str]) -> io::Result<Self> {
        let interfaces = Interfaces::new(external, internal)?;
        let tracker = LinuxTracker::open()?;
        let kernel = Linux::open(tracker.port()).map_err(with_remedy)?;
        setup::warn_of_missing();
        let previous = readback::installed_mappings().unwrap_or_else(|error| {
            log::warn!("connections of mappings that an earlier process left may go on: {error}");
            Vec::new()
        });
        let mut nat = Self::with(Box::new(kernel), Box::new(tracker), interfaces, previous)?;
        nat.rebuild().map_err(with_remedy)?;
        Ok(nat)
    }

    /// Drops it without removing anything: mappings and connections stay until the next start. For a gateway that
    /// restarts.
    pub fn detach(mut self) {
        self.table = TableState::Released;
    }

    fn with(
        kernel: Box<dyn Kernel>,
        tracker: Box<dyn Tracker>,
        interfaces: Interfaces,
        previous: Vec<(NatMapping, Ipv4Addr)>,
    ) -> io::Result<Self> {
        Ok(Self {
            kernel,
            interfaces,
            external: None,
            mappings: MappingTable::default(),
            table: TableState::Unknown,
            previous,
            cleaner: FlowCleaner::start(tracker)?,
            ending: HashSet::new(),
            warned: None,
            warned_of_contest: None,
            repairs: Repairs::default(),
        })
    }
}

impl Nat for Nftables {
    fn apply(&mut self, requests: &[NatRequest]) -> Vec<Result<(), NatFailure>> {
        if matches!(self.table, TableState::Current | TableState::Suspect) {
            // Adding elements succeeds also where the rules are gone.
            let _ = self.verify();
        }
        if self.cleaner.is_idle() {
            self.ending.clear();
        }
        let is_ending = |request: &NatRequest| match (request, self.external) {
            (NatRequest::Install(mapping), Some(external)) => self.ending.contains(&(*mapping, external)),
            _ => false,
        };
        if requests.iter().any(is_ending) {
            // The flows of the mapping that ended could not be told from those of the one that begins.
            self.finish_cleaning();
        }
        let applied = self.commit_requests(requests);
        for (mapping, address) in std::mem::take(&mut self.previous) {
            if self.external != Some(address) || !self.mappings.has(&mapping) {
                self.end_flows(mapping, address);
            }
        }
        if let Some(external) = self.external {
            applied.removed.iter().for_each(|mapping| self.end_flows(*mapping, external));
            for mapping in &applied.installed {
                self.cleaner.mapping_installed(*mapping);
            }
        }
        applied.results
    }

    fn settle(&mut self) {
        self.cleaner.settle(self.external, self.table != TableState::Released);
    }

    fn set_external_address(&mut self, address: Option<Ipv4Addr>) {
        let address = address.filter(|address| !address.is_unspecified());
        if self.external == address {
            return;
        }
        let before = std::mem::replace(&mut self.external, address);
        if let Err(error) = self.rebuild() {
            log::error!("the kernel's NAT did not take the new external address: {error}");
        }
        let mappings: Vec<_> = self.mappings.iter().collect();
        if let Some(before) = before {
            mappings.iter().for_each(|mapping| self.end_flows(*mapping, before));
        }
        if address.is_some() {
            mappings.iter().for_each(|mapping| self.cleaner.mapping_installed(*mapping));
        }
        self.finish_cleaning();
    }

    fn changes(&self) -> Option<BorrowedFd<'_>> {
        self.kernel.changes()
    }

    fn verify(&mut self) -> Verdict {
        let was_touched = self.kernel.was_touched();
        match self.table {
            TableState::Released => return Verdict::Intact,
            TableState::Current if !was_touched => return Verdict::Intact,
            TableState::Current | TableState::Suspect => {
                self.table = TableState::Suspect;
                match self.kernel.contents() {
                    Ok(contents) if self.is_intact(&contents) => {
                        self.table = TableState::Current;
                        return Verdict::Intact;
                    }
                    Ok(contents) => self.end_foreign_mappings(&contents),
                    Err(error) => log::debug!("the table ip natpmp cannot be read: {error}"),
                }
            }
            TableState::Unknown => {}
        }
        let was_suspect = self.table == TableState::Suspect;
        if !self.repairs.begin() {
            if self.warned_of_contest.is_none_or(|at| at.elapsed() >= QUIET) {
                self.warned_of_contest = Some(Instant::now());
                log::warn!(
                    "somebody else changes the table ip natpmp all the time, another gateway on this host perhaps: mappings may lead nowhere"
                );
            }
            return Verdict::Broken;
        }
        match self.rebuild() {
            Ok(()) => {
                if was_suspect {
                    let count = self.mappings.iter().count();
                    self.warn_of_change(&format!(
                        "somebody else changed or removed the table ip natpmp: it was made anew, with {count} mappings"
                    ));
                } else {
                    log::warn!("the table ip natpmp, which the kernel had refused, is made");
                }
                Verdict::Repaired
            }
            Err(error) => {
                if was_suspect {
                    log::error!("somebody else changed the table ip natpmp, and it cannot be made anew: {error}");
                }
                Verdict::Broken
            }
        }
    }

    fn end(&mut self) {
        if std::mem::replace(&mut self.table, TableState::Released) == TableState::Released {
            return;
        }
        if let Err(error) = self.kernel.commit(&[Operation::DeleteTable]) {
            log::error!("the table ip natpmp could not be removed: {error}");
        }
        let previous = std::mem::take(&mut self.previous);
        let mappings = std::mem::take(&mut self.mappings);
        let own = self.external.into_iter().flat_map(|address| mappings.iter().map(move |each| (each, address)));
        previous.into_iter().chain(own).for_each(|(mapping, address)| self.end_flows(mapping, address));
        self.finish_cleaning();
    }
}

impl Drop for Nftables {
    fn drop(&mut self) {
        self.end();
    }
}

impl Nftables {
    /// Commits all requests in one transaction, and apart only if the kernel refuses that.
    fn commit_requests(&mut self, requests: &[NatRequest]) -> Applied {
        let transaction = self.prepare(requests);
        let Err(refusal) = self.try_commit(&transaction) else { return transaction.applied };
        // Somebody else may have changed or removed the table.
        log::debug!("the kernel refused {} requests: {refusal}", requests.len());
        if self.rebuild().is_ok() {
            self.warn_of_change("the table ip natpmp was not as it was left: it was made anew");
            return transaction.applied;
        }
        transaction.roll_back(&mut self.mappings);
        let removals: Vec<_> =
            requests.iter().copied().filter(|request| matches!(request, NatRequest::Remove(_))).collect();
        let without = Transaction::prepare(&mut self.mappings, &removals, self.external);
        match self.rebuild() {
            Ok(()) => {
                let mut applied = self.bisect_requests(requests);
                applied.removed.extend(without.applied.removed);
                applied
            }
            Err(error) => {
                log::error!("the kernel's NAT does not work: {error}");
                without.roll_back(&mut self.mappings);
                let results = vec![Err(NatFailure::Network); requests.len()];
                Applied { results, removed: without.applied.removed, installed: Vec::new() }
            }
        }
    }

    /// Halves the requests until it has found those that the kernel refuses, and commits the others.
    fn bisect_requests(&mut self, requests: &[NatRequest]) -> Applied {
        let transaction = self.prepare(requests);
        if self.try_commit(&transaction).is_ok() {
            return transaction.applied;
        }
        transaction.roll_back(&mut self.mappings);
        let (first, second) = requests.split_at(requests.len() / 2);
        if first.is_empty() {
            return self.refuse(requests);
        }
        let mut applied = self.bisect_requests(first);
        let more = self.bisect_requests(second);
        applied.results.extend(more.results);
        applied.removed.extend(more.removed);
        applied.installed.extend(more.installed);
        applied
    }

    /// Removes what a refused request may have left.
    fn refuse(&mut self, request: &[NatRequest]) -> Applied {
        let removal: Vec<_> = request.iter().map(|request| NatRequest::Remove(*request.mapping())).collect();
        let transaction = Transaction::prepare(&mut self.mappings, &removal, self.external);
        if self.try_commit(&transaction).is_err() {
            self.table = TableState::Unknown;
        }
        Applied { results: vec![Err(NatFailure::Resources); request.len()], ..transaction.applied }
    }

    fn prepare(&mut self, requests: &[NatRequest]) -> Transaction {
        Transaction::prepare(&mut self.mappings, requests, self.external)
    }

    fn try_commit(&mut self, transaction: &Transaction) -> io::Result<()> {
        if self.table != TableState::Current {
            return Err(io::Error::other("the table may not be there"));
        }
        self.commit(&transaction.operations)
    }

    /// Makes the whole table anew, with all mappings, in one transaction.
    fn rebuild(&mut self) -> io::Result<()> {
        let mut operations = vec![Operation::ReplaceTable(Table::new(&self.interfaces, self.external))];
        operations.extend(add_mappings(self.mappings.iter(), self.external));
        let result = self.kernel.commit(&operations);
        self.table = if result.is_ok() { TableState::Current } else { TableState::Unknown };
        result
    }

    fn commit(&mut self, operations: &[Operation]) -> io::Result<()> {
        if operations.is_empty() { Ok(()) } else { self.kernel.commit(operations) }
    }

    /// Whether the kernel has what it is to have, and nothing else.
    fn is_intact(&self, contents: &Contents) -> bool {
        let expected: HashSet<_> = self.elements().collect();
        contents.is_as_made && contents.strange == 0 && contents.elements == expected
    }

    /// The elements that the table is to have.
    fn elements(&self) -> impl Iterator<Item = Element> {
        let external = self.external.unwrap_or(Ipv4Addr::UNSPECIFIED);
        let mappings = self.mappings.iter().flat_map(move |mapping| Element::of_mapping(mapping, external));
        let internal = self.interfaces.internal().iter().copied().map(Element::Internal);
        self.external.map(Element::External).into_iter().chain(internal).chain(mappings)
    }

    /// What came in through a mapping that somebody else made, or brought back, ends.
    fn end_foreign_mappings(&mut self, contents: &Contents) {
        let Some(external) = self.external else { return };
        for element in &contents.elements {
            if let Element::In(mapping) = element {
                if !self.mappings.has(mapping) {
                    self.end_flows(*mapping, external);
                }
            }
        }
    }

    /// The flows of a mapping are to end when the NAT settles.
    fn end_flows(&mut self, mapping: NatMapping, external: Ipv4Addr) {
        self.ending.insert((mapping, external));
        self.cleaner.mapping_ended(mapping, external);
    }

    /// Ends all flows that are to end, before anything else is done.
    fn finish_cleaning(&mut self) {
        self.cleaner.finish(self.external, self.table != TableState::Released);
        self.ending.clear();
    }

    /// Says so in the log; where it happens all the time, now and then.
    fn warn_of_change(&mut self, what: &str) {
        if self.warned.is_some_and(|at| at.elapsed() < QUIET) {
            return log::debug!("{what}");
        }
        self.warned = Some(Instant::now());
        log::warn!("{what}");
    }
}

/// Says what is missing, where it is known.
fn with_remedy(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            io::Error::new(error.kind(), format!("changing the kernel's NAT takes root or CAP_NET_ADMIN: {error}"))
        }
        _ => error,
    }
}

const QUIET: Duration = Duration::from_secs(60);
const REPAIRS_COUNT_FOR: Duration = Duration::from_secs(1);
const MOST_REPAIRS: u32 = 20;

#[cfg(test)]
mod tests;
