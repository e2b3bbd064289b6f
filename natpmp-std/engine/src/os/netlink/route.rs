//! Questions about routes and links, and what the answers say of each.

use std::io;
use std::net::Ipv4Addr;

use natpmp_netlink::{Message, NLM_F_ACK, NLM_F_DUMP, Outcome, Socket, after, array, attribute, find};
use rustix::io::Errno;

/// What the kernel knows of routes and links, those of the network namespace of the thread that opened it.
#[derive(Debug)]
pub struct RouteSocket {
    socket: Socket,
}

impl RouteSocket {
    /// Opens a line to the kernel.
    ///
    /// # Errors
    /// Where the system allows no netlink socket, as in some sandboxes, or no descriptor is left.
    pub fn open() -> io::Result<Self> {
        Ok(Self { socket: Socket::open(None)? })
    }

    /// The IPv4 routes of all tables, those to keep, in the kernel's order.
    pub fn routes(&mut self, keep: impl Fn(&Route) -> bool) -> io::Result<Vec<Route>> {
        let header = [[AF_INET, 0, 0, 0], [0; 4], [0; 4]].concat();
        let read = |message: Message<'_>| Route::read(message.body).filter(|_| message.kind == RTM_NEWROUTE);
        self.list(RTM_GETROUTE, &header, |message| read(message).filter(&keep))
    }

    /// All interfaces.
    pub fn links(&mut self) -> io::Result<Vec<Link>> {
        self.list(RTM_GETLINK, &[link_header(0), attribute(IFLA_EXT_MASK, &SHORT.to_ne_bytes())].concat(), read_link)
    }

    /// The interface of this index, if there is one.
    pub fn link(&mut self, index: u32) -> io::Result<Option<Link>> {
        self.one(RTM_GETLINK, &link_header(index), read_link)
    }

    /// The interface of this name, if there is one.
    pub fn link_named(&mut self, name: &str) -> io::Result<Option<Link>> {
        let name = attribute(IFLA_IFNAME, &[name.as_bytes(), &[0]].concat());
        self.one(RTM_GETLINK, &[link_header(0), name].concat(), read_link)
    }

    /// Where the kernel would send packets to this address, all rules considered; from this interface and this source
    /// if they are named. Nothing is sent. `None` if it would send them nowhere.
    pub fn lookup(
        &mut self,
        destination: Ipv4Addr,
        interface: Option<u32>,
        source: Option<Ipv4Addr>,
    ) -> io::Result<Option<Route>> {
        let source_bits = if source.is_some() { WHOLE } else { 0 };
        let mut body = vec![AF_INET, WHOLE, source_bits, 0, 0, 0, 0, 0];
        body.extend(RTM_F_LOOKUP_TABLE.to_ne_bytes());
        body.extend(attribute(RTA_DST, &destination.octets()));
        if let Some(source) = source {
            body.extend(attribute(RTA_SRC, &source.octets()));
        }
        if let Some(interface) = interface {
            body.extend(attribute(RTA_OIF, &interface.to_ne_bytes()));
        }
        self.one(RTM_GETROUTE, &body, |message| Route::read(message.body).filter(|_| message.kind == RTM_NEWROUTE))
    }

    fn list<T>(&mut self, kind: u16, body: &[u8], read: impl Fn(Message<'_>) -> Option<T>) -> io::Result<Vec<T>> {
        let mut found = Vec::new();
        // On a router they may change all the time. Then what came last has to do.
        for _ in 0..ATTEMPTS {
            found.clear();
            let outcome = self.socket.ask(kind, NLM_F_DUMP, body, |message| found.extend(read(message)))?;
            outcome.accepted()?;
            if outcome == Outcome::Whole {
                break;
            }
        }
        Ok(found)
    }

    fn one<T>(&mut self, kind: u16, body: &[u8], read: impl Fn(Message<'_>) -> Option<T>) -> io::Result<Option<T>> {
        let mut found = None;
        let outcome = self.socket.ask(kind, NLM_F_ACK, body, |message| {
            found = found.take().or_else(|| read(message));
        })?;
        match outcome {
            // Here nobody may ask this, or there is nobody to ask.
            Outcome::Refused(error) if [Errno::PERM, Errno::OPNOTSUPP].map(Errno::raw_os_error).contains(&error) => {
                Err(io::Error::from_raw_os_error(error))
            }
            // Unreachable has several numbers, and so has what does not exist.
            Outcome::Refused(_) => Ok(None),
            Outcome::Whole | Outcome::Interrupted => Ok(found),
        }
    }
}

fn read_link(message: Message<'_>) -> Option<Link> {
    Link::read(message.body).filter(|_| message.kind == RTM_NEWLINK)
}

fn link_header(index: u32) -> Vec<u8> {
    [[0; 4], index.to_ne_bytes(), [0; 4], [0; 4]].concat()
}

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

const ATTEMPTS: usize = 5;
/// All bits of an address.
const WHOLE: u8 = 32;
const ROUTE_HEADER: usize = 12;
pub(super) const LINK_HEADER: usize = 16;
const HOP_HEADER: usize = 8;

// linux/rtnetlink.h, linux/if_link.h and net/if.h
const RTM_NEWLINK: u16 = 16;
const RTM_GETLINK: u16 = 18;
const RTM_NEWROUTE: u16 = 24;
const RTM_GETROUTE: u16 = 26;
/// The answer names the table.
const RTM_F_LOOKUP_TABLE: u32 = 0x1000;
const IFLA_EXT_MASK: u16 = 29;
/// Without the counters.
const SHORT: u32 = 8;
pub(super) const AF_INET: u8 = 2;
const RTA_DST: u16 = 1;
const RTA_SRC: u16 = 2;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_PRIORITY: u16 = 6;
const RTA_PREFSRC: u16 = 7;
const RTA_MULTIPATH: u16 = 9;
const RTA_TABLE: u16 = 15;
const RTA_VIA: u16 = 18;
const RTN_UNICAST: u8 = 1;
const RTNH_F_DEAD: u8 = 1;
const RTNH_F_LINKDOWN: u8 = 16;
const IFLA_IFNAME: u16 = 3;
pub(super) const IFLA_WIRELESS: u16 = 11;
const IFF_UP: u32 = 0x1;
const IFF_LOOPBACK: u32 = 0x8;
/// There is a carrier. By this the kernel judges routes; `IFF_RUNNING` follows some time later.
const IFF_LOWER_UP: u32 = 0x1_0000;
