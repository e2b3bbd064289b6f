//! Which mappings are to be in the kernel, and the transactions that make it so.

use std::collections::{HashMap, HashSet};
use std::net::{Ipv4Addr, SocketAddrV4};

use natpmp_proto::gateway::{NatFailure, NatMapping, NatRequest};
use natpmp_proto::wire::Protocol;

use super::operation::{Element, Operation};

/// The one transaction that makes a batch of requests take effect, in their order. Its cost grows with the requests, and not
/// with the mappings that are there.
#[derive(Debug)]
pub(super) struct Transaction {
    /// The external ports, before it, of the internal endpoints that the requests name.
    before: HashMap<Internal, Option<u16>>,
    /// Changes the table in the kernel accordingly; none if nothing changes.
    pub(super) operations: Vec<Operation>,
    pub(super) applied: Applied,
}

/// What became of a batch of requests.
#[derive(Debug, Default)]
pub(super) struct Applied {
    pub(super) results: Vec<Result<(), NatFailure>>,
    /// Mappings that were there before and are not any more, or were not in between.
    pub(super) removed: Vec<NatMapping>,
    /// Mappings that were not there before.
    pub(super) installed: Vec<NatMapping>,
}

/// The mappings that are to be in the kernel, found by either endpoint.
#[derive(Debug, Default)]
pub(super) struct MappingTable {
    ports: HashMap<Internal, u16>,
    owners: HashMap<(Protocol, u16), SocketAddrV4>,
}

type Internal = (Protocol, SocketAddrV4);

impl Transaction {
    /// Changes `table` to what it is to be after the transaction. Without an external address no mapping can be installed.
    pub(super) fn prepare(table: &mut MappingTable, requests: &[NatRequest], external: Option<Ipv4Addr>) -> Self {
        let mut applied = Applied::default();
        let (mut before, mut installed) = (HashMap::new(), HashSet::new());
        for request in requests {
            let mapping = request.mapping();
            let end = (mapping.protocol, mapping.internal);
            before.entry(end).or_insert_with(|| table.ports.get(&end).copied());
            let result = match request {
                NatRequest::Remove(_) => {
                    applied.removed.extend(table.remove(mapping));
                    Ok(())
                }
                NatRequest::Install(_) => {
                    installed.insert(end);
                    table.install(mapping, external.is_some(), &mut applied)
                }
            };
            applied.results.push(result);
        }
        let previous = before.iter().filter_map(|(end, port)| port.map(|port| mapping(*end, port)));
        let removed = previous.filter(|mapping| !table.has(mapping));
        // Also those that were there already: somebody may have removed them from the kernel.
        let present = installed.iter().filter_map(|end| table.at(end));
        let mut operations = operations(removed, external, Operation::Delete);
        operations.extend(add_mappings(present, external));
        Self { before, operations, applied }
    }

    /// Restores `table` to what it was before this transaction, which must be the last one prepared on it.
    pub(super) fn roll_back(&self, table: &mut MappingTable) {
        for end in self.before.keys() {
            if let Some(mapping) = table.at(end) {
                table.remove(&mapping);
            }
        }
        for (end, port) in &self.before {
            if let Some(port) = port {
                table.insert(&mapping(*end, *port));
            }
        }
    }
}

impl MappingTable {
    pub(super) fn iter(&self) -> impl Iterator<Item = NatMapping> {
        self.ports.iter().map(|(end, port)| mapping(*end, *port))
    }

    pub(super) fn has(&self, mapping: &NatMapping) -> bool {
        self.ports.get(&(mapping.protocol, mapping.internal)) == Some(&mapping.external_port)
    }

    fn at(&self, end: &Internal) -> Option<NatMapping> {
        self.ports.get(end).map(|port| mapping(*end, *port))
    }

    fn install(&mut self, mapping: &NatMapping, has_address: bool, applied: &mut Applied) -> Result<(), NatFailure> {
        if has_address && self.has(mapping) {
            return Ok(());
        }
        let before = self.at(&(mapping.protocol, mapping.internal));
        applied.removed.extend(before.and_then(|before| self.remove(&before)));
        if !has_address {
            return Err(NatFailure::Network);
        }
        if self.owners.contains_key(&(mapping.protocol, mapping.external_port)) {
            return Err(NatFailure::Resources);
        }
        self.insert(mapping);
        applied.installed.push(*mapping);
        Ok(())
    }

    fn insert(&mut self, mapping: &NatMapping) {
        self.owners.insert((mapping.protocol, mapping.external_port), mapping.internal);
        self.ports.insert((mapping.protocol, mapping.internal), mapping.external_port);
    }

    /// Returns the mapping if it was there.
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

pub(super) fn add_mappings(mappings: impl Iterator<Item = NatMapping>, external: Option<Ipv4Addr>) -> Vec<Operation> {
    operations(mappings, external, Operation::Add)
}

/// The operations on the elements of these mappings, each set's after the other's, so that they share messages.
fn operations(
    mappings: impl Iterator<Item = NatMapping>,
    external: Option<Ipv4Addr>,
    operation: fn(Element) -> Operation,
) -> Vec<Operation> {
    // While there is no external address no packet comes to where this one is used.
    let external = external.unwrap_or(Ipv4Addr::UNSPECIFIED);
    let mut forms = [const { Vec::new() }; 6];
    for mapping in mappings {
        let of_protocol = match mapping.protocol {
            Protocol::Udp => 0,
            Protocol::Tcp => 3,
        };
        for (form, element) in forms.iter_mut().skip(of_protocol).zip(Element::of_mapping(mapping, external)) {
            form.push(operation(element));
        }
    }
    forms.concat()
}
