//! The table: its sets, its chains, and the rules that make packets follow the mappings.
//!
//! However many mappings there are, the rules stay the same: what changes are the elements of the sets. This is what
//! `nft list table ip natpmp` says of it:
//! ```text
#![doc = include_str!("table.nft")]
//! ```
//! `random` is not all of it: the kernel first tries the port that lies so far behind the lower one as the sender's port says
//! (`NF_NAT_RANGE_PROTO_OFFSET`, for which `nft` has no word), and goes on from there. That is the external port of the mapping,
//! wherever it is free.

use std::io;
use std::net::Ipv4Addr;

use natpmp_netlink::netfilter::IPV4;
use natpmp_netlink::{AttributeWriter, Batch, NLM_F_APPEND, NLM_F_CREATE, NLM_F_ECHO};
use natpmp_proto::wire::Protocol;

use super::expression::{Conntrack, Expression, FIRST, Field, Meta, SECOND, THIRD};

/// The table with no mapping in it.
#[derive(Clone, Debug)]
pub(super) struct Table {
    interfaces: Interfaces,
    external: Option<Ipv4Addr>,
}

/// The interfaces between which the NAT translates.
#[derive(Clone, Debug)]
pub(super) struct Interfaces {
    /// Without one, all that are not internal lead to the internet.
    external: Option<InterfaceName>,
    internal: Vec<InterfaceName>,
}

/// The name of an interface, filled up with zeros as the kernel has it.
pub(super) type InterfaceName = [u8; 16];

/// A set or map of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Set {
    /// The external address, while there is one.
    External,
    /// The names of the internal interfaces.
    Internal,
    /// From the external port to the client: address and port.
    In(Protocol),
    /// From the client to the external address, twice, and the ports that it may leave from.
    Out(Protocol),
    /// Port and address of the client, and the external port.
    Open(Protocol),
    /// External TCP ports whose connections have ended, for a time.
    EndedIn,
    /// TCP endpoints of clients whose connections have ended, for a time.
    EndedOut,
}

impl Table {
    pub(super) fn new(interfaces: &Interfaces, external: Option<Ipv4Addr>) -> Self {
        Self { interfaces: interfaces.clone(), external }
    }

    pub(super) const fn external(&self) -> Option<Ipv4Addr> {
        self.external
    }

    pub(super) fn internal(&self) -> &[InterfaceName] {
        &self.interfaces.internal
    }

    /// Adds the messages that put it in place of the one that may be there.
    pub(super) fn replace(&self, batch: &mut Batch) {
        delete(batch);
        batch.push(NEW_TABLE, NLM_F_CREATE | NLM_F_ECHO, IPV4, |table| table.name(1, NAME));
        for (set, number) in Set::ALL.into_iter().zip(1..) {
            batch.push(NEW_SET, NLM_F_CREATE | NLM_F_ECHO, IPV4, |message| set.write(number, message));
        }
        for chain in &CHAINS {
            batch.push(NEW_CHAIN, NLM_F_CREATE | NLM_F_ECHO, IPV4, |message| chain.write(message));
        }
        self.rules(|chain, expressions| {
            batch.push(NEW_RULE, NLM_F_CREATE | NLM_F_APPEND | NLM_F_ECHO, IPV4, |rule| {
                rule.name(1, NAME);
                rule.name(2, chain);
                rule.nested(4, |list| expressions.iter().for_each(|each| each.write(list)));
            });
        });
    }

