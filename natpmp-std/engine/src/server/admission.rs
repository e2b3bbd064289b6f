//! Which requests come to the machine at all: none that comes too often, and none that cannot be from where it says.
//!
//! A mapping leads to the source of its request, which anybody on the link can forge. Whoever forges the address of a neighbour
//! cannot be told from it (RFC 6886, section 9). But nobody is to open a port of a host that is not behind the interface at
//! all, of another network of this box perhaps, nor one of this box itself.

use std::hash::{BuildHasher, RandomState};
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use natpmp_proto::Instant;
use natpmp_proto::gateway::RateLimit;

use super::interfaces::LocalAddress;

/// Decides which requests are handled.
pub(super) struct Admission {
    limit: Option<Box<RateLimit<CLIENTS>>>,
    sources: SourceCheck,
    /// The log warns of clients that ask too often, and from this moment on may do so again.
    next_warning: Instant,
}

impl Admission {
    /// `locals`: all addresses of this host.
    pub(super) fn new(requests_per_second: Option<u32>, locals: &[LocalAddress]) -> Self {
        let seed = RandomState::new().hash_one(CLIENTS);
        let limit = requests_per_second.map(|requests| Box::new(RateLimit::new(requests, seed)));
        Self { limit, sources: SourceCheck::new(locals), next_warning: Instant::ZERO }
    }

    /// The addresses of this host have changed to these.
    pub(super) fn update_addresses(&mut self, locals: &[LocalAddress]) {
        self.sources.update_addresses(locals);
    }

    /// Whether a request that arrived at `local` is to be handled. `dropped` counts those that come too often.
    pub(super) fn admits(
        &mut self,
        now: Instant,
        local: Option<&LocalAddress>,
        client: Ipv4Addr,
        dropped: &AtomicU64,
    ) -> bool {
        self.is_within_rate(now, client, dropped) && local.is_some_and(|local| self.sources.accepts(local, client))
    }

    fn is_within_rate(&mut self, now: Instant, client: Ipv4Addr, dropped: &AtomicU64) -> bool {
        let Some(limit) = &mut self.limit else { return true };
        let is_within = limit.admits(now, client);
        if !is_within {
            let refused = limit.refused();
            dropped.store(refused, Ordering::Relaxed);
            if self.next_warning <= now {
                self.next_warning = now + WARNING_INTERVAL;
                log::warn!(
                    "{client} asks too often, or somebody in its name: not all of its requests are answered \
                     (of all clients, dropped so far: {refused})"
                );
            }
        }
        is_within
    }
}

/// What it knows of this host's addresses and routes.
struct SourceCheck {
    own: Vec<Ipv4Addr>,
    routes: Routes,
}

impl SourceCheck {
    /// `locals`: all addresses of this host.
    fn new(locals: &[LocalAddress]) -> Self {
        let mut sources = Self { own: Vec::new(), routes: Routes::default() };
        sources.update_addresses(locals);
        sources
    }

    fn update_addresses(&mut self, locals: &[LocalAddress]) {
        self.own = locals.iter().map(|local| local.address).collect();
    }

    /// Whether a request that arrived at `local` can come from this address: one of its network, or one that is routed by its
    /// interface, but none of this host.
    fn accepts(&mut self, local: &LocalAddress, client: Ipv4Addr) -> bool {
        // Every address that sends through the loopback interface is this host's.
        local.address.is_loopback()
            || !self.own.contains(&client)
                && match network_place(local, client) {
                    Place::Host => true,
                    Place::NoHost => false,
                    Place::Elsewhere => self.routes.leads_through(client, local),
                }
    }
}

/// What an address is in the network of a local one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// One host of that network.
    Host,
    /// The address of the network itself, or of all its hosts.
    NoHost,
    /// An address of another network.
    Elsewhere,
}

fn network_place(local: &LocalAddress, client: Ipv4Addr) -> Place {
    let (mask, bits) = (local.netmask.to_bits(), client.to_bits());
    if (bits ^ local.address.to_bits()) & mask != 0 {
        return Place::Elsewhere;
    }
    // A network of two addresses has neither (RFC 3021).
    let has_both = mask.count_zeros() > 1;
    let is_one = bits & !mask == 0 || bits | mask == u32::MAX;
    if has_both && is_one { Place::NoHost } else { Place::Host }
}

/// Asks the kernel for its routes.
#[cfg(target_os = "linux")]
#[derive(Default)]
struct Routes {
    socket: Option<crate::os::netlink::RouteSocket>,
    has_warned: bool,
}

