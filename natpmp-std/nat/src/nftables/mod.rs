//! The kernel's NAT, by a table of its own in nftables.

pub mod conntrack;
mod house;
mod kernel;
mod leftover;
mod plan;
mod script;

use std::collections::HashSet;
use std::io;
use std::net::Ipv4Addr;

use natpmp_proto::gateway::{NatFailure, NatMapping, NatRequest};
use natpmp_proto::wire::Protocol;

use crate::Nat;
use conntrack::Flow;
use kernel::{Kernel, Linux};
pub use leftover::mappings_in_listing;
use plan::{Plan, Standing};
use script::Interfaces;

/// The kernel's NAT, by a table of its own in nftables: `table ip natpmp`. Linux 5.7 or later, the program `nft`, and
/// root or `CAP_NET_ADMIN`.
///
/// # What it does
/// - What comes to the external address and port goes to the client; the client sees who sent it.
/// - What the client sends from a mapped port to the internet leaves from the mapped external port.
/// - A client reaches another, and itself, by the external address; it is then seen with the external address, as from
///   outside.
/// - When a mapping ends, its connections are removed from connection tracking. What comes on one of its TCP
///   connections after that, from either side, is answered with a reset.
///
/// However many mappings there are, the rules stay the same: mappings are elements of maps, found by hash. All requests
/// of one call are one transaction of the kernel; only if it is refused are they tried apart. Nothing outside of the
/// table is changed; a port that the box forwards by rules of its own stays with these.
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
/// on it go on until the first [`apply`](Nat::apply) tells which mappings are to stand: those of all others are ended
/// then. If something removes the table in between, as the reload of a firewall does, the next `apply` that changes anything makes
/// it anew.
///
/// # Limits
/// - A flow that the client began before the mapping keeps the port that it had.
/// - Where what is bridged passes the filters (`bridge-nf-call-iptables=1`), a client reaches itself by the external
///   address only if its port of the bridge is in hairpin mode. It reaches others.
/// - A box runs one of these: the table is made for one.
/// - An idle TCP connection hears of the end of its mapping when it next has something to say: the kernel knows no
///   sequence numbers to reset it with before. The two guards for that stay for 2 h 4 min, and go with the table.
/// - After [`end`](Nat::end) the guards are gone too. Where the external port equals the internal one, a connection on
///   which the client speaks first may then go on, as any that the box masquerades.
///
/// # Why no crate for the rule set
/// The `nftables` crate gives types for the JSON that `nft` reads, and runs that same program. The rule set here is one
/// fixed text, and lists of elements; writing it takes less than describing it in these types, can be read by whoever
/// knows `nft`, and needs none of the two dozen crates that come along. Talking to the kernel without `nft` takes C
/// libraries, or a crate whose licence is not ours. For connection tracking most boxes have no program, but it takes
/// two messages only: those are written here.
#[derive(Debug)]
pub struct Nftables {
    kernel: Box<dyn Kernel>,
    interfaces: Interfaces,
    external: Option<Ipv4Addr>,
    /// The mappings that are to be in the kernel.
    standing: Standing,
    /// Whether the kernel has them, as far as we know.
    is_whole: bool,
    /// What an earlier process left, until it is known what is to stand.
    leftover: Vec<(NatMapping, Ipv4Addr)>,
    is_over: bool,
}

impl Nftables {
    /// Makes the table, in place of one that was left there; nothing is open yet, and there is no external address.
    ///
    /// `external` is the interface towards the internet; without one it is any that is not internal. `internal` are
    /// those where the clients are.
    ///
    /// # Errors
    /// - [`io::ErrorKind::InvalidInput`]: no internal interface, or what cannot be the name of one.
    /// - What the system or `nft` said, if the table could not be made.
    pub fn start(external: Option<&str>, internal: &[&str]) -> io::Result<Self> {
        let interfaces = Interfaces::new(external, internal)?;
        house::look_around();
        let leftover = leftover::read();
        let mut nat = Self::with(Box::new(Linux::new()), interfaces, leftover);
        nat.rebuild()?;
        Ok(nat)
    }

    /// Goes without removing anything: mappings and connections stay, until the next start. For a gateway that
    /// restarts.
    pub fn leave(mut self) {
        self.is_over = true;
    }

    fn with(kernel: Box<dyn Kernel>, interfaces: Interfaces, leftover: Vec<(NatMapping, Ipv4Addr)>) -> Self {
        let standing = Standing::default();
        Self { kernel, interfaces, external: None, standing, is_whole: false, leftover, is_over: false }
    }
}

impl Nat for Nftables {
    fn apply(&mut self, requests: &[NatRequest]) -> Vec<Result<(), NatFailure>> {
        let done = self.carry_out(requests);
        let mut ended: HashSet<_> = std::mem::take(&mut self.leftover).into_iter().collect();
        if let Some(external) = self.external {
            ended.retain(|(mapping, address)| *address != external || !self.standing.has(mapping));
            ended.extend(done.ended.iter().map(|mapping| (*mapping, external)));
        }
        self.end_flows(&ended, &done.opened);
        done.results
    }

    fn set_external_address(&mut self, address: Option<Ipv4Addr>) {
        let address = address.filter(|address| !address.is_unspecified());
        if self.external == address {
            return;
        }
        let before = std::mem::replace(&mut self.external, address);
        let script = self.interfaces.rules(address);
        if !self.is_whole || self.commit(&script).is_err() {
            if let Err(error) = self.rebuild() {
                log::error!("the kernel's NAT did not take the new external address: {error}");
            }
        }
        if let Some(before) = before {
            let ended = self.standing.iter().map(|mapping| (mapping, before)).collect();
            self.end_flows(&ended, &[]);
        }
    }