    /// Hands on each rule, with its chain, in their order.
    fn rules(&self, mut rule: impl FnMut(&str, &[Expression<'_>])) {
        let outward = match &self.interfaces.external {
            Some(name) => Expression::Is(FIRST, name),
            None => Expression::NotIn("internal", FIRST),
        };
        let (leaving_by, coming_from) =
            (Expression::Meta(Meta::OutputName, FIRST), Expression::Meta(Meta::InputName, FIRST));
        let is_internal = Expression::In("internal", FIRST);
        let [is_to_us, was_to_us] = [
            Expression::Payload(Field::Destination, FIRST),
            Expression::Conntrack(Conntrack::OriginalDestination, FIRST),
        ]
        .map(|load| [load, Expression::In("external", FIRST)]);
        rule("postrouting", &[leaving_by, outward, Expression::Jump("outbound")]);
        for protocol in Protocol::ALL {
            let is_transport = Expression::transport(protocol);
            rule(
                "prerouting",
                &[
                    &is_to_us[..],
                    &is_transport,
                    &[
                        Expression::Payload(Field::DestinationPort, FIRST),
                        Expression::Map(Set::In(protocol).name(), FIRST),
                    ],
                    &[Expression::Dnat],
                ]
                .concat(),
            );
            rule(
                "postrouting",
                &[
                    &[leaving_by, is_internal],
                    &was_to_us[..],
                    &is_transport,
                    &[
                        Expression::Payload(Field::DestinationPort, FIRST),
                        Expression::Payload(Field::Destination, SECOND),
                        Expression::Conntrack(Conntrack::OriginalDestinationPort, THIRD),
                        Expression::In(Set::Open(protocol).name(), FIRST),
                    ],
                    &[Expression::Jump("mapped")],
                ]
                .concat(),
            );
            if self.external.is_some() {
                rule(
                    "outbound",
                    &[
                        &is_transport[..],
                        &[
                            Expression::Payload(Field::Source, FIRST),
                            Expression::Payload(Field::SourcePort, SECOND),
                            Expression::Map(Set::Out(protocol).name(), FIRST),
                        ],
                        &[Expression::SnatByOffset],
                    ]
                    .concat(),
                );
            }
        }
        rule("mapped", &[coming_from, is_internal, Expression::Jump("hairpin")]);
        let index = Expression::Meta(Meta::InputIndex, FIRST);
        rule("mapped", &[index, Expression::Is(FIRST, &[0; 4]), Expression::Jump("hairpin")]);
        if let Some(external) = self.external {
            // A client that reaches another one by the external address leaves from its mapped port as well, or from any.
            rule("hairpin", &[Expression::Jump("outbound")]);
            rule("hairpin", &[Expression::Address(external, FIRST), Expression::Snat]);
        }
        for hook in ["input", "forward"] {
            rule(hook, &[Expression::Jump("untracked")]);
        }
        let is_tcp = Expression::transport(Protocol::Tcp);
        let state = INVALID_OR_NEW.to_ne_bytes();
        rule(
            "untracked",
            &[
                &[
                    Expression::Conntrack(Conntrack::State, FIRST),
                    Expression::Mask(FIRST, &state),
                    Expression::IsNot(FIRST, &[0; 4]),
                ],
                &is_tcp[..],
                &[
                    Expression::Payload(Field::TcpFlags, FIRST),
                    Expression::Mask(FIRST, &[SYN_OR_RST]),
                    Expression::Is(FIRST, &[0]),
                    Expression::Jump("ended"),
                ],
            ]
            .concat(),
        );
        rule(
            "ended",
            &[
                &is_to_us[..],
                &is_tcp,
                &[
                    Expression::Payload(Field::DestinationPort, FIRST),
                    Expression::In(Set::EndedIn.name(), FIRST),
                    Expression::RejectTcp,
                ],
            ]
            .concat(),
        );
        rule(
            "ended",
            &[
                &is_tcp[..],
                &[
                    Expression::Payload(Field::Source, FIRST),
                    Expression::Payload(Field::SourcePort, SECOND),
                    Expression::In(Set::EndedOut.name(), FIRST),
                    Expression::RejectTcp,
                ],
            ]
            .concat(),
        );
    }
}

/// Adds the messages that remove the table, if it is there.
pub(super) fn delete(batch: &mut Batch) {
    // The kernel refuses to delete a table that is not there.
    batch.push(NEW_TABLE, NLM_F_CREATE, IPV4, |table| table.name(1, NAME));
    batch.push(DELETE_TABLE, 0, IPV4, |table| table.name(1, NAME));
}

impl Set {
    pub(super) const ALL: [Self; 10] = [
        Self::External,
        Self::Internal,
        Self::In(Protocol::Udp),
        Self::In(Protocol::Tcp),
        Self::Out(Protocol::Udp),
        Self::Out(Protocol::Tcp),
        Self::Open(Protocol::Udp),
        Self::Open(Protocol::Tcp),
        Self::EndedIn,
        Self::EndedOut,
    ];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::External => "external",
            Self::Internal => "internal",
            Self::In(Protocol::Udp) => "udp_in",
            Self::In(Protocol::Tcp) => "tcp_in",
            Self::Out(Protocol::Udp) => "udp_out",
            Self::Out(Protocol::Tcp) => "tcp_out",
            Self::Open(Protocol::Udp) => "udp_open",
            Self::Open(Protocol::Tcp) => "tcp_open",
            Self::EndedIn => "ended_in",
            Self::EndedOut => "ended_out",
        }
    }

