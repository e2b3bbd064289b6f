//! The table in nftables: which mappings it holds, the scripts of `nft` that change it, and what an earlier process left in it.

use std::collections::{HashMap, HashSet};
use std::fmt::Write;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};

use natpmp_proto::gateway::{NatFailure, NatMapping, NatRequest};
use natpmp_proto::wire::Protocol;

use super::kernel::nft;

/// The one transaction that makes a batch of requests take effect, in their order. Its cost grows with the requests, and not
/// with the mappings that are there.
#[derive(Debug)]
pub(super) struct Transaction {
    /// The external ports, before it, of the internal endpoints that the requests name.
    before: HashMap<Internal, Option<u16>>,
    /// Changes the table in the kernel accordingly; empty if nothing changes.
    pub(super) script: String,
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
    pub(super) fn prepare(table: &mut MappingTable, requests: &[NatRequest], has_address: bool) -> Self {
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
                    table.install(mapping, has_address, &mut applied)
                }
            };
            applied.results.push(result);
        }
        let previous = before.iter().filter_map(|(end, port)| port.map(|port| mapping(*end, port)));
        let removed = previous.filter(|mapping| !table.has(mapping));
        // Also those that were there already: somebody may have removed them from the kernel.
        let present = installed.iter().filter_map(|end| table.at(end));
        let script = delete_mappings(removed) + &add_mappings(present);
        Self { before, script, applied }
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

/// The interfaces between which the NAT translates, as a script names them.
#[derive(Debug)]
pub(super) struct Interfaces {
    /// The condition on `oifname` that holds for packets to the internet.
    outward: String,
    internal: String,
}

impl Interfaces {
    pub(super) fn new(external: Option<&str>, internal: &[&str]) -> io::Result<Self> {
        if internal.is_empty() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "an internal interface is needed"));
        }
        let internal = internal.iter().map(|name| quoted(name)).collect::<io::Result<Vec<_>>>()?.join(", ");
        let internal = format!("{{ {internal} }}");
        let outward = external.map_or_else(|| Ok(format!("!= {internal}")), quoted)?;
        Ok(Self { outward, internal })
    }

    /// The script that puts the whole table in place of the one that may be there.
    pub(super) fn table(&self, external: Option<Ipv4Addr>, mappings: impl Iterator<Item = NatMapping>) -> String {
        let table = TABLE.replace("OUTWARD", &self.outward).replace("INTERNAL", &self.internal);
        delete_table() + &table + &self.rules(external) + &add_mappings(mappings)
    }

    /// The script that makes the rules that depend on the external address.
    pub(super) fn rules(&self, external: Option<Ipv4Addr>) -> String {
        let mut script =
            "flush set ip natpmp external\nflush chain ip natpmp outbound\nflush chain ip natpmp hairpin\n".to_owned();
        let Some(external) = external else { return script };
        let _ = writeln!(script, "add element ip natpmp external {{ {external} }}");
        for protocol in PROTOCOLS {
            let _ = writeln!(
                script,
                "add rule ip natpmp outbound meta l4proto {protocol} \
                 snat ip to {external} : ip saddr . {protocol} sport map @{protocol}_out"
            );
        }
        // A client that reaches another one by the external address leaves from its mapped port as well, or from any.
        let _ = write!(
            script,
            "add rule ip natpmp hairpin jump outbound\nadd rule ip natpmp hairpin snat ip to {external}\n"
        );
        script
    }
}

pub(super) fn delete_table() -> String {
    // nft refuses to delete a table that is not there, so the script creates it first.
    "table ip natpmp\ndelete table ip natpmp\n".to_owned()
}

pub(super) fn add_mappings(mappings: impl Iterator<Item = NatMapping>) -> String {
    elements(mappings.collect(), "add", |key, value| format!("{key} : {value}"))
}

pub(super) fn delete_mappings(mappings: impl Iterator<Item = NatMapping>) -> String {
    elements(mappings.collect(), "delete", |key, _| key.to_owned())
}

