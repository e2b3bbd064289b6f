//! The device's own address and its router: from the build, or from DHCP.

use core::net::Ipv4Addr;

use smoltcp::iface::{Interface, SocketHandle, SocketSet};
use smoltcp::socket::dhcpv4;
use smoltcp::time::Duration;
use smoltcp::wire::{IpCidr, Ipv4Cidr};

use crate::settings::FIXED_ADDRESS;

/// Keeps the interface's address.
#[derive(Debug)]
pub struct Uplink {
    dhcp: Option<SocketHandle>,
    is_told: bool,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// The address is this, and the router.
    Up(Ipv4Cidr, Option<Ipv4Addr>),
    /// There is no address any more.
    Down,
}

impl Uplink {
    /// Takes a socket for DHCP if that is where the address comes from.
    #[must_use]
    pub fn new(sockets: &mut SocketSet<'_>) -> Self {
        let dhcp = FIXED_ADDRESS.is_none().then(|| {
            let mut socket = dhcpv4::Socket::new();
            // Switches lose the first packets after a link has come up. 4 s is what RFC 2131 begins with.
            let mut retries = dhcpv4::RetryConfig::default();
            retries.discover_timeout = Duration::from_secs(4);
            retries.initial_request_timeout = Duration::from_secs(4);
            socket.set_retry_config(retries);
            sockets.add(socket)
        });
        Self { dhcp, is_told: false }
    }

    /// Brings the interface up to date, and says what has changed. To be called after every poll of the interface.
    ///
    /// A board whose Ethernet controller tells of its link (this one's does not under QEMU) also calls
    /// [`dhcpv4::Socket::reset`] when the cable is back: it may be another network.
    #[must_use]
    pub fn poll(&mut self, interface: &mut Interface, sockets: &mut SocketSet<'_>) -> Option<Change> {
        let change = match self.dhcp {
            Some(handle) => match sockets.get_mut::<dhcpv4::Socket<'_>>(handle).poll()? {
                dhcpv4::Event::Configured(config) => Change::Up(config.address, config.router),
                dhcpv4::Event::Deconfigured => Change::Down,
            },
            None if self.is_told => return None,
            None => FIXED_ADDRESS.map(|(address, router)| Change::Up(address, router))?,
        };
        // The socket for DHCP says at its start that there is nothing yet: nobody wants to hear that.
        let is_news = change != Change::Down || self.is_told;
        self.is_told |= is_news;
        apply(interface, change);
        is_news.then_some(change)
    }
}

fn apply(interface: &mut Interface, change: Change) {
    let (address, router) = match change {
        Change::Up(address, router) => (Some(address), router),
        Change::Down => (None, None),
    };
    interface.update_ip_addrs(|addresses| {
        addresses.clear();
        // There is room: it is empty.
        let _ = address.map(|address| addresses.push(IpCidr::Ipv4(address)));
    });
    match router {
        Some(router) => drop(interface.routes_mut().add_default_ipv4_route(router)),
        None => drop(interface.routes_mut().remove_default_ipv4_route()),
    }
}