    /// Writes what makes it. The types and the last attribute are for `nft` alone: it could not list the table without them.
    fn write(self, number: u32, message: &mut AttributeWriter) {
        let (key_type, key_length) = self.key();
        message.name(1, NAME);
        message.name(2, self.name());
        message.number(3, self.flags());
        message.number(4, key_type);
        message.number(5, key_length);
        if let Some((data_type, data_length)) = self.data() {
            message.number(6, data_type);
            message.number(7, data_length);
        }
        message.number(10, number);
        let note = |kind, value: u32| {
            let [a, b, c, d] = value.to_ne_bytes();
            [kind, 4, a, b, c, d]
        };
        let order = match self {
            Self::Internal => ORDER_OF_MACHINE,
            Self::External | Self::In(_) | Self::EndedIn => ORDER_OF_NETWORK,
            Self::Out(_) | Self::Open(_) | Self::EndedOut => ORDER_OF_PARTS,
        };
        let mut notes = note(NOTE_KEY_ORDER, order).to_vec();
        if self.data().is_some() {
            notes.extend(note(NOTE_DATA_ORDER, ORDER_OF_PARTS));
            notes.extend(note(NOTE_DATA_IS_INTERVAL, u32::from(matches!(self, Self::Out(_)))));
        }
        message.bytes(13, &notes);
    }

    /// The type by which `nft` knows the key, and the key's length.
    const fn key(self) -> (u32, u32) {
        match self {
            Self::External => (ADDRESS, 4),
            Self::Internal => (INTERFACE, 16),
            Self::In(_) | Self::EndedIn => (PORT, 2),
            Self::Out(_) | Self::EndedOut => (ADDRESS_AND_PORT, 8),
            Self::Open(_) => (PORT << 12 | ADDRESS_AND_PORT, 12),
        }
    }

    const fn data(self) -> Option<(u32, u32)> {
        match self {
            Self::In(_) => Some((ADDRESS_AND_PORT, 8)),
            Self::Out(_) => Some((ADDRESS_AND_PORT, 16)),
            _ => None,
        }
    }

    const fn flags(self) -> u32 {
        match self {
            Self::In(_) | Self::Out(_) => SET_IS_MAP,
            Self::EndedIn | Self::EndedOut => SET_HAS_TIMEOUTS,
            _ => 0,
        }
    }
}

impl Interfaces {
    pub(super) fn internal(&self) -> &[InterfaceName] {
        &self.internal
    }

    /// # Errors
    /// [`io::ErrorKind::InvalidInput`]: no internal interface, or what cannot be the name of one.
    pub(super) fn new(external: Option<&str>, internal: &[&str]) -> io::Result<Self> {
        if internal.is_empty() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "an internal interface is needed"));
        }
        let internal = internal.iter().map(|name| interface_name(name)).collect::<io::Result<_>>()?;
        Ok(Self { external: external.map(interface_name).transpose()?, internal })
    }
}

