//! Whether and how packets reach one address: to notice when the way there comes, goes or changes.

#[cfg(target_os = "linux")]
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};

use socket2::{Domain, Socket, Type};

#[cfg(target_os = "linux")]
use super::linux;
#[cfg(target_os = "linux")]
use crate::os::netlink::{Link, Route, RouteSocket};

/// How packets to an address leave this host. As long as they leave the same way, it is equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Path {
    /// 0 where the system does not say.
    pub(crate) interface_index: u32,
    /// The address that they come from; 0.0.0.0 if there is none for them.
    pub(crate) source: Ipv4Addr,
    /// Whether the interface is switched on and has a carrier; where the system does not say, it is.
    pub(crate) is_up: bool,
}

impl Path {
    /// Whether this is the same way, in whatever state its interface is.
    pub(crate) fn leads_as(self, other: Self) -> bool {
        (self.interface_index, self.source) == (other.interface_index, other.source)
    }
}

/// Whether the host of this address is on a network of this host: packets go to it without a router between. Not so of
/// the addresses of this host itself, and on systems that do not say.
pub(crate) fn is_on_link(address: Ipv4Addr) -> bool {
    is_neighbour(address)
}

/// How packets to this address leave, from this interface and this source if they are named; `None` if they cannot.
pub(crate) fn path_to(address: Ipv4Addr, interface: Option<&str>, source: Option<Ipv4Addr>) -> Option<Path> {
    find(address, interface, source)
}

#[cfg(target_os = "linux")]
fn is_neighbour(address: Ipv4Addr) -> bool {
    is_neighbour_by_netlink(address).or_else(|_| linux::is_on_link_by_proc(address)).unwrap_or(false)
}

#[cfg(target_os = "linux")]
fn is_neighbour_by_netlink(address: Ipv4Addr) -> io::Result<bool> {
    let mut kernel = RouteSocket::open()?;
    let route = kernel.lookup(address, None, None)?.filter(Route::is_unicast);
    let Some(hop) = route.and_then(|route| route.hops.first().copied()).filter(|hop| !hop.has_router) else {
        return Ok(false);
    };
    Ok(kernel.link(hop.interface)?.is_some_and(|link| !link.is_loopback()))
}

#[cfg(not(target_os = "linux"))]
fn is_neighbour(_address: Ipv4Addr) -> bool {
    false
}

#[cfg(target_os = "linux")]
fn find(address: Ipv4Addr, interface: Option<&str>, source: Option<Ipv4Addr>) -> Option<Path> {
    by_netlink(address, interface, source).unwrap_or_else(|_| by_socket(address, interface, source))
}

#[cfg(not(target_os = "linux"))]
fn find(address: Ipv4Addr, interface: Option<&str>, source: Option<Ipv4Addr>) -> Option<Path> {
    by_socket(address, interface, source)
}

#[cfg(target_os = "linux")]
fn by_netlink(address: Ipv4Addr, interface: Option<&str>, source: Option<Ipv4Addr>) -> io::Result<Option<Path>> {
    let mut kernel = RouteSocket::open()?;
    let interface = match interface {
        Some(name) => match kernel.link_named(name)? {
            Some(link) => Some(link.index),
            None => return Ok(None),
        },
        None => None,
    };
    let Some(route) = kernel.lookup(address, interface, source)? else { return Ok(None) };
    let Some(hop) = route.hops.first() else { return Ok(None) };
    Ok(Some(Path {
        interface_index: hop.interface,
        source: route.source.or(source).unwrap_or(Ipv4Addr::UNSPECIFIED),
        is_up: kernel.link(hop.interface)?.as_ref().is_some_and(Link::is_up),
    }))
}

/// A socket that is connected sends nothing, and knows its own address.
fn by_socket(address: Ipv4Addr, interface: Option<&str>, source: Option<Ipv4Addr>) -> Option<Path> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None).ok()?;
    bind_to(&socket, interface)?;
    if let Some(source) = source {
        socket.bind(&SocketAddrV4::new(source, 0).into()).ok()?;
    }
    socket.connect(&SocketAddrV4::new(address, ANY_PORT).into()).ok()?;
    let source = *socket.local_addr().ok()?.as_socket_ipv4()?.ip();
    Some(Path { interface_index: 0, source, is_up: true })
}

#[cfg(target_os = "linux")]
fn bind_to(socket: &Socket, interface: Option<&str>) -> Option<()> {
    match interface {
        Some(name) => socket.bind_device(Some(name.as_bytes())).ok(),
        None => Some(()),
    }
}

/// Interfaces are chosen by name on Linux only.
#[cfg(not(target_os = "linux"))]
#[allow(clippy::unnecessary_wraps, reason = "it can fail on Linux")]
fn bind_to(_socket: &Socket, _interface: Option<&str>) -> Option<()> {
    Some(())
}

/// None is sent to; but 0 cannot be connected to everywhere.
const ANY_PORT: u16 = 9;

#[cfg(all(test, target_os = "linux"))]
mod tests;
