//! Messages of connection tracking: their values are in the byte order of the network.

use std::net::{Ipv4Addr, SocketAddrV4};

use natpmp_proto::wire::Protocol;

use super::{Ends, Flow};
use natpmp_netlink::{NLM_F_ACK, NLM_F_DUMP, array, attribute, find};

/// Asks for all flows over IPv4, or for those of UDP whose first packet went to this address: kind, flags and body. A kernel
/// before 5.8 tells of all.
pub(super) fn list(first_to: Option<Ipv4Addr>) -> (u16, u16, Vec<u8>) {
    let mut body = GENERIC.to_vec();
    if let Some(address) = first_to {
        let ip = attribute(DESTINATION, &address.octets());
        let protocol = attribute(PROTOCOL_NUMBER, &[number(Protocol::Udp)]);
        let tuple = [attribute(TUPLE_IP | NESTED, &ip), attribute(TUPLE_PROTOCOL | NESTED, &protocol)].concat();
        // These are in the byte order of the machine.
        let filter =
            [attribute(FILTER_ORIGINAL, &WHERE_TO_AND_PROTOCOL.to_ne_bytes()), attribute(FILTER_REPLY, &[0; 4])];
        body.extend(attribute(ORIGINAL | NESTED, &tuple));
        body.extend(attribute(FILTER | NESTED, &filter.concat()));
    }
    (of_conntrack(CT_GET), NLM_F_DUMP, body)
}

/// Asks to remove this flow, and no other that has taken its place.
pub(super) fn delete(flow: &Flow) -> (u16, u16, Vec<u8>) {
    let Ends { from, to } = flow.original;
    let ip = [attribute(SOURCE, &from.ip().octets()), attribute(DESTINATION, &to.ip().octets())].concat();
    let protocol = [
        attribute(PROTOCOL_NUMBER, &[number(flow.protocol)]),
        attribute(SOURCE_PORT, &from.port().to_be_bytes()),
        attribute(DESTINATION_PORT, &to.port().to_be_bytes()),
    ]
    .concat();
    let tuple = [attribute(TUPLE_IP | NESTED, &ip), attribute(TUPLE_PROTOCOL | NESTED, &protocol)].concat();
    let id = attribute(ID, &flow.id.to_be_bytes());
    (of_conntrack(CT_DELETE), NLM_F_ACK, [&GENERIC[..], &attribute(ORIGINAL | NESTED, &tuple), &id].concat())
}

/// The flow that an answer tells of, if it is one of UDP or TCP and is understood.
pub(super) fn flow(body: &[u8]) -> Option<Flow> {
    let (protocol, original, id) = flow_named_in(body)?;
    let body = body.get(GENERIC.len()..)?;
    let (_, reply) = tuple(find(body, REPLY)?)?;
    let status = u32::from_be_bytes(array(find(body, STATUS)?, 0)?);
    Some(Flow { protocol, original, reply, has_answer: status & SEEN_REPLY != 0, id })
}

/// Reads which flow a message names: the protocol, sender and receiver of its first packet, and the kernel's number for it.
#[must_use]
pub fn flow_named_in(body: &[u8]) -> Option<(Protocol, Ends, u32)> {
    let attributes = body.get(GENERIC.len()..)?;
    let (protocol, original) = tuple(find(attributes, ORIGINAL)?)?;
    Some((protocol, original, u32::from_be_bytes(array(find(attributes, ID)?, 0)?)))
}

fn tuple(body: &[u8]) -> Option<(Protocol, Ends)> {
    let (ip, protocol) = (find(body, TUPLE_IP)?, find(body, TUPLE_PROTOCOL)?);
    let end = |address, port| {
        let address = Ipv4Addr::from(array::<4>(find(ip, address)?, 0)?);
        Some(SocketAddrV4::new(address, u16::from_be_bytes(array(find(protocol, port)?, 0)?)))
    };
    let number_of = find(protocol, PROTOCOL_NUMBER)?.first()?;
    let of = [Protocol::Udp, Protocol::Tcp].into_iter().find(|of| number(*of) == *number_of)?;
    Some((of, Ends { from: end(SOURCE, SOURCE_PORT)?, to: end(DESTINATION, DESTINATION_PORT)? }))
}

const fn of_conntrack(kind: u16) -> u16 {
    CONNTRACK << 8 | kind
}

const fn number(protocol: Protocol) -> u8 {
    match protocol {
        Protocol::Udp => 17,
        Protocol::Tcp => 6,
    }
}

/// Ahead of the attributes: about IPv4.
const GENERIC: [u8; 4] = [2, 0, 0, 0];

// linux/netfilter/nfnetlink.h and nfnetlink_conntrack.h
const CONNTRACK: u16 = 1;
const CT_GET: u16 = 1;
const CT_DELETE: u16 = 2;
const ORIGINAL: u16 = 1;
const REPLY: u16 = 2;
const STATUS: u16 = 3;
const ID: u16 = 12;
const TUPLE_IP: u16 = 1;
const TUPLE_PROTOCOL: u16 = 2;
const SOURCE: u16 = 1;
const DESTINATION: u16 = 2;
const PROTOCOL_NUMBER: u16 = 1;
const SOURCE_PORT: u16 = 2;
const DESTINATION_PORT: u16 = 3;
const FILTER: u16 = 25;
const FILTER_ORIGINAL: u16 = 1;
const FILTER_REPLY: u16 = 2;
const WHERE_TO_AND_PROTOCOL: u32 = 2 | 8;
const NESTED: u16 = 0x8000;
/// Of the status.
const SEEN_REPLY: u32 = 2;

#[cfg(test)]
mod tests;