#[cfg(target_os = "linux")]
impl Routes {
    /// Whether what is sent to this address leaves by the interface of `local`.
    fn leads_through(&mut self, client: Ipv4Addr, local: &LocalAddress) -> bool {
        match self.interfaces(client) {
            Ok(interfaces) => local.index.is_some_and(|index| interfaces.contains(&index)),
            Err(error) => {
                self.socket = None;
                if !std::mem::replace(&mut self.has_warned, true) {
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

/// On other systems the check relies on the system's own filter of sources.
#[cfg(not(target_os = "linux"))]
#[derive(Default)]
struct Routes;

#[cfg(not(target_os = "linux"))]
impl Routes {
    fn leads_through(&self, _client: Ipv4Addr, _local: &LocalAddress) -> bool {
        true
    }
}

/// How many clients the limit tells apart, in 12 KiB.
const CLIENTS: usize = 1_024;
/// A flood of requests is not to become a flood of log lines.
const WARNING_INTERVAL: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_that_cannot_be_from_where_it_says_is_kept_out() {
        let address = Ipv4Addr::new(192, 168, 1, 1);
        let netmask = Ipv4Addr::new(255, 255, 255, 0);
        let lan = LocalAddress { address, interface: "lan0".into(), index: Some(u32::MAX), netmask };
        let mut admission = Admission::new(None, std::slice::from_ref(&lan));
        let dropped = AtomicU64::new(0);
        let mut admits = |local: Option<&LocalAddress>, client: [u8; 4]| {
            admission.admits(Instant::ZERO, local, client.into(), &dropped)
        };
        assert!(admits(Some(&lan), [192, 168, 1, 2]));
        assert!(!admits(Some(&lan), [192, 168, 1, 1]), "it is this host's");
        assert!(!admits(Some(&lan), [192, 168, 1, 255]), "all of the network");
        assert!(!admits(None, [192, 168, 1, 2]), "it arrived at no address");
        assert_eq!(dropped.into_inner(), 0, "that is not for asking too often");
    }

    #[test]
    fn the_hosts_of_the_network_are_admitted_but_neither_all_of_them_nor_this_one() {
        let lan = local([192, 168, 1, 1], [255, 255, 255, 0]);
        let mut sources = SourceCheck::new(&[lan.clone(), local([10, 99, 0, 1], [255, 255, 255, 0])]);
        for (client, is_admitted) in [
            ([192, 168, 1, 2], true),
            ([192, 168, 1, 254], true),
            ([192, 168, 1, 0], false),
            ([192, 168, 1, 255], false),
            ([192, 168, 1, 1], false),
            ([10, 99, 0, 1], false),
        ] {
            assert_eq!(sources.accepts(&lan, client.into()), is_admitted, "{client:?}");
        }
        sources.update_addresses(&[lan.clone(), local([192, 168, 1, 2], [255, 255, 255, 255])]);
        assert!(!sources.accepts(&lan, [192, 168, 1, 2].into()), "it is one of this host by now");
    }

    #[test]
    fn a_network_of_two_has_two_hosts() {
        let link = local([192, 168, 1, 0], [255, 255, 255, 254]);
        assert!(SourceCheck::new(std::slice::from_ref(&link)).accepts(&link, [192, 168, 1, 1].into()));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn what_no_route_by_the_interface_leads_to_is_not_admitted() {
        let lan = local([192, 168, 1, 1], [255, 255, 255, 0]);
        let mut sources = SourceCheck::new(std::slice::from_ref(&lan));
        for client in [[127, 0, 0, 1], [0, 0, 0, 0], [224, 0, 0, 1], [255, 255, 255, 255], [240, 0, 0, 1]] {
            assert!(!sources.accepts(&lan, client.into()), "{client:?}");
        }
    }

    #[test]
    fn on_the_loopback_interface_all_is_this_hosts_own() {
        let loopback = local([127, 0, 0, 1], [255, 0, 0, 0]);
        assert!(SourceCheck::new(std::slice::from_ref(&loopback)).accepts(&loopback, [127, 0, 0, 1].into()));
    }

    /// On an interface that does not exist.
    fn local(address: [u8; 4], netmask: [u8; 4]) -> LocalAddress {
        let (address, netmask) = (address.into(), netmask.into());
        LocalAddress { address, interface: "lan0".into(), index: Some(u32::MAX), netmask }
    }
}
