//! Connection tracking, over netlink: lists the flows that the kernel knows, and removes some.
//!
//! Values inside these messages are in the byte order of the network.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};

use natpmp_proto::gateway::NatMapping;
use natpmp_proto::wire::Protocol;
use rustix::net::netlink::NETFILTER;

use natpmp_netlink::{NLM_F_DUMP, Socket, array, attribute, find};

/// A flow in the kernel's connection tracking: the addresses of its first packet, and those of the answers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Flow {
    /// The transport protocol.
    pub protocol: Protocol,
    /// Sender and receiver of the first packet.
    pub original: Ends,
    /// Sender and receiver of the answers.
    pub reply: Ends,
    /// Whether the kernel has seen an answer.
    pub has_answer: bool,
    /// Whether it is a TCP connection that both sides have closed, or one has reset.
    pub is_closed: bool,
    /// The kernel's number for this flow. A later flow between the same addresses has another one, unless it was begun where a
    /// closed one had been: the kernel may use its memory again.
    pub id: u32,
}

/// Sender and receiver of one direction of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ends {
    /// The sender.
    pub from: SocketAddrV4,
    /// The receiver.
    pub to: SocketAddrV4,
}

/// A netlink socket to connection tracking, of the network namespace that it was opened in.
#[derive(Debug)]
pub(super) struct Conntrack {
    socket: Socket,
}

impl Flow {
    /// Reads a flow from a message of connection tracking; `None` unless it is one of UDP or TCP over IPv4, and whole.
    #[must_use]
    pub fn from_message(body: &[u8]) -> Option<Self> {
        let (protocol, original, id) = flow_named_in(body)?;
        let body = body.get(GENERIC.len()..)?;
        let (_, reply) = tuple(find(body, REPLY)?)?;
        let status = u32::from_be_bytes(array(find(body, STATUS)?, 0)?);
        let state =
            find(body, PROTOCOL_INFO).and_then(|info| find(info, INFO_TCP)).and_then(|tcp| find(tcp, TCP_STATE));
        let is_closed = state.and_then(<[u8]>::first).is_some_and(|state| [TCP_TIME_WAIT, TCP_CLOSE].contains(state));
        Some(Self { protocol, original, reply, has_answer: status & SEEN_REPLY != 0, is_closed, id })
    }

    /// The body of the message that removes this flow, and no later one between the same addresses.
    #[must_use]
    pub fn removal(&self) -> Vec<u8> {
        let Ends { from, to } = self.original;
        let ip = [attribute(SOURCE, &from.ip().octets()), attribute(DESTINATION, &to.ip().octets())].concat();
        let protocol = [
            attribute(PROTOCOL_NUMBER, &[number(self.protocol)]),
            attribute(SOURCE_PORT, &from.port().to_be_bytes()),
            attribute(DESTINATION_PORT, &to.port().to_be_bytes()),
        ]
        .concat();
        let tuple = [attribute(TUPLE_IP | NESTED, &ip), attribute(TUPLE_PROTOCOL | NESTED, &protocol)].concat();
        [&GENERIC[..], &attribute(ORIGINAL | NESTED, &tuple), &attribute(ID, &self.id.to_be_bytes())].concat()
    }

    /// The mapping through which a peer may have begun this flow, with its external address.
    pub(super) fn inward_mapping(&self) -> (NatMapping, Ipv4Addr) {
        self.mapping(self.reply.from, self.original.to)
    }

    /// The mapping through which a client may have begun this flow, with its external address. A flow between two clients may
    /// belong to one of each kind.
    pub(super) fn outward_mapping(&self) -> (NatMapping, Ipv4Addr) {
        self.mapping(self.original.from, self.reply.to)
    }

    fn mapping(&self, internal: SocketAddrV4, external: SocketAddrV4) -> (NatMapping, Ipv4Addr) {
        (NatMapping { protocol: self.protocol, internal, external_port: external.port() }, *external.ip())
    }

    /// Whether the first packet of this flow of UDP came for the box itself, which never answered. While its packets keep
    /// coming, the kernel does not consult a mapping that was made since.
    pub(super) fn is_unanswered_by_the_box(&self) -> bool {
        self.protocol == Protocol::Udp && self.reply.from == self.original.to && !self.has_answer
    }
}

