//! Messages of netlink: headers in the byte order of the machine, values in that of the network.

use std::net::{Ipv4Addr, SocketAddrV4};

use natpmp_proto::wire::Protocol;

use super::{Ends, Flow};

/// Asks for all flows over IPv4.
pub(super) fn list(sequence: u32) -> Vec<u8> {
    request(CT_GET, NLM_F_REQUEST | NLM_F_DUMP, sequence, &[])
}

/// Asks to remove this flow, and no other that has taken its place.
pub(super) fn delete(sequence: u32, flow: &Flow) -> Vec<u8> {
    let Ends { from, to } = flow.original;
    let ip = [attribute(SOURCE, &from.ip().octets()), attribute(DESTINATION, &to.ip().octets())].concat();
    let protocol = [
        attribute(PROTOCOL_NUMBER, &[number(flow.protocol)]),
        attribute(SOURCE_PORT, &from.port().to_be_bytes()),
        attribute(DESTINATION_PORT, &to.port().to_be_bytes()),
    ]
    .concat();
    let tuple = [attribute(TUPLE_IP | NESTED, &ip), attribute(TUPLE_PROTOCOL | NESTED, &protocol)].concat();
    let body = [attribute(ORIGINAL | NESTED, &tuple), attribute(ID, &flow.id.to_be_bytes())].concat();
    request(CT_DELETE, NLM_F_REQUEST | NLM_F_ACK, sequence, &body)
}

/// What a message of the kernel says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Flow(Flow),
    /// Not about UDP or TCP, or not understood.
    Other,
    /// The last one, with an error or 0.
    Done(i32),
}

/// The messages of one read, those that answer one request.
#[derive(Debug)]
pub(super) struct Answers<'a> {
    rest: &'a [u8],
    sequence: u32,
}

impl<'a> Answers<'a> {
    pub(super) fn new(bytes: &'a [u8], sequence: u32) -> Self {
        Self { rest: bytes, sequence }
    }
}

impl Iterator for Answers<'_> {
    type Item = Answer;

    fn next(&mut self) -> Option<Answer> {
        loop {
            let header = self.rest.get(..HEADER)?;
            let length = usize::try_from(u32::from_ne_bytes(array(header, 0)?)).ok()?;
            let body = self.rest.get(HEADER..length)?;
            let (kind, sequence) = (u16::from_ne_bytes(array(header, 4)?), u32::from_ne_bytes(array(header, 8)?));
            self.rest = self.rest.get(length.next_multiple_of(ALIGNMENT)..).unwrap_or_default();
            if sequence == self.sequence {
                return Some(answer(kind, body));
            }
        }
    }
}

fn answer(kind: u16, body: &[u8]) -> Answer {
    match kind {
        NLMSG_ERROR | NLMSG_DONE => {
            let error = array(body, 0).map_or(0, i32::from_ne_bytes);
            Answer::Done(error.saturating_neg())
        }
        _ => body.get(GENERIC_HEADER..).and_then(flow).map_or(Answer::Other, Answer::Flow),
    }
}

fn flow(body: &[u8]) -> Option<Flow> {
    let (protocol, original) = tuple(find(body, ORIGINAL)?)?;
    let (_, reply) = tuple(find(body, REPLY)?)?;
    let status = u32::from_be_bytes(array(find(body, STATUS)?, 0)?);
    let id = u32::from_be_bytes(array(find(body, ID)?, 0)?);
    Some(Flow { protocol, original, reply, has_answer: status & SEEN_REPLY != 0, id })
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

/// The value of the first attribute of this kind.
fn find(mut attributes: &[u8], kind: u16) -> Option<&[u8]> {
    loop {
        let length = usize::from(u16::from_ne_bytes(array(attributes, 0)?));
        let value = attributes.get(ATTRIBUTE_HEADER..length)?;
        if u16::from_ne_bytes(array(attributes, 2)?) & !FLAGS == kind {
            return Some(value);
        }
        attributes = attributes.get(length.next_multiple_of(ALIGNMENT)..)?;
    }
}

fn request(kind: u16, flags: u16, sequence: u32, body: &[u8]) -> Vec<u8> {
    let length = HEADER.saturating_add(GENERIC_HEADER).saturating_add(body.len());
    let mut message = Vec::with_capacity(length);
    message.extend(u32::try_from(length).unwrap_or(u32::MAX).to_ne_bytes());
    message.extend((CONNTRACK << 8 | kind).to_ne_bytes());
    message.extend(flags.to_ne_bytes());
    message.extend(sequence.to_ne_bytes());
    // The kernel gives the sender its port.
    message.extend(0u32.to_ne_bytes());
    message.extend([AF_INET, 0, 0, 0]);
    message.extend(body);
    message
}

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = ATTRIBUTE_HEADER.saturating_add(value.len());
    let mut attribute = Vec::with_capacity(length.next_multiple_of(ALIGNMENT));
    attribute.extend(u16::try_from(length).unwrap_or(u16::MAX).to_ne_bytes());
    attribute.extend(kind.to_ne_bytes());
    attribute.extend(value);
    attribute.resize(length.next_multiple_of(ALIGNMENT), 0);
    attribute
}

fn array<const N: usize>(bytes: &[u8], from: usize) -> Option<[u8; N]> {
    bytes.get(from..)?.first_chunk().copied()
}

const fn number(protocol: Protocol) -> u8 {
    match protocol {
        Protocol::Udp => 17,
        Protocol::Tcp => 6,
    }
}

const HEADER: usize = 16;
const GENERIC_HEADER: usize = 4;
const ATTRIBUTE_HEADER: usize = 4;
const ALIGNMENT: usize = 4;

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_REQUEST: u16 = 0x1;
const NLM_F_ACK: u16 = 0x4;
const NLM_F_DUMP: u16 = 0x300;
const AF_INET: u8 = 2;

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
const NESTED: u16 = 0x8000;
/// Nested, and in the byte order of the network.
const FLAGS: u16 = 0xc000;
/// Of the status.
const SEEN_REPLY: u32 = 2;

#[cfg(test)]
mod tests;
