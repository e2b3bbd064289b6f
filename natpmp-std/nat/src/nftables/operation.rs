//! What a transaction may do to the table, and how the elements of its sets are encoded.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddrV4};

use natpmp_netlink::netfilter::{IPV4, NFTABLES};
use natpmp_netlink::{AttributeWriter, Attributes, Batch, NLM_F_CREATE, array, find};
use natpmp_proto::gateway::NatMapping;

use super::expression::DATA_VALUE;
use super::schema::{self, InterfaceName, NAME, Set, Table};

/// One step of a transaction.
#[derive(Clone, Debug)]
pub(super) enum Operation {
    /// Puts this table, with no mapping, in place of the one that may be there.
    ReplaceTable(Table),
    /// Removes the table, if it is there.
    DeleteTable,
    Add(Element),
    Delete(Element),
}

/// An element of a set of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Element {
    External(Ipv4Addr),
    Internal(InterfaceName),
    In(NatMapping),
    Out(NatMapping, Ipv4Addr),
    Open(NatMapping),
    EndedIn(u16),
    EndedOut(SocketAddrV4),
}

/// The operations as one transaction. What follows each other in one set shares a message.
pub(super) fn batch(operations: &[Operation]) -> Batch {
    let mut batch = Batch::new(NFTABLES);
    let mut rest = operations;
    while let Some((first, others)) = rest.split_first() {
        let kind = match first {
            Operation::ReplaceTable(table) => {
                table.replace(&mut batch);
                add_fixed_elements(table, &mut batch);
                None
            }
            Operation::DeleteTable => {
                schema::delete(&mut batch);
                None
            }
            Operation::Add(element) => Some((true, element.set())),
            Operation::Delete(element) => Some((false, element.set())),
        };
        let Some((is_added, set)) = kind else {
            rest = others;
            continue;
        };
        let is_alike = |operation: &&Operation| match operation {
            Operation::Add(element) => is_added && element.set() == set,
            Operation::Delete(element) => !is_added && element.set() == set,
            _ => false,
        };
        let count = rest.iter().take(MOST_IN_A_MESSAGE).take_while(is_alike).count();
        let (alike, others) = rest.split_at(count);
        let elements = alike.iter().filter_map(|operation| match operation {
            Operation::Add(element) | Operation::Delete(element) => Some(element),
            _ => None,
        });
        push_elements(&mut batch, is_added, set, elements);
        rest = others;
    }
    batch
}

fn add_fixed_elements(table: &Table, batch: &mut Batch) {
    let internal: Vec<_> = table.internal().iter().map(|name| Element::Internal(*name)).collect();
    push_elements(batch, true, Set::Internal, internal.iter());
    if let Some(external) = table.external() {
        push_elements(batch, true, Set::External, std::iter::once(&Element::External(external)));
    }
}

fn push_elements<'a>(batch: &mut Batch, is_added: bool, set: Set, elements: impl Iterator<Item = &'a Element>) {
    let (kind, flags) = if is_added { (NEW_ELEMENT, NLM_F_CREATE) } else { (DELETE_ELEMENT, 0) };
    batch.push(kind, flags, IPV4, |message| {
        message.name(1, NAME);
        message.name(2, set.name());
        message.nested(LIST_ELEMENTS, |list| elements.for_each(|each| each.write(list, is_added)));
    });
}

impl Element {
    /// A mapping in each of the forms in which the table has it.
    pub(super) const fn of_mapping(mapping: NatMapping, external: Ipv4Addr) -> [Self; 3] {
        [Self::In(mapping), Self::Out(mapping, external), Self::Open(mapping)]
    }

    /// Reads an element of this set; `None` if none of ours can be like that.
    pub(super) fn read(set: Set, element: &[u8]) -> Option<Self> {
        let key = find(find(element, ELEMENT_KEY)?, DATA_VALUE)?;
        let data = find(element, ELEMENT_DATA).and_then(|data| find(data, DATA_VALUE)).unwrap_or_default();
        let mapping = |protocol, internal, external_port| NatMapping { protocol, internal, external_port };
        let found = match set {
            Set::External => Self::External(array::<4>(key, 0)?.into()),
            Set::Internal => Self::Internal(array(key, 0)?),
            Set::In(protocol) => Self::In(mapping(protocol, endpoint(data, 0)?, port(key, 0)?)),
            Set::Out(protocol) => {
                let (internal, external, last) = (endpoint(key, 0)?, endpoint(data, 0)?, port(data, 12)?);
                let external_port = first_tried(internal.port(), external.port(), last)?;
                Self::Out(mapping(protocol, internal, external_port), *external.ip())
            }
            Set::Open(protocol) => {
                let internal = SocketAddrV4::new(array::<4>(key, 4)?.into(), port(key, 0)?);
                Self::Open(mapping(protocol, internal, port(key, 8)?))
            }
            Set::EndedIn => Self::EndedIn(port(key, 0)?),
            Set::EndedOut => Self::EndedOut(endpoint(key, 0)?),
        };
        // Also what was filled up.
        (found.key() == key && found.data().unwrap_or_default() == data).then_some(found)
    }

