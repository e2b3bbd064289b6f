//! The expressions that a rule of nftables consists of: the kernel evaluates one after the other, until one does not hold.

use std::net::Ipv4Addr;

use natpmp_netlink::AttributeWriter;
use natpmp_proto::wire::Protocol;

/// One expression. Numbers in registers are in the byte order of the network, unless it says otherwise.
#[derive(Clone, Copy, Debug)]
pub(super) enum Expression<'a> {
    /// Loads what the kernel knows of the packet.
    Meta(Meta, Register),
    /// Loads a part of the packet.
    Payload(Field, Register),
    /// Loads what connection tracking knows of the packet's flow.
    Conntrack(Conntrack, Register),
    /// Keeps these bits of a register.
    Mask(Register, &'a [u8]),
    /// Holds if the register is equal to this.
    Is(Register, &'a [u8]),
    /// Holds if the register is not equal to this.
    IsNot(Register, &'a [u8]),
    /// Holds if the set has what begins in this register.
    In(&'a str, Register),
    /// Holds if the set does not have what begins in this register.
    NotIn(&'a str, Register),
    /// Holds if the map has what begins in this register, and puts what it leads to into its place.
    Map(&'a str, Register),
    /// Goes on in another chain, and comes back.
    Jump(&'a str),
    /// Translates the receiver to the address and port in [`FIRST`] and [`SECOND`].
    Dnat,
    /// Loads this address.
    Address(Ipv4Addr, Register),
    /// Translates the sender to the address in [`FIRST`], and keeps its port where that is free.
    Snat,
    /// Translates the sender to the address in [`FIRST`], and to a free port from [`SECOND`] to [`FOURTH`]. The first that is
    /// tried is the sender's port, divided by how many these are, so far behind the lower one; then those that follow it.
    SnatByOffset,
    /// Answers with a reset.
    RejectTcp,
}

/// Where an expression leaves a value of four bytes, or of more that continue in those that follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Register(u32);

/// What the kernel knows of a packet.
#[derive(Clone, Copy, Debug)]
pub(super) enum Meta {
    /// The number of the interface that it came from, in the byte order of the machine.
    InputIndex = 4,
    /// The name of the interface that it came from.
    InputName = 6,
    /// The name of the interface that it leaves by.
    OutputName = 7,
    /// The transport protocol.
    Transport = 16,
}

/// A part of a packet.
#[derive(Clone, Copy, Debug)]
pub(super) enum Field {
    Source,
    Destination,
    SourcePort,
    DestinationPort,
    TcpFlags,
}

/// What connection tracking knows of a flow.
#[derive(Clone, Copy, Debug)]
pub(super) enum Conntrack {
    /// What the packet is to the flow: bits, in the byte order of the machine.
    State,
    /// Where the first packet went.
    OriginalDestination,
    /// To which port the first packet went.
    OriginalDestinationPort,
}

impl Expression<'_> {
    /// Holds for packets of this transport protocol.
    pub(super) const fn transport(protocol: Protocol) -> [Self; 2] {
        let number: &[u8] = match protocol {
            Protocol::Udp => &[17],
            Protocol::Tcp => &[6],
        };
        [Expression::Meta(Meta::Transport, FIRST), Expression::Is(FIRST, number)]
    }

    /// Writes it as an element of a rule's list.
    pub(super) fn write(&self, list: &mut AttributeWriter) {
        list.nested(LIST_ELEMENT, |expression| {
            expression.name(EXPRESSION_NAME, self.name());
            expression.nested(EXPRESSION_DATA, |data| self.write_data(data));
        });
    }

    const fn name(&self) -> &'static str {
        match self {
            Self::Meta(..) => "meta",
            Self::Payload(..) => "payload",
            Self::Conntrack(..) => "ct",
            Self::Mask(..) => "bitwise",
            Self::Is(..) | Self::IsNot(..) => "cmp",
            Self::In(..) | Self::NotIn(..) | Self::Map(..) => "lookup",
            Self::Address(..) | Self::Jump(_) => "immediate",
            Self::Dnat | Self::Snat | Self::SnatByOffset => "nat",
            Self::RejectTcp => "reject",
        }
    }

    fn write_data(&self, data: &mut AttributeWriter) {
        match *self {
            Self::Meta(key, to) => {
                data.number(1, to.0);
                data.number(2, key as u32);
            }
            Self::Payload(field, to) => {
                let (base, offset, length) = field.place();
                for (kind, value) in (1..).zip([to.0, base, offset, length]) {
                    data.number(kind, value);
                }
            }
            Self::Conntrack(key, to) => {
                data.number(1, to.0);
                let (key, direction) = key.key();
                data.number(2, key);
                if let Some(direction) = direction {
                    data.bytes(3, &[direction]);
                }
            }
            Self::Mask(register, mask) => {
                data.number(1, register.0);
                data.number(2, register.0);
                data.number(3, u32::try_from(mask.len()).unwrap_or(0));
                data.nested(4, |value| value.bytes(DATA_VALUE, mask));
                data.nested(5, |value| value.bytes(DATA_VALUE, ZEROS.get(..mask.len()).unwrap_or_default()));
            }
            Self::Is(register, value) => compare(data, register, EQUAL, value),
            Self::IsNot(register, value) => compare(data, register, NOT_EQUAL, value),
            Self::In(set, from) => lookup(data, set, from, None, 0),
            Self::NotIn(set, from) => lookup(data, set, from, None, INVERTED),
            Self::Map(map, from) => lookup(data, map, from, Some(from), 0),
            Self::Jump(chain) => {
                data.number(1, VERDICT_REGISTER);
                data.nested(2, |value| {
                    value.nested(DATA_VERDICT, |verdict| {
                        verdict.number(1, JUMP);
                        verdict.name(2, chain);
                    });
                });
            }
            Self::Address(address, to) => {
                data.number(1, to.0);
                data.nested(2, |value| value.bytes(DATA_VALUE, &address.octets()));
            }
            Self::Dnat => nat(data, DNAT, &[(3, FIRST), (5, SECOND)], 0),
            Self::Snat => nat(data, SNAT, &[(3, FIRST)], 0),
            Self::SnatByOffset => {
                nat(data, SNAT, &[(3, FIRST), (4, THIRD), (5, SECOND), (6, FOURTH)], PROTO_RANDOM | PROTO_OFFSET);
            }
            Self::RejectTcp => {
                data.number(1, TCP_RESET);
                data.bytes(2, &[0]);
            }
        }
    }
}

impl Field {
    /// The header that it is in, its offset there, and its length.
    const fn place(self) -> (u32, u32, u32) {
        match self {
            Self::Source => (NETWORK_HEADER, 12, 4),
            Self::Destination => (NETWORK_HEADER, 16, 4),
            Self::SourcePort => (TRANSPORT_HEADER, 0, 2),
            Self::DestinationPort => (TRANSPORT_HEADER, 2, 2),
            Self::TcpFlags => (TRANSPORT_HEADER, 13, 1),
        }
    }
}

impl Conntrack {
    /// The kernel's key, and the direction of the flow that it is asked of.
    const fn key(self) -> (u32, Option<u8>) {
        match self {
            Self::State => (0, None),
            Self::OriginalDestination => (20, Some(0)),
            Self::OriginalDestinationPort => (12, Some(0)),
        }
    }
}

fn compare(data: &mut AttributeWriter, register: Register, operator: u32, to: &[u8]) {
    data.number(1, register.0);
    data.number(2, operator);
    data.nested(3, |value| value.bytes(DATA_VALUE, to));
}

fn lookup(data: &mut AttributeWriter, set: &str, from: Register, to: Option<Register>, flags: u32) {
    data.name(1, set);
    data.number(2, from.0);
    if let Some(to) = to {
        data.number(3, to.0);
    }
    data.number(5, flags);
}

fn nat(data: &mut AttributeWriter, kind: u32, registers: &[(u16, Register)], flags: u32) {
    data.number(1, kind);
    data.number(2, u32::from(natpmp_netlink::netfilter::IPV4));
    for (place, register) in registers {
        data.number(*place, register.0);
    }
    if flags != 0 {
        data.number(7, flags);
    }
}

pub(super) const FIRST: Register = Register(8);
pub(super) const SECOND: Register = Register(9);
pub(super) const THIRD: Register = Register(10);
pub(super) const FOURTH: Register = Register(11);

// linux/netfilter/nf_tables.h and nf_nat.h
const LIST_ELEMENT: u16 = 1;
const EXPRESSION_NAME: u16 = 1;
const EXPRESSION_DATA: u16 = 2;
pub(super) const DATA_VALUE: u16 = 1;
const DATA_VERDICT: u16 = 2;
const VERDICT_REGISTER: u32 = 0;
const JUMP: u32 = 0xffff_fffd;
const ZEROS: [u8; 4] = [0; 4];
const EQUAL: u32 = 0;
const NOT_EQUAL: u32 = 1;
const INVERTED: u32 = 1;
const NETWORK_HEADER: u32 = 1;
const TRANSPORT_HEADER: u32 = 2;
const SNAT: u32 = 0;
const DNAT: u32 = 1;
const TCP_RESET: u32 = 1;
const PROTO_RANDOM: u32 = 1 << 2;
const PROTO_OFFSET: u32 = 1 << 5;