/// Refuses names that the kernel would not take for an interface, or that `nft` would read as something else in a listing.
fn interface_name(name: &str) -> io::Result<InterfaceName> {
    let mut bytes = InterfaceName::default();
    let place = bytes.get_mut(..name.len()).filter(|_| (1..=15).contains(&name.len()));
    match place {
        Some(place) if name.bytes().all(|byte| byte.is_ascii_graphic() && !br#""*\/"#.contains(&byte)) => {
            place.copy_from_slice(name.as_bytes());
            Ok(bytes)
        }
        _ => Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{name:?} is no name of an interface"))),
    }
}

/// A chain, and where the kernel calls it by itself.
struct Chain {
    name: &'static str,
    /// The type, the number of the hook, and the priority.
    hook: Option<(&'static str, u32, i32)>,
}

impl Chain {
    fn write(&self, message: &mut AttributeWriter) {
        message.name(1, NAME);
        message.name(3, self.name);
        if let Some((kind, number, priority)) = self.hook {
            message.nested(4, |hook| {
                hook.number(1, number);
                hook.bytes(2, &priority.to_be_bytes());
            });
            message.number(5, ACCEPT);
            message.name(7, kind);
        }
    }
}

const CHAINS: [Chain; 9] = [
    // After the box's own rules, which are at -100: what it forwards itself is not for us to take.
    Chain { name: "prerouting", hook: Some(("nat", PREROUTING, -99)) },
    // Before the box's own masquerading, at 100, which would choose another port.
    Chain { name: "postrouting", hook: Some(("nat", POSTROUTING, 99)) },
    // Does it come from an internal interface? What a bridge turns back to itself has no interface that it came from.
    Chain { name: "mapped", hook: None },
    // These two have rules while there is an external address.
    Chain { name: "outbound", hook: None },
    Chain { name: "hairpin", hook: None },
    // TCP connections of mappings that ended: what belongs to one that is not tracked any more looks new, or invalid, and has
    // no SYN.
    Chain { name: "input", hook: Some(("filter", INPUT, -1)) },
    Chain { name: "forward", hook: Some(("filter", FORWARD, -1)) },
    Chain { name: "untracked", hook: None },
    Chain { name: "ended", hook: None },
];

/// The table's name.
pub(super) const NAME: &str = "natpmp";

// linux/netfilter/nf_tables.h
pub(super) const NEW_TABLE: u8 = 0;
const DELETE_TABLE: u8 = 2;
pub(super) const NEW_CHAIN: u8 = 3;
pub(super) const NEW_RULE: u8 = 6;
pub(super) const NEW_SET: u8 = 9;
const SET_IS_MAP: u32 = 8;
const SET_HAS_TIMEOUTS: u32 = 16;
const ACCEPT: u32 = 1;
const PREROUTING: u32 = 0;
const INPUT: u32 = 1;
const FORWARD: u32 = 2;
const POSTROUTING: u32 = 4;
const INVALID_OR_NEW: u32 = 1 | 8;
const SYN_OR_RST: u8 = 2 | 4;
// The types of `nft`, and its notes on a set: those of several parts have six bits for each.
const ADDRESS: u32 = 7;
const PORT: u32 = 13;
const INTERFACE: u32 = 41;
const ADDRESS_AND_PORT: u32 = ADDRESS << 6 | PORT;
const NOTE_KEY_ORDER: u8 = 0;
const NOTE_DATA_ORDER: u8 = 1;
const NOTE_DATA_IS_INTERVAL: u8 = 6;
const ORDER_OF_PARTS: u32 = 0;
const ORDER_OF_MACHINE: u32 = 1;
const ORDER_OF_NETWORK: u32 = 2;