    fn end(&mut self) {
        if std::mem::replace(&mut self.is_over, true) {
            return;
        }
        if let Err(error) = self.commit(&script::no_table()) {
            log::error!("the table ip natpmp could not be removed: {error}");
        }
        self.is_whole = false;
        let mut ended: HashSet<_> = std::mem::take(&mut self.leftover).into_iter().collect();
        let standing = std::mem::take(&mut self.standing);
        ended.extend(self.external.into_iter().flat_map(|address| standing.iter().map(move |each| (each, address))));
        self.end_flows(&ended, &[]);
    }
}

impl Drop for Nftables {
    fn drop(&mut self) {
        self.end();
    }
}

/// What became of requests.
#[derive(Debug, Default)]
struct Done {
    results: Vec<Result<(), NatFailure>>,
    /// Mappings that stood, and do not any more, or not in between.
    ended: Vec<NatMapping>,
    opened: Vec<NatMapping>,
}

impl Nftables {
    /// All in one transaction, if the kernel takes it.
    fn carry_out(&mut self, requests: &[NatRequest]) -> Done {
        let plan = self.plan(requests);
        let Err(refusal) = self.try_plan(&plan) else { return plan.done };
        // The table may have been changed or removed by somebody else.
        log::debug!("the kernel refused {} requests: {refusal}", requests.len());
        if self.rebuild().is_ok() {
            log::warn!("the table ip natpmp was not as it was left: it was made anew");
            return plan.done;
        }
        plan.undo(&mut self.standing);
        let removals: Vec<_> =
            requests.iter().copied().filter(|request| matches!(request, NatRequest::Remove(_))).collect();
        let without = Plan::make(&mut self.standing, &removals, true);
        match self.rebuild() {
            Ok(()) => {
                let mut done = self.carry_out_apart(requests);
                done.ended.extend(without.done.ended);
                done
            }
            Err(error) => {
                log::error!("the kernel's NAT does not work: {error}");
                without.undo(&mut self.standing);
                let results = vec![Err(NatFailure::Network); requests.len()];
                Done { results, ended: without.done.ended, opened: Vec::new() }
            }
        }
    }

    /// Halves them until it is known which are refused.
    fn carry_out_apart(&mut self, requests: &[NatRequest]) -> Done {
        let plan = self.plan(requests);
        if self.try_plan(&plan).is_ok() {
            return plan.done;
        }
        plan.undo(&mut self.standing);
        let (first, second) = requests.split_at(requests.len() / 2);
        if first.is_empty() {
            return self.refuse(requests);
        }
        let mut done = self.carry_out_apart(first);
        let more = self.carry_out_apart(second);
        done.results.extend(more.results);
        done.ended.extend(more.ended);
        done.opened.extend(more.opened);
        done
    }

    /// This one is not to be had; it leaves nothing.
    fn refuse(&mut self, request: &[NatRequest]) -> Done {
        let removal: Vec<_> = request.iter().map(|request| NatRequest::Remove(*request.mapping())).collect();
        let plan = Plan::make(&mut self.standing, &removal, true);
        if self.try_plan(&plan).is_err() {
            self.is_whole = false;
        }
        Done { results: vec![Err(NatFailure::Resources); request.len()], ..plan.done }
    }

    fn plan(&mut self, requests: &[NatRequest]) -> Plan {
        Plan::make(&mut self.standing, requests, self.external.is_some())
    }

    fn try_plan(&mut self, plan: &Plan) -> io::Result<()> {
        if !self.is_whole {
            return Err(io::Error::other("the table is not there"));
        }
        self.commit(&plan.script)
    }

    /// The whole table anew, with all that is to stand, in one transaction.
    fn rebuild(&mut self) -> io::Result<()> {
        let result = self.kernel.commit(&self.interfaces.table(self.external, self.standing.iter()));
        (self.is_whole, self.is_over) = (result.is_ok(), false);
        result
    }

    fn commit(&mut self, script: &str) -> io::Result<()> {
        if script.is_empty() { Ok(()) } else { self.kernel.commit(script) }
    }

    /// The flows of mappings that ended, and those that keep a new mapping from its packets.
    fn end_flows(&mut self, ended: &HashSet<(NatMapping, Ipv4Addr)>, opened: &[NatMapping]) {
        let blocked: HashSet<u16> =
            opened.iter().filter(|each| each.protocol == Protocol::Udp).map(|each| each.external_port).collect();
        if ended.is_empty() && blocked.is_empty() {
            return;
        }
        // There may be very many. What blocks came to the external address; what has ended may have begun at its client.
        let first_to = self.external.filter(|_| ended.is_empty());
        let mut flows = match self.kernel.flows(first_to) {
            Ok(flows) => flows,
            Err(error) => return log::warn!("connections of mappings that ended may go on: {error}"),
        };
        let mut reset = HashSet::new();
        flows.retain(|flow| {
            let of: Vec<_> = flow.mappings().into_iter().filter(|of| ended.contains(of)).collect();
            let has_ended = !of.is_empty();
            reset.extend(of.into_iter().map(|(mapping, _)| mapping).filter(|each| each.protocol == Protocol::Tcp));
            has_ended || self.external.is_some_and(|external| flow.is_blocked(external, &blocked))
        });
        // First the guards: what comes between would begin the connection anew.
        if !reset.is_empty() && self.is_whole {
            if let Err(error) = self.commit(&script::guard(reset.iter())) {
                log::warn!("connections of mappings that ended may go on: {error}");
            }
        }
        for flow in &flows {
            self.end_flow(flow);
        }
    }

    fn end_flow(&mut self, flow: &Flow) {
        if let Err(error) = self.kernel.end_flow(flow) {
            log::warn!("a connection of a mapping that ended may go on: {error}");
        }
    }
}

#[cfg(test)]
mod tests;
