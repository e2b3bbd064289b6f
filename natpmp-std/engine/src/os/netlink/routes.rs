//! The questions about routes and links.

use std::io;
use std::net::Ipv4Addr;

use rustix::io::Errno;

use super::route::{AF_INET, IFLA_IFNAME, Link, RTA_DST, RTA_OIF, RTA_SRC, Route};
use natpmp_netlink::{Message, NLM_F_ACK, NLM_F_DUMP, attribute};
use natpmp_netlink::{Outcome, Socket};

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

const ATTEMPTS: usize = 5;
/// All bits of an address.
const WHOLE: u8 = 32;

const RTM_NEWLINK: u16 = 16;
const RTM_GETLINK: u16 = 18;
const RTM_NEWROUTE: u16 = 24;
const RTM_GETROUTE: u16 = 26;
/// The answer names the table.
const RTM_F_LOOKUP_TABLE: u32 = 0x1000;
const IFLA_EXT_MASK: u16 = 29;
/// Without the counters.
const SHORT: u32 = 8;
