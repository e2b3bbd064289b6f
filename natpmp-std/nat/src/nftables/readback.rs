//! Reads the own table back from the kernel.

use std::io;
use std::net::Ipv4Addr;

use natpmp_netlink::netfilter::{self, IPV4, NFTABLES};
use natpmp_netlink::{AttributeWriter, NLM_F_DUMP, Outcome, Socket};
use natpmp_proto::gateway::NatMapping;
use natpmp_proto::wire::Protocol;
use rustix::net::netlink::NETFILTER;

use super::operation::{Element, elements_in};
use super::schema::{NAME, Set};

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
const GET_ELEMENTS: u8 = 13;
const ATTEMPTS: usize = 16;
