//! Changes of links, addresses, routes and rules, as the kernel reports them.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with};

use super::route::{AF_INET, IFLA_WIRELESS, LINK_HEADER};
use natpmp_netlink::{Message, Messages, find, receive};

/// Becomes readable when a link, or an address, a route or a rule of IPv4, came, went or changed, in the network namespace of
/// the thread that opened it. Linux only.
///
/// It does not say what changed: look again at what matters.
#[derive(Debug)]
pub struct RouteWatch {
    socket: OwnedFd,
}

impl RouteWatch {
    /// Starts to watch. Reading never waits.
    ///
    /// # Errors
    /// Where the system allows no netlink socket, as in some sandboxes, or no descriptor is left.
    pub fn open() -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
        bind(&socket, &SocketAddrNetlink::new(0, GROUPS))?;
        Ok(Self { socket })
    }

    /// Reads all reports that have come, and says whether any of them may matter. If the kernel had to drop some, they may.
    #[must_use]
    pub fn take_changes(&self) -> bool {
        let mut buffer = [MaybeUninit::uninit(); BUFFER];
        let mut does_matter = false;
        loop {
            match receive(&self.socket, &mut buffer) {
                Ok(bytes) => does_matter |= matters(bytes),
                Err(Errno::INTR) => {}
                // Some of it is lost, or was not read.
                Err(Errno::NOBUFS | Errno::MSGSIZE) => does_matter = true,
                Err(_) => return does_matter,
            }
        }
    }
}

impl AsFd for RouteWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Whether one of these messages reports a change that may matter to the way to a gateway.
#[must_use]
pub fn matters(bytes: &[u8]) -> bool {
    Messages::new(bytes).any(|message| is_change(&message))
}

fn is_change(message: &Message<'_>) -> bool {
    let family = message.body.first().copied();
    match message.kind {
        // Bridges report their ports, and wireless cards what they found, in the same way.
        RTM_NEWLINK | RTM_DELLINK => {
            let attributes = message.body.get(LINK_HEADER..).unwrap_or_default();
            family == Some(AF_UNSPEC) && find(attributes, IFLA_WIRELESS).is_none()
        }
        RTM_NEWADDR | RTM_DELADDR | RTM_NEWROUTE | RTM_DELROUTE | RTM_NEWRULE | RTM_DELRULE => family == Some(AF_INET),
        _ => false,
    }
}

// linux/rtnetlink.h
const AF_UNSPEC: u8 = 0;
const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_NEWADDR: u16 = 20;
const RTM_DELADDR: u16 = 21;
const RTM_NEWROUTE: u16 = 24;
const RTM_DELROUTE: u16 = 25;
const RTM_NEWRULE: u16 = 32;
const RTM_DELRULE: u16 = 33;
/// Links, IPv4 addresses, IPv4 routes, and the rules by which routes are chosen.
const GROUPS: u32 = 0x1 | 0x10 | 0x40 | 0x80;
const BUFFER: usize = 16 * 1024;