/// Which flows are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FlowFilter {
    /// Those whose first packet came from here.
    From(Protocol, SocketAddrV4),
    /// Those whose first packet went there.
    To(Protocol, SocketAddrV4),
}

impl FlowFilter {
    #[cfg(test)]
    pub(super) fn lets_through(&self, flow: &Flow) -> bool {
        match *self {
            Self::From(protocol, from) => (flow.protocol, flow.original.from) == (protocol, from),
            Self::To(protocol, to) => (flow.protocol, flow.original.to) == (protocol, to),
        }
    }
}

impl Conntrack {
    pub(super) fn open() -> io::Result<Self> {
        Ok(Self { socket: Socket::open(Some(NETFILTER))? })
    }

    /// Lists the flows of UDP and TCP over IPv4, those that the filter lets through if there is one. Kernels before 5.8 list
    /// all.
    pub(super) fn flows(&mut self, only: Option<FlowFilter>) -> io::Result<Vec<Flow>> {
        let (kind, flags, body) = list_request(only);
        let mut flows = Vec::new();
        self.socket.ask(kind, flags, &body, |answer| flows.extend(Flow::from_message(answer.body)))?.accepted()?;
        Ok(flows)
    }

    /// Removes flows; those that have ended by themselves count as removed.
    pub(super) fn delete(&mut self, flows: &[Flow]) -> io::Result<()> {
        let mut result = Ok(());
        for some in flows.chunks(DELETED_AT_ONCE) {
            self.socket.ask_all(of_conntrack(CT_DELETE), some.iter().map(Flow::removal), |error| {
                let error = io::Error::from_raw_os_error(error);
                if error.kind() != io::ErrorKind::NotFound {
                    result = Err(error);
                }
            })?;
        }
        result
    }
}

