//! Which flows of connection tracking are to end when a mapping ends, or begins.

use std::collections::{HashMap, HashSet};
use std::net::{Ipv4Addr, SocketAddrV4};

use natpmp_proto::gateway::NatMapping;
use natpmp_proto::wire::Protocol;

use super::conntrack::{Flow, FlowFilter};

/// The mappings whose flows are still to be looked for, and what has to be remembered to tell their flows from others.
///
/// A flow that a peer began belongs to the mapping that translates it. One that a client began belongs to a mapping if it was
/// translated to the external port; but where that equals the client's port, the box may have masqueraded a flow to the same
/// port before there was the mapping. So the flows that are there when such a mapping begins are remembered: they stay when
/// it ends.
#[derive(Debug, Default)]
pub(super) struct FlowCleanup {
    ended: HashMap<(NatMapping, Ipv4Addr), Began>,
    installed: HashSet<NatMapping>,
    /// By mapping, the numbers of the flows that its client had begun from the same port before.
    older: HashMap<NatMapping, HashSet<u32>>,
}

/// Which of the flows that the client began through a mapping are its own.
#[derive(Debug)]
enum Began {
    /// All but those with these numbers.
    AllBut(HashSet<u32>),
    /// Nobody can tell which of them are.
    Unknown,
}

/// What is to be done with the flows that were found.
#[derive(Debug, Default)]
pub(super) struct Verdicts {
    pub(super) ended: Vec<Flow>,
    /// The TCP mappings of those.
    pub(super) reset: HashSet<NatMapping>,
}

impl FlowCleanup {
    pub(super) fn is_empty(&self) -> bool {
        self.ended.is_empty() && self.installed.is_empty()
    }

    pub(super) fn mapping_ended(&mut self, mapping: NatMapping, external: Ipv4Addr) {
        let older = self.older.remove(&mapping);
        let began = match older {
            _ if !may_be_masqueraded_alike(&mapping) => Began::AllBut(HashSet::new()),
            // One that was made again was there before, and its flows with it.
            Some(older) => Began::AllBut(older),
            None => Began::Unknown,
        };
        self.installed.remove(&mapping);
        self.ended.entry((mapping, external)).or_insert(began);
    }

    pub(super) fn mapping_installed(&mut self, mapping: NatMapping) {
        self.installed.insert(mapping);
    }

    /// The flows that have to be looked at.
    pub(super) fn filters(&self, external: Option<Ipv4Addr>) -> Vec<FlowFilter> {
        let mut filters = Vec::new();
        for (mapping, external) in self.ended.keys() {
            let there = SocketAddrV4::new(*external, mapping.external_port);
            filters.push(FlowFilter::To(mapping.protocol, there));
            filters.push(FlowFilter::From(mapping.protocol, mapping.internal));
        }
        for mapping in &self.installed {
            if let Some(external) = external.filter(|_| mapping.protocol == Protocol::Udp) {
                filters.push(FlowFilter::To(Protocol::Udp, SocketAddrV4::new(external, mapping.external_port)));
            }
            if may_be_masqueraded_alike(mapping) {
                filters.push(FlowFilter::From(mapping.protocol, mapping.internal));
            }
        }
        filters
    }

    /// Says which of the flows that were found are to end, and remembers what is older than a mapping. Nothing is awaited
    /// after that.
    pub(super) fn judge(&mut self, flows: Vec<Flow>, external: Option<Ipv4Addr>) -> Verdicts {
        let (ended, installed) = (std::mem::take(&mut self.ended), std::mem::take(&mut self.installed));
        for mapping in installed.iter().filter(|mapping| may_be_masqueraded_alike(mapping)) {
            self.older.insert(*mapping, HashSet::new());
        }
        let blocked: HashSet<_> = installed.iter().map(|mapping| (mapping.protocol, mapping.external_port)).collect();
        let mut verdicts = Verdicts::default();
        for flow in flows {
            let (inward, outward) = (flow.inward_mapping(), flow.outward_mapping());
            let ended_inward = ended.contains_key(&inward).then_some(inward.0);
            let ended_outward = ended.get(&outward).is_some_and(|began| began.has(&flow)).then_some(outward.0);
            let to = flow.original.to;
            let blocks = flow.is_unanswered_by_the_box()
                && external == Some(*to.ip())
                && blocked.contains(&(flow.protocol, to.port()));
            let mappings = ended_inward.into_iter().chain(ended_outward);
            verdicts.reset.extend(mappings.clone().filter(|mapping| mapping.protocol == Protocol::Tcp));
            if mappings.count() > 0 || blocks {
                verdicts.ended.push(flow);
            } else if installed.contains(&outward.0) && external == Some(outward.1) && !flow.is_closed {
                if let Some(older) = self.older.get_mut(&outward.0) {
                    older.insert(flow.id);
                }
            }
        }
        verdicts
    }

    /// Forgets what was awaited: the flows cannot be seen.
    pub(super) fn give_up(&mut self) {
        self.ended.clear();
        self.installed.clear();
    }
}

impl Began {
    fn has(&self, flow: &Flow) -> bool {
        match self {
            Self::AllBut(older) => !older.contains(&flow.id),
            Self::Unknown => false,
        }
    }
}

/// Whether masquerading gives what the client sends the same port as the mapping does.
const fn may_be_masqueraded_alike(mapping: &NatMapping) -> bool {
    mapping.internal.port() == mapping.external_port
}
