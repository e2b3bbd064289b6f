//! What a message says of a route or a link.

use std::net::Ipv4Addr;

use natpmp_netlink::{after, array, find};

/// An IPv4 route of one of the tables, or the answer to where packets would go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The first address that it is for.
    pub destination: Ipv4Addr,
    /// How many bits of the destination count.
    pub prefix: u8,
    /// For packets marked so, 0 for all.
    tos: u8,
    /// The number of its table; 254 is the main one.
    pub table: u32,
    /// Of equally long prefixes the lowest metric counts.
    pub metric: u32,
    kind: u8,
    /// Whose address packets carry that leave by it, if it says.
    pub source: Option<Ipv4Addr>,
    /// Several if it has several ways, of which each connection takes one.
    pub hops: Vec<Hop>,
}

/// Where a route leads next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hop {
    /// The index of the interface.
    pub interface: u32,
    /// Absent on links that need none. One that has an IPv6 address is none here.
    pub gateway: Option<Ipv4Addr>,
    /// Whether it names a router, of any address family.
    pub has_router: bool,
    flags: u8,
}

/// An interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The kernel's number for it.
    pub index: u32,
    /// Its name.
    pub name: String,
    flags: u32,
}

impl Route {
    /// Reads the body of a message about it; `None` if that is not understood.
    #[must_use]
    pub fn read(body: &[u8]) -> Option<Self> {
        let &[AF_INET, prefix, _, tos, table, _, _, kind, ..] = body else { return None };
        let flags = u32::from_ne_bytes(array(body, 8)?);
        let attributes = body.get(ROUTE_HEADER..)?;
        let hops = match find(attributes, RTA_MULTIPATH) {
            Some(hops) => read_hops(hops),
            // Its flags are among those of the route, in the lowest byte.
            None => Hop::read(index(attributes, RTA_OIF), flags.to_le_bytes()[0], attributes).into_iter().collect(),
        };
        Some(Self {
            destination: address(attributes, RTA_DST).unwrap_or(Ipv4Addr::UNSPECIFIED),
            prefix,
            tos,
            table: index(attributes, RTA_TABLE).unwrap_or_else(|| u32::from(table)),
            metric: index(attributes, RTA_PRIORITY).unwrap_or(0),
            kind,
            source: address(attributes, RTA_PREFSRC),
            hops,
        })
    }

    /// Whether packets leave by it: it does not reject them, and leads to no address of this host.
    #[must_use]
    pub const fn is_unicast(&self) -> bool {
        self.kind == RTN_UNICAST
    }

    /// Whether it is for all packets, however they are marked.
    #[must_use]
    pub const fn is_for_all(&self) -> bool {
        self.tos == 0
    }
}

impl Hop {
    /// Whether the link has a carrier.
    #[must_use]
    pub const fn is_up(&self) -> bool {
        self.flags & (RTNH_F_DEAD | RTNH_F_LINKDOWN) == 0
    }

    fn read(interface: Option<u32>, flags: u8, attributes: &[u8]) -> Option<Self> {
        let gateway = address(attributes, RTA_GATEWAY).filter(|gateway| !gateway.is_unspecified());
        let has_router = gateway.is_some() || find(attributes, RTA_VIA).is_some();
        Some(Self { interface: interface?, gateway, has_router, flags })
    }
}

impl Link {
    /// Reads the body of a message about it; `None` if that is not understood.
    #[must_use]
    pub fn read(body: &[u8]) -> Option<Self> {
        let index = u32::from_ne_bytes(array(body, 4)?);
        let flags = u32::from_ne_bytes(array(body, 8)?);
        let name = find(body.get(LINK_HEADER..)?, IFLA_IFNAME)?;
        let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
        Some(Self { index, name: String::from_utf8_lossy(name).into_owned(), flags })
    }

    /// Whether it is switched on and has a carrier.
    #[must_use]
    pub const fn is_up(&self) -> bool {
        self.flags & IFF_UP != 0 && self.flags & IFF_LOWER_UP != 0
    }

    /// Whether what it is given comes back to this host.
    #[must_use]
    pub const fn is_loopback(&self) -> bool {
        self.flags & IFF_LOOPBACK != 0
    }
}

fn read_hops(mut bytes: &[u8]) -> Vec<Hop> {
    let mut hops = Vec::new();
    while let Some((length, attributes)) = hop_frame(bytes) {
        let flags = bytes.get(2).copied().unwrap_or_default();
        hops.extend(Hop::read(array(bytes, 4).map(u32::from_ne_bytes), flags, attributes));
        bytes = after(bytes, length);
    }
    hops
}

fn hop_frame(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let length = usize::from(u16::from_ne_bytes(array(bytes, 0)?));
    Some((length, bytes.get(HOP_HEADER..length)?))
}

fn address(attributes: &[u8], kind: u16) -> Option<Ipv4Addr> {
    array::<4>(find(attributes, kind)?, 0).map(Ipv4Addr::from)
}

fn index(attributes: &[u8], kind: u16) -> Option<u32> {
    array(find(attributes, kind)?, 0).map(u32::from_ne_bytes)
}

const ROUTE_HEADER: usize = 12;
pub(super) const LINK_HEADER: usize = 16;
const HOP_HEADER: usize = 8;

// linux/rtnetlink.h, linux/if_link.h and net/if.h
pub(super) const AF_INET: u8 = 2;
pub(super) const RTA_DST: u16 = 1;
pub(super) const RTA_SRC: u16 = 2;
pub(super) const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_PRIORITY: u16 = 6;
const RTA_PREFSRC: u16 = 7;
const RTA_MULTIPATH: u16 = 9;
const RTA_TABLE: u16 = 15;
const RTA_VIA: u16 = 18;
const RTN_UNICAST: u8 = 1;
const RTNH_F_DEAD: u8 = 1;
const RTNH_F_LINKDOWN: u8 = 16;
pub(super) const IFLA_IFNAME: u16 = 3;
pub(super) const IFLA_WIRELESS: u16 = 11;
const IFF_UP: u32 = 0x1;
const IFF_LOOPBACK: u32 = 0x8;
/// There is a carrier. By this the kernel judges routes; `IFF_RUNNING` follows some time later.
const IFF_LOWER_UP: u32 = 0x1_0000;