/// The request for all flows over IPv4, or for those that a filter lets through: kind, flags and body.
fn list_request(only: Option<FlowFilter>) -> (u16, u16, Vec<u8>) {
    let mut body = GENERIC.to_vec();
    if let Some(filter) = only {
        let (protocol, address_kind, port_kind, end, compared) = match filter {
            FlowFilter::From(protocol, end) => (protocol, SOURCE, SOURCE_PORT, end, COMPARE_SOURCE),
            FlowFilter::To(protocol, end) => (protocol, DESTINATION, DESTINATION_PORT, end, COMPARE_DESTINATION),
        };
        let ip = attribute(address_kind, &end.ip().octets());
        let ports = [attribute(PROTOCOL_NUMBER, &[number(protocol)]), attribute(port_kind, &end.port().to_be_bytes())];
        let tuple = [attribute(TUPLE_IP | NESTED, &ip), attribute(TUPLE_PROTOCOL | NESTED, &ports.concat())].concat();
        // Unlike the rest, the filter is in the byte order of the machine.
        let filter = [attribute(FILTER_ORIGINAL, &compared.to_ne_bytes()), attribute(FILTER_REPLY, &[0; 4])];
        body.extend(attribute(ORIGINAL | NESTED, &tuple));
        body.extend(attribute(FILTER | NESTED, &filter.concat()));
    }
    (of_conntrack(CT_GET), NLM_F_DUMP, body)
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

/// The header ahead of the attributes: IPv4.
const GENERIC: [u8; 4] = [2, 0, 0, 0];

// linux/netfilter/nfnetlink.h and nfnetlink_conntrack.h
const CONNTRACK: u16 = 1;
const CT_GET: u16 = 1;
const CT_DELETE: u16 = 2;
const ORIGINAL: u16 = 1;
const REPLY: u16 = 2;
const STATUS: u16 = 3;
const PROTOCOL_INFO: u16 = 4;
const INFO_TCP: u16 = 1;
const TCP_STATE: u16 = 1;
const TCP_TIME_WAIT: u8 = 7;
const TCP_CLOSE: u8 = 8;
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
/// Address, protocol and port.
const COMPARE_SOURCE: u32 = 1 | 8 | 16;
const COMPARE_DESTINATION: u32 = 2 | 8 | 32;
const NESTED: u16 = 0x8000;
/// The kernel answers each that it refuses, and has room for some hundreds of answers.
const DELETED_AT_ONCE: usize = 128;
/// A bit of the status.
const SEEN_REPLY: u32 = 2;

#[cfg(test)]
#[allow(clippy::cast_possible_truncation, reason = "small numbers")]
mod tests {
    use super::*;

    /// TCP from 11.22.33.1:7000 to 11.22.33.44:5000, which leads to 192.168.1.11:4000.
    #[test]
    fn a_flow_is_understood_and_named_in_its_removal() {
        let ends = |from: (Ipv4Addr, u16), to: (Ipv4Addr, u16)| Ends {
            from: SocketAddrV4::new(from.0, from.1),
            to: SocketAddrV4::new(to.0, to.1),
        };
        let expected = Flow {
            protocol: Protocol::Tcp,
            original: ends((PEER, 7000), (EXTERNAL, 5000)),
            reply: ends((CLIENT, 4000), (PEER, 7000)),
            has_answer: true,
            is_closed: false,
            id: 0x0102_0304,
        };
        let found = Flow::from_message(&body()).unwrap();
        assert_eq!(found, expected);

        let removal = found.removal();
        assert_eq!(removal[..56], body()[..56], "the same tuple");
        assert_eq!(&removal[56..], attribute(12, &0x0102_0304u32.to_be_bytes()), "and the same flow");
    }

    #[test]
    fn a_connection_that_was_closed_or_reset_is_seen_to_be_over() {
        for (state, is_closed) in [(1, false), (3, false), (6, false), (7, true), (8, true)] {
            let info = attribute(4 | NESTED, &attribute(1 | NESTED, &attribute(1, &[state])));
            let flow = Flow::from_message(&[body(), info].concat()).unwrap();
            assert_eq!(flow.is_closed, is_closed, "{state}");
        }
    }

    #[test]
    fn other_protocols_are_passed_over() {
        assert_eq!(Flow::from_message(&body_of(1)), None);
        assert_eq!(Flow::from_message(&[2, 0, 0, 0]), None);
        assert_eq!(Flow::from_message(&[]), None);
    }

    #[test]
    fn a_flow_that_is_cut_off_or_damaged_does_no_harm() {
        let bytes = body();
        for end in 0..bytes.len() {
            assert_eq!(Flow::from_message(&bytes[..end]), None);
        }
        for place in 0..bytes.len() {
            for value in 0..=u8::MAX {
                let mut damaged = bytes.clone();
                damaged[place] = value;
                let _ = Flow::from_message(&damaged);
            }
        }
    }

    fn body() -> Vec<u8> {
        body_of(6)
    }

    fn body_of(protocol: u8) -> Vec<u8> {
        let tuple = |kind, from: (Ipv4Addr, u16), to: (Ipv4Addr, u16)| {
            let ip = [attribute(1, &from.0.octets()), attribute(2, &to.0.octets())].concat();
            let ports =
                [attribute(1, &[protocol]), attribute(2, &from.1.to_be_bytes()), attribute(3, &to.1.to_be_bytes())];
            attribute(kind | NESTED, &[attribute(1 | NESTED, &ip), attribute(2 | NESTED, &ports.concat())].concat())
        };
        [
            vec![2, 0, 0, 0],
            tuple(1, (PEER, 7000), (EXTERNAL, 5000)),
            tuple(2, (CLIENT, 4000), (PEER, 7000)),
            attribute(3, &0x1aeu32.to_be_bytes()),
            attribute(7, &[0, 0, 0, 9]),
            attribute(12, &0x0102_0304u32.to_be_bytes()),
        ]
        .concat()
    }

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let mut bytes = [(4 + value.len() as u16).to_ne_bytes(), kind.to_ne_bytes()].concat();
        bytes.extend(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    const EXTERNAL: Ipv4Addr = Ipv4Addr::new(11, 22, 33, 44);
    const CLIENT: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 11);
    const PEER: Ipv4Addr = Ipv4Addr::new(11, 22, 33, 1);
}
