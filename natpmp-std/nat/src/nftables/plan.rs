use std::collections::{HashMap, HashSet};
use std::net::SocketAddrV4;

use natpmp_proto::gateway::{NatFailure, NatMapping, NatRequest};
use natpmp_proto::wire::Protocol;

use super::{Done, script};

/// What requests come to, when they are done one after the other. Whatever stands, it costs what the requests take.
#[derive(Debug)]
pub(super) struct Plan {
    /// What was there before, of the ends that the requests are about.
    before: HashMap<Internal, Option<u16>>,
    /// From what stood to what is to stand; empty if there is nothing to do.
    pub(super) script: String,
    pub(super) done: Done,
}

/// Mappings, by each of their ends.
#[derive(Debug, Default)]
pub(super) struct Standing {
    ports: HashMap<Internal, u16>,
    owners: HashMap<(Protocol, u16), SocketAddrV4>,
}

type Internal = (Protocol, SocketAddrV4);

impl Plan {
    /// `standing` is as it is to be afterwards. `is_open`: there is an external address.
    pub(super) fn make(standing: &mut Standing, requests: &[NatRequest], is_open: bool) -> Self {
        let mut done = Done::default();
        let (mut before, mut installed) = (HashMap::new(), HashSet::new());
        for request in requests {
            let mapping = request.mapping();
            let end = (mapping.protocol, mapping.internal);
            before.entry(end).or_insert_with(|| standing.ports.get(&end).copied());
            let result = match request {
                NatRequest::Remove(_) => {
                    done.ended.extend(standing.remove(mapping));
                    Ok(())
                }
                NatRequest::Install(_) => {
                    installed.insert(end);
                    standing.install(mapping, is_open, &mut done)
                }
            };
            done.results.push(result);
        }
        let stood = before.iter().filter_map(|(end, port)| port.map(|port| mapping(*end, port)));
        let gone = stood.filter(|mapping| !standing.has(mapping));
        // Also those that stood: they may have been lost.
        let there = installed.iter().filter_map(|end| standing.at(end));
        let script = script::delete(gone) + &script::add(there);
        Self { before, script, done }
    }

    /// `standing` is as it was before this plan, the last that was made for it.
    pub(super) fn undo(&self, standing: &mut Standing) {
        for end in self.before.keys() {
            if let Some(mapping) = standing.at(end) {
                standing.remove(&mapping);
            }
        }
        for (end, port) in &self.before {
            if let Some(port) = port {
                standing.insert(&mapping(*end, *port));
            }
        }
    }
}

impl Standing {
    pub(super) fn iter(&self) -> impl Iterator<Item = NatMapping> {
        self.ports.iter().map(|(end, port)| mapping(*end, *port))
    }

    pub(super) fn has(&self, mapping: &NatMapping) -> bool {
        self.ports.get(&(mapping.protocol, mapping.internal)) == Some(&mapping.external_port)
    }

    fn at(&self, end: &Internal) -> Option<NatMapping> {
        self.ports.get(end).map(|port| mapping(*end, *port))
    }

    fn install(&mut self, mapping: &NatMapping, is_open: bool, done: &mut Done) -> Result<(), NatFailure> {
        if is_open && self.has(mapping) {
            return Ok(());
        }
        let before = self.at(&(mapping.protocol, mapping.internal));
        done.ended.extend(before.and_then(|before| self.remove(&before)));
        if !is_open {
            return Err(NatFailure::Network);
        }
        if self.owners.contains_key(&(mapping.protocol, mapping.external_port)) {
            return Err(NatFailure::Resources);
        }
        self.insert(mapping);
        done.opened.push(*mapping);
        Ok(())
    }

    fn insert(&mut self, mapping: &NatMapping) {
        self.owners.insert((mapping.protocol, mapping.external_port), mapping.internal);
        self.ports.insert((mapping.protocol, mapping.internal), mapping.external_port);
    }

    /// The mapping, if it stood.
    fn remove(&mut self, mapping: &NatMapping) -> Option<NatMapping> {
        if !self.has(mapping) {
            return None;
        }
        self.ports.remove(&(mapping.protocol, mapping.internal));
        self.owners.remove(&(mapping.protocol, mapping.external_port));
        Some(*mapping)
    }
}

fn mapping((protocol, internal): Internal, external_port: u16) -> NatMapping {
    NatMapping { protocol, internal, external_port }
}
