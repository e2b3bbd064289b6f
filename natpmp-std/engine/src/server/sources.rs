//! Who can have sent a request: a mapping leads to the source of its request, which anybody on the link can forge.
//!
//! Whoever forges the address of a neighbour cannot be told from it (RFC 6886, section 9). But nobody is to open a port of a
//! host that is not behind the interface at all, of another network of this box perhaps, nor one of this box itself.

use std::net::Ipv4Addr;

use super::interfaces::LocalAddress;

/// What is known of this host's addresses and routes.
pub(super) struct Sources {
    own: Vec<Ipv4Addr>,
    routes: Routes,
}

impl Sources {
    /// `locals`: all addresses of this host.
    pub(super) fn new(locals: &[LocalAddress]) -> Self {
        let mut sources = Self { own: Vec::new(), routes: Routes::default() };
        sources.follow(locals);
        sources
    }

    /// The addresses of this host are these by now.
    pub(super) fn follow(&mut self, locals: &[LocalAddress]) {
        self.own = locals.iter().map(|local| local.address).collect();
    }

    /// Whether a client can have this address that is heard at `local`: one of its network, or one that is routed by its
    /// interface, but none of this host.
    pub(super) fn admit(&mut self, local: &LocalAddress, client: Ipv4Addr) -> bool {
        // What comes by the loopback interface is this host's.
        local.address.is_loopback()
            || !self.own.contains(&client)
                && match network_place(local, client) {
                    Place::Host => true,
                    Place::NoHost => false,
                    Place::Elsewhere => self.routes.lead_to(client, local),
                }
    }
}

/// What an address is in the network of another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Host,
    /// The network itself, or all of its hosts.
    NoHost,
    Elsewhere,
}

fn network_place(local: &LocalAddress, client: Ipv4Addr) -> Place {
    let (mask, bits) = (local.netmask.to_bits(), client.to_bits());
    if (bits ^ local.address.to_bits()) & mask != 0 {
        return Place::Elsewhere;
    }
    // A network of two has neither (RFC 3021).
    let has_both = mask.count_zeros() > 1;
    let is_one = bits & !mask == 0 || bits | mask == u32::MAX;
    if has_both && is_one { Place::NoHost } else { Place::Host }
}

/// The kernel's routes.
#[cfg(target_os = "linux")]
#[derive(Default)]
struct Routes {
    socket: Option<crate::os::netlink::RouteSocket>,
    has_failed: bool,
}

#[cfg(target_os = "linux")]
impl Routes {
    /// Whether what is sent to this address leaves by the interface of `local`.
    fn lead_to(&mut self, client: Ipv4Addr, local: &LocalAddress) -> bool {
        match self.interfaces(client) {
            Ok(interfaces) => local.index.is_some_and(|index| interfaces.contains(&index)),
            Err(error) => {
                self.socket = None;
                if !std::mem::replace(&mut self.has_failed, true) {
                    log::warn!("clients of other networks behind {} are not served: {error}", local.interface);
                }
                false
            }
        }
    }

    fn interfaces(&mut self, client: Ipv4Addr) -> std::io::Result<Vec<u32>> {
        let socket = match self.socket.take() {
            Some(socket) => socket,
            None => crate::os::netlink::RouteSocket::open()?,
        };
        let route = self.socket.insert(socket).lookup(client, None, None)?;
        let route = route.filter(crate::os::netlink::Route::is_unicast);
        Ok(route.map(|route| route.hops.iter().map(|hop| hop.interface).collect()).unwrap_or_default())
    }
}

/// Other systems are not asked: there their own check of sources has to do.
#[cfg(not(target_os = "linux"))]
#[derive(Default)]
struct Routes;

#[cfg(not(target_os = "linux"))]
impl Routes {
    fn lead_to(&self, _client: Ipv4Addr, _local: &LocalAddress) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hosts_of_the_network_are_admitted_but_neither_all_of_them_nor_this_one() {
        let lan = local([192, 168, 1, 1], [255, 255, 255, 0]);
        let mut sources = Sources::new(&[lan.clone(), local([10, 99, 0, 1], [255, 255, 255, 0])]);
        for (client, is_admitted) in [
            ([192, 168, 1, 2], true),
            ([192, 168, 1, 254], true),
            ([192, 168, 1, 0], false),
            ([192, 168, 1, 255], false),
            ([192, 168, 1, 1], false),
            ([10, 99, 0, 1], false),
        ] {
            assert_eq!(sources.admit(&lan, client.into()), is_admitted, "{client:?}");
        }
        sources.follow(&[lan.clone(), local([192, 168, 1, 2], [255, 255, 255, 255])]);
        assert!(!sources.admit(&lan, [192, 168, 1, 2].into()), "it is one of this host by now");
    }

    #[test]
    fn a_network_of_two_has_two_hosts() {
        let link = local([192, 168, 1, 0], [255, 255, 255, 254]);
        assert!(Sources::new(std::slice::from_ref(&link)).admit(&link, [192, 168, 1, 1].into()));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn what_no_route_by_the_interface_leads_to_is_not_admitted() {
        let lan = local([192, 168, 1, 1], [255, 255, 255, 0]);
        let mut sources = Sources::new(std::slice::from_ref(&lan));
        for client in [[127, 0, 0, 1], [0, 0, 0, 0], [224, 0, 0, 1], [255, 255, 255, 255], [240, 0, 0, 1]] {
            assert!(!sources.admit(&lan, client.into()), "{client:?}");
        }
    }

    #[test]
    fn on_the_loopback_interface_all_is_this_hosts_own() {
        let loopback = local([127, 0, 0, 1], [255, 0, 0, 0]);
        assert!(Sources::new(std::slice::from_ref(&loopback)).admit(&loopback, [127, 0, 0, 1].into()));
    }

    /// On an interface that does not exist.
    fn local(address: [u8; 4], netmask: [u8; 4]) -> LocalAddress {
        let (address, netmask) = (address.into(), netmask.into());
        LocalAddress { address, interface: "lan0".into(), index: Some(u32::MAX), netmask }
    }
}