/// Has the kernel reset the connections of these TCP mappings from now on.
pub(super) fn reset_connections<'a>(mappings: impl Iterator<Item = &'a NatMapping>) -> String {
    let (ports, clients): (Vec<_>, Vec<_>) = mappings
        .map(|NatMapping { internal, external_port, .. }| {
            (external_port.to_string(), format!("{} . {}", internal.ip(), internal.port()))
        })
        .unzip();
    let mut script = String::new();
    for (set, keys) in [("ended_in", ports), ("ended_out", clients)] {
        let timed: Vec<_> = keys.iter().map(|key| format!("{key} timeout {RESET_TIMEOUT}")).collect();
        let (keys, timed) = (keys.join(", "), timed.join(", "));
        // An element that is there already would keep its old timeout.
        for (verb, elements) in [("add", &timed), ("delete", &keys), ("add", &timed)] {
            let _ = writeln!(script, "{verb} element ip natpmp {set} {{ {elements} }}");
        }
    }
    script
}

/// The commands that add or delete mappings in each of the three forms in which the table has them.
fn elements(mappings: Vec<NatMapping>, verb: &str, pair: fn(&str, &str) -> String) -> String {
    let mut script = String::new();
    for protocol in PROTOCOLS {
        let (mut inward, mut outward, mut open) = (Vec::new(), Vec::new(), Vec::new());
        for NatMapping { internal, external_port, .. } in mappings.iter().filter(|each| each.protocol == protocol) {
            let (client, port) = (format!("{} . {}", internal.ip(), internal.port()), external_port.to_string());
            inward.push(pair(&port, &client));
            outward.push(pair(&client, &port));
            open.push(format!("{port} . {client}"));
        }
        for (form, elements) in [("in", inward), ("out", outward), ("open", open)] {
            if !elements.is_empty() {
                let _ = writeln!(script, "{verb} element ip natpmp {protocol}_{form} {{ {} }}", elements.join(", "));
            }
        }
    }
    script
}

/// Quotes the name of an interface, and refuses a name that could mean anything else in a script.
fn quoted(name: &str) -> io::Result<String> {
    let is_name = (1..=15).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_graphic() && !br#""*\/"#.contains(&byte));
    if is_name {
        Ok(format!("\"{name}\""))
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{name:?} is no name of an interface")))
    }
}

/// Reads the mappings that the kernel's table has, each with its external address; none if there is no table.
pub(super) fn installed_mappings() -> Vec<(NatMapping, Ipv4Addr)> {
    nft(&["-nn", "list", "table", "ip", "natpmp"], "")
        .map_or_else(|_| Vec::new(), |listed| mappings_in_listing(&listed))
}

/// Reads the mappings, each with its external address, from the output of `nft -nn list table ip natpmp`. It passes over what
/// it does not understand.
#[must_use]
pub fn mappings_in_listing(listed: &str) -> Vec<(NatMapping, Ipv4Addr)> {
    let Some(external) = listed_elements(listed, "set external").next().and_then(|text| text.parse().ok()) else {
        return Vec::new();
    };
    let of = |protocol, name| {
        listed_elements(listed, name)
            .filter_map(move |text| Some((parse_element(protocol, text)?, external)))
            .collect::<Vec<_>>()
    };
    let mut all = of(Protocol::Udp, "map udp_in");
    all.extend(of(Protocol::Tcp, "map tcp_in"));
    all
}

/// The elements of the block that begins with these words: what the braces after `elements =` enclose.
fn listed_elements<'a>(listed: &'a str, block: &str) -> impl Iterator<Item = &'a str> {
    let block = listed.split_once(&format!("{block} {{")).map_or("", |(_, rest)| rest);
    // A block ends with a line of its own.
    let block = block.split_once("\n\t}").map_or("", |(block, _)| block);
    let list = block.split_once("elements = {").map_or("", |(_, rest)| rest);
    list.trim_end().trim_end_matches('}').split(',').map(str::trim)
}

/// Reads `EXTERNAL : ADDRESS . PORT`.
fn parse_element(protocol: Protocol, text: &str) -> Option<NatMapping> {
    let (external_port, internal) = text.split_once(" : ")?;
    let (address, port) = internal.split_once(" . ")?;
    let internal = SocketAddrV4::new(address.trim().parse().ok()?, port.trim().parse().ok()?);
    Some(NatMapping { protocol, internal, external_port: external_port.trim().parse().ok()? })
}

const TABLE: &str = include_str!("table.nft");
const PROTOCOLS: [Protocol; 2] = [Protocol::Udp, Protocol::Tcp];
/// As long as a NAT is to remember a TCP connection that says nothing (RFC 5382, REQ-5).
const RESET_TIMEOUT: &str = "124m";
