use std::collections::{HashMap, HashSet};
use std::net::SocketAddrV4;

use natpmp_proto::gateway::{NatFailure, NatMapping, NatRequest};
use natpmp_proto::wire::Protocol;

use super::{Done, script};

/// What requests come to, when they are done one after the other.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) after: Standing,
    /// From what stands to what is to stand; empty if there is nothing to do.
    pub(super) script: String,
    pub(super) done: Done,
}

/// Mappings, by each of their ends.
#[derive(Clone, Debug, Default)]
pub(super) struct Standing {
    ports: HashMap<Internal, u16>,
    owners: HashMap<(Protocol, u16), SocketAddrV4>,
}

type Internal = (Protocol, SocketAddrV4);

impl Plan {
    /// `is_open`: there is an external address.
    pub(super) fn new(standing: &Standing, requests: &[NatRequest], is_open: bool) -> Self {
        let mut after = standing.clone();
        let mut done = Done::default();
        let (mut touched, mut installed) = (HashSet::new(), HashSet::new());
        for request in requests {
            let mapping = request.mapping();
            let end = (mapping.protocol, mapping.internal);
            touched.insert(end);
            let result = match request {
                NatRequest::Remove(_) => {
                    done.ended.extend(after.remove(mapping));
                    Ok(())
                }
                NatRequest::Install(_) => {
                    installed.insert(end);
                    after.install(mapping, is_open, &mut done)
                }
            };
            done.results.push(result);
        }
        let gone = touched.iter().filter_map(|end| standing.at(end)).filter(|mapping| !after.has(mapping));
        // Also those that stood: they may have been lost.
        let there = installed.iter().filter_map(|end| after.at(end));
        let script = script::delete(gone) + &script::add(there);
        Self { after, script, done }
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
        let door = (mapping.protocol, mapping.external_port);
        if self.owners.contains_key(&door) {
            return Err(NatFailure::Resources);
        }
        self.owners.insert(door, mapping.internal);
        self.ports.insert((mapping.protocol, mapping.internal), mapping.external_port);
        done.opened.push(*mapping);
        Ok(())
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
