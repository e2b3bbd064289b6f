//! Reads the own table back from the kernel.

use std::collections::HashSet;
use std::io;
use std::net::Ipv4Addr;

use natpmp_netlink::netfilter::{self, IPV4, NFTABLES};
use natpmp_netlink::{AttributeWriter, Message, NLM_F_DUMP, Outcome, Socket, array, find};
use natpmp_proto::gateway::NatMapping;
use natpmp_proto::wire::Protocol;
use rustix::net::netlink::NETFILTER;

use super::operation::{Element, elements_in};
use super::schema::{NAME, NEW_CHAIN, NEW_RULE, NEW_SET, NEW_TABLE, Set};

/// What the kernel has of the table.
#[derive(Clone, Debug, Default)]
pub(super) struct Contents {
    /// Whether its sets, chains and rules are those that were made, and all there are.
    pub(super) is_as_made: bool,
    /// The elements that stand for the external address, the internal interfaces and the mappings.
    pub(super) elements: HashSet<Element>,
    /// How many elements cannot be ours.
    pub(super) strange: usize,
}

/// A table, set, chain or rule. The kernel gives each a number that it never gives again to another of the same table; a rule that
/// is replaced keeps the number of the one before.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Part {
    kind: u8,
    name: Vec<u8>,
    handle: u64,
    /// What can be changed of it: the flags of a table, the policy of a chain.
    state: u32,
}

impl Part {
    /// Reads a part of the own table from a message of the kernel.
    pub(super) fn read(message: &Message<'_>) -> Option<Self> {
        let [subsystem, kind] = message.kind.to_be_bytes();
        if subsystem != NFTABLES || !is_of_own_table(message) {
            return None;
        }
        let attributes = message.body.get(HEADER..)?;
        let (name, handle, state) = match kind {
            NEW_TABLE => (1, 4, Some(2)),
            NEW_CHAIN => (3, 2, Some(5)),
            NEW_SET => (2, 16, None),
            NEW_RULE => (2, 3, None),
            _ => return None,
        };
        let handle = u64::from_be_bytes(array(find(attributes, handle)?, 0)?);
        let state = state.and_then(|state| array(find(attributes, state)?, 0)).map_or(0, u32::from_be_bytes);
        Some(Self { kind, name: find(attributes, name)?.to_vec(), handle, state })
    }
}

/// Whether a message of nftables is about the own table: in every one of them the first attribute names the table.
pub(super) fn is_of_own_table(message: &Message<'_>) -> bool {
    let name = message.body.get(HEADER..).and_then(|attributes| find(attributes, 1));
    message.body.first() == Some(&IPV4) && name.and_then(|name| name.strip_suffix(b"\0")) == Some(NAME.as_bytes())
}

/// Reads all of the table that nobody but its owner is to change, between two changes of the rule set.
pub(super) fn contents(made: &[Part]) -> io::Result<Contents> {
    let mut socket = Socket::open(Some(NETFILTER))?;
    for _ in 0..ATTEMPTS {
        let generation = netfilter::generation(&mut socket)?;
        let mut contents =
            Contents { is_as_made: !made.is_empty() && parts(&mut socket)? == made, ..Contents::default() };
        for set in Set::ALL.into_iter().filter(|set| !matches!(set, Set::EndedIn | Set::EndedOut)) {
            let (found, strange) = elements(&mut socket, set)?;
            contents.elements.extend(found);
            contents.strange = contents.strange.saturating_add(strange);
        }
        if netfilter::generation(&mut socket)? == generation {
            return Ok(contents);
        }
    }
    Err(io::ErrorKind::ResourceBusy.into())
}

/// The parts of the table, in order.
fn parts(socket: &mut Socket) -> io::Result<Vec<Part>> {
    let mut request = AttributeWriter::after(&netfilter::header(IPV4, 0));
    request.name(1, NAME);
    let request = request.into_bytes();
    let mut parts = Vec::new();
    for kind in [GET_TABLES, GET_CHAINS, GET_RULES, GET_SETS] {
        let kind = u16::from_be_bytes([NFTABLES, kind]);
        // A list with holes is of no harm: the generation is another one then.
        match socket.ask(kind, NLM_F_DUMP, &request, |answer| parts.extend(Part::read(&answer)))?.accepted() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            result => result?,
        }
    }
    parts.sort();
    Ok(parts)
}

/// Reads the mappings that the kernel's table has, each with its external address; none if there is no table.
pub(super) fn installed_mappings() -> io::Result<Vec<(NatMapping, Ipv4Addr)>> {
    let mut socket = Socket::open(Some(NETFILTER))?;
    let (external, _) = elements(&mut socket, Set::External)?;
    let Some(Element::External(external)) = external.first().copied() else { return Ok(Vec::new()) };
    let mut all = Vec::new();
    for protocol in Protocol::ALL {
        let (found, _) = elements(&mut socket, Set::In(protocol))?;
        all.extend(mappings_of(found).map(|mapping| (mapping, external)));
    }
    Ok(all)
}

/// Reads the mappings of this protocol in one message of a listing of their elements. It passes over what it does not
/// understand.
#[must_use]
pub fn mappings_in_message(protocol: Protocol, body: &[u8]) -> Vec<NatMapping> {
    mappings_of(elements_in(Set::In(protocol), body).0).collect()
}

fn mappings_of(elements: Vec<Element>) -> impl Iterator<Item = NatMapping> {
    elements.into_iter().filter_map(|element| match element {
        Element::In(mapping) => Some(mapping),
        _ => None,
    })
}

/// The elements of a set, none if there is no such set, and how many it has that cannot be ours.
fn elements(socket: &mut Socket, set: Set) -> io::Result<(Vec<Element>, usize)> {
    let mut request = AttributeWriter::after(&netfilter::header(IPV4, 0));
    request.name(1, NAME);
    request.name(2, set.name());
    let kind = u16::from_be_bytes([NFTABLES, GET_ELEMENTS]);
    let request = request.into_bytes();
    for _ in 0..ATTEMPTS {
        let (mut found, mut strange) = (Vec::new(), 0usize);
        let outcome = socket.ask(kind, NLM_F_DUMP, &request, |answer| {
            let (more, unknown) = elements_in(set, answer.body);
            found.extend(more);
            strange = strange.saturating_add(unknown);
        })?;
        match outcome.accepted() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((Vec::new(), 0)),
            Err(error) => return Err(error),
            Ok(()) if outcome == Outcome::Whole => return Ok((found, strange)),
            // Somebody changed the rules meanwhile.
            Ok(()) => {}
        }
    }
    Err(io::ErrorKind::ResourceBusy.into())
}

// linux/netfilter/nf_tables.h
const GET_TABLES: u8 = 1;
const GET_CHAINS: u8 = 4;
const GET_RULES: u8 = 7;
const GET_SETS: u8 = 10;
const GET_ELEMENTS: u8 = 13;
/// What comes ahead of the attributes.
const HEADER: usize = 4;
const ATTEMPTS: usize = 16;