    const fn set(&self) -> Set {
        match self {
            Self::External(_) => Set::External,
            Self::Internal(_) => Set::Internal,
            Self::In(mapping) => Set::In(mapping.protocol),
            Self::Out(mapping, _) => Set::Out(mapping.protocol),
            Self::Open(mapping) => Set::Open(mapping.protocol),
            Self::EndedIn(_) => Set::EndedIn,
            Self::EndedOut(_) => Set::EndedOut,
        }
    }

    fn write(&self, list: &mut AttributeWriter, is_added: bool) {
        list.nested(LIST_ELEMENT, |element| {
            element.nested(ELEMENT_KEY, |key| key.bytes(DATA_VALUE, &self.key()));
            if let Some(data) = self.data().filter(|_| is_added) {
                element.nested(ELEMENT_DATA, |value| value.bytes(DATA_VALUE, &data));
            }
            if is_added && matches!(self, Self::EndedIn(_) | Self::EndedOut(_)) {
                element.bytes(ELEMENT_TIMEOUT, &RESET_MILLISECONDS.to_be_bytes());
            }
        });
    }

    /// The key, whose parts are filled up to four bytes each.
    fn key(&self) -> Vec<u8> {
        match self {
            Self::External(address) => address.octets().to_vec(),
            Self::Internal(name) => name.to_vec(),
            Self::In(mapping) => mapping.external_port.to_be_bytes().to_vec(),
            Self::Out(mapping, _) => endpoint_bytes(mapping.internal).to_vec(),
            Self::Open(NatMapping { internal, external_port, .. }) => {
                [port_bytes(internal.port()), internal.ip().octets(), port_bytes(*external_port)].concat()
            }
            Self::EndedIn(port) => port.to_be_bytes().to_vec(),
            Self::EndedOut(client) => endpoint_bytes(*client).to_vec(),
        }
    }

    /// What a key of a map leads to.
    fn data(&self) -> Option<Vec<u8>> {
        match self {
            Self::In(mapping) => Some(endpoint_bytes(mapping.internal).to_vec()),
            Self::Out(mapping, external) => {
                let (first, last) = ports_to_leave_from(mapping.internal.port(), mapping.external_port);
                let bound = |port| endpoint_bytes(SocketAddrV4::new(*external, port));
                Some([bound(first), bound(last)].concat())
            }
            _ => None,
        }
    }
}

/// The range of ports to which the client's port is translated. The kernel tries them from the one on that lies as far behind
/// the first as the client's port, divided by their number, leaves over: that is the external port.
fn ports_to_leave_from(internal: u16, external: u16) -> (u16, u16) {
    let (internal, external) = (u32::from(internal), u32::from(external));
    let above = PORTS.saturating_sub(external);
    // nft lists a range of one port in a form that it cannot load again, so port 1 takes more than itself where that can be.
    let (first, count) = if internal < external && (internal > above || internal == 1) {
        // More than the client's port, which is left over.
        (external.saturating_sub(internal), above.saturating_add(internal))
    } else if internal <= above {
        // As many as the client's port: nothing is left over, and the external port is the first.
        (external, internal)
    } else {
        // More than half of the client's port, and so many that the last is the last there is.
        let count = above.saturating_add(internal) / 2;
        (external.saturating_add(count).saturating_sub(internal), count)
    };
    let last = first.saturating_add(count).saturating_sub(1).max(first);
    (u16::try_from(first).unwrap_or(u16::MAX), u16::try_from(last).unwrap_or(u16::MAX))
}

/// The port that the kernel tries first in such a range.
fn first_tried(internal: u16, first: u16, last: u16) -> Option<u16> {
    let count = u32::from(last).checked_sub(u32::from(first))?.saturating_add(1);
    let offset = u32::from(internal).checked_rem(count)?;
    u16::try_from(u32::from(first).saturating_add(offset)).ok()
}

const fn port_bytes(port: u16) -> [u8; 4] {
    let [high, low] = port.to_be_bytes();
    [high, low, 0, 0]
}

fn endpoint_bytes(endpoint: SocketAddrV4) -> [u8; 8] {
    let ([a, b, c, d], [high, low]) = (endpoint.ip().octets(), endpoint.port().to_be_bytes());
    [a, b, c, d, high, low, 0, 0]
}

fn port(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(array(bytes, at)?))
}

fn endpoint(bytes: &[u8], at: usize) -> Option<SocketAddrV4> {
    Some(SocketAddrV4::new(array::<4>(bytes, at)?.into(), port(bytes, at.checked_add(4)?)?))
}

/// The elements in the body of a message, and how many of them cannot be ours.
pub(super) fn elements_in(set: Set, body: &[u8]) -> (Vec<Element>, usize) {
    let list = body.get(4..).and_then(|attributes| find(attributes, LIST_ELEMENTS)).unwrap_or_default();
    let (mut found, mut strange) = (Vec::new(), 0usize);
    for (_, element) in Attributes::new(list) {
        match Element::read(set, element) {
            Some(element) => found.push(element),
            None => strange = strange.saturating_add(1),
        }
    }
    (found, strange)
}

/// As `nft` would say it, for the log.
impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ReplaceTable(table) => match table.external() {
                Some(external) => write!(f, "replace table ip natpmp {{ external {external} }}"),
                None => write!(f, "replace table ip natpmp {{ }}"),
            },
            Self::DeleteTable => write!(f, "delete table ip natpmp"),
            Self::Add(element) => write!(f, "add element ip natpmp {} {{ {element} }}", element.set().name()),
            Self::Delete(element) => write!(f, "delete element ip natpmp {} {{ {element} }}", element.set().name()),
        }
    }
}

impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::External(address) => write!(f, "{address}"),
            Self::Internal(name) => write!(f, "{:?}", String::from_utf8_lossy(name).trim_end_matches('\0')),
            Self::In(NatMapping { internal, external_port, .. }) => {
                write!(f, "{external_port} : {} . {}", internal.ip(), internal.port())
            }
            Self::Out(NatMapping { internal, external_port, .. }, external) => {
                write!(f, "{} . {} : {external} . {external_port}", internal.ip(), internal.port())
            }
            Self::Open(NatMapping { internal, external_port, .. }) => {
                write!(f, "{} . {} . {external_port}", internal.port(), internal.ip())
            }
            Self::EndedIn(port) => write!(f, "{port}"),
            Self::EndedOut(client) => write!(f, "{} . {}", client.ip(), client.port()),
        }
    }
}

// linux/netfilter/nf_tables.h
const NEW_ELEMENT: u8 = 12;
const DELETE_ELEMENT: u8 = 14;
const LIST_ELEMENTS: u16 = 3;
const LIST_ELEMENT: u16 = 1;
const ELEMENT_KEY: u16 = 1;
const ELEMENT_DATA: u16 = 2;
const ELEMENT_TIMEOUT: u16 = 4;
const PORTS: u32 = 1 << 16;
/// As long as a NAT is to remember a TCP connection that says nothing (RFC 5382, REQ-5).
const RESET_MILLISECONDS: u64 = 124 * 60 * 1_000;
/// An attribute, as their list is one, has 64 KiB at most.
const MOST_IN_A_MESSAGE: usize = 500;

#[cfg(test)]
mod tests {
    use natpmp_proto::wire::Protocol;

    use super::*;

    #[test]
    fn the_external_port_is_the_first_that_is_tried_of_ports_that_there_are() {
        let interesting = [1, 2, 3, 79, 80, 1023, 1024, 3074, 5060, 32_767, 32_768, 32_769, 51_820, 65_534, 65_535];
        for internal in interesting {
            for external in interesting {
                let (first, last) = ports_to_leave_from(internal, external);
                assert!(first >= 1 && first <= external && external <= last, "{internal} {external}: {first}-{last}");
                assert_eq!(first_tried(internal, first, last), Some(external), "{internal} {external}");
                if internal >= 1024 && external < 60_000 {
                    assert!(last - first >= 511, "there is something to fall back to");
                }
                // A range of one port cannot be loaded from nft's listing; only 1 on 1 leaves no other choice.
                assert!(first < last || (internal, external) == (1, 1), "{internal} {external}: {first}");
                if internal > 1 && u32::from(internal) + u32::from(external) <= 65_536 {
                    assert_eq!(first, external, "nothing below it is taken");
                }
            }
        }
    }

    #[test]
    fn elements_are_read_as_they_were_written() {
        let internal = SocketAddrV4::new([192, 168, 1, 11].into(), 4000);
        let mapping = NatMapping { protocol: Protocol::Udp, internal, external_port: 5000 };
        let mut name = InterfaceName::default();
        name[..4].copy_from_slice(b"lan0");
        let [inward, outward, open] = Element::of_mapping(mapping, [11, 22, 33, 44].into());
        let others = [Element::External([11, 22, 33, 44].into()), Element::Internal(name), Element::EndedIn(5000)];
        for element in [&[inward, outward, open, Element::EndedOut(internal)][..], &others].concat() {
            let mut list = AttributeWriter::default();
            element.write(&mut list, true);
            let bytes = list.into_bytes();
            let (_, content) = Attributes::new(&bytes).next().unwrap();
            assert_eq!(Element::read(element.set(), content), Some(element));
            for end in 0..content.len() {
                let _ = Element::read(element.set(), &content[..end]);
            }
        }
    }

    #[test]
    fn what_is_alike_shares_a_message_and_a_message_is_bounded() {
        let internal = SocketAddrV4::new([192, 168, 1, 11].into(), 4000);
        let mapping = |port| NatMapping { protocol: Protocol::Tcp, internal, external_port: port };
        let adds: Vec<_> = (1..=1_001).map(|port| Operation::Add(Element::In(mapping(port)))).collect();
        assert_eq!(batch(&adds).len(), 3);
        let mixed = [
            Operation::Delete(Element::In(mapping(1))),
            Operation::Add(Element::In(mapping(1))),
            Operation::Add(Element::In(mapping(2))),
            Operation::Add(Element::Open(mapping(1))),
        ];
        assert_eq!(batch(&mixed).len(), 3);
    }
}
