//! Which way leads to the gateway, and what follows when that changes.

#[cfg(target_os = "linux")]
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
#[cfg(target_os = "linux")]
use std::os::fd::AsFd;
use std::time::Duration;

#[cfg(target_os = "linux")]
use log::debug;

use natpmp_proto::Instant;
use natpmp_proto::wire::GATEWAY_PORT;

use super::routes::{DiscoverError, discover_gateway, discover_gateway_on};
#[cfg(target_os = "linux")]
use crate::client::Source;
use crate::client::{Addresses, Register};
#[cfg(target_os = "linux")]
use crate::os::netlink::RouteWatch;
use crate::os::routes::{Path, is_on_link, path_to};

/// What the system says of its routes.
pub(crate) trait Routing: Send {
    /// The gateway that a client without a given one is to ask.
    fn discover(&self) -> Option<Ipv4Addr>;

    /// The way that packets to this address leave by; `None` if there is none.
    fn path_to(&self, address: Ipv4Addr) -> Option<Path>;

    /// Whether this address is on a link of this host, so that packets to it go there and nowhere else.
    fn is_on_link(&self, address: Ipv4Addr) -> bool;

    /// Whether there was news since the last time; `None` if the system does not tell. `is_told`: there may be some to read.
    fn take_changes(&mut self, is_told: bool) -> Option<bool>;
}

/// The gateway that is discovered, on this interface if one is named.
pub(crate) fn discover(interface: Option<&str>) -> Result<Ipv4Addr, DiscoverError> {
    let found = match interface {
        Some(interface) => discover_gateway_on(interface)?,
        None => discover_gateway()?,
    };
    Ok(found.address)
}

/// This host's own routes.
pub(crate) struct SystemRouting {
    addresses: Addresses,
    #[cfg(target_os = "linux")]
    watch: Option<RouteWatch>,
}

impl SystemRouting {
    /// Has `register` wake up on news. Where the system tells none, or not to this process, it is asked when something fails.
    #[cfg_attr(not(target_os = "linux"), expect(unused_variables, reason = "there is nothing to wake up for"))]
    pub(crate) fn new<R: Register>(addresses: &Addresses, register: &mut R) -> Self {
        Self {
            addresses: addresses.clone(),
            #[cfg(target_os = "linux")]
            watch: open_watch(register).map_err(|error| debug!("changes of the routes are not told: {error}")).ok(),
        }
    }
}

#[cfg(target_os = "linux")]
fn open_watch<R: Register>(register: &mut R) -> io::Result<RouteWatch> {
    let watch = RouteWatch::open()?;
    register.watch(Source::Routes, watch.as_fd().try_clone_to_owned()?)?;
    Ok(watch)
}

impl Routing for SystemRouting {
    fn discover(&self) -> Option<Ipv4Addr> {
        discover(self.addresses.interface.as_deref()).ok()
    }

    fn path_to(&self, address: Ipv4Addr) -> Option<Path> {
        path_to(address, self.addresses.interface.as_deref(), self.addresses.local)
    }

    fn is_on_link(&self, address: Ipv4Addr) -> bool {
        is_on_link(address)
    }

    #[cfg(target_os = "linux")]
    fn take_changes(&mut self, is_told: bool) -> Option<bool> {
        self.watch.as_ref().map(|watch| is_told && watch.take_changes())
    }

    #[cfg(not(target_os = "linux"))]
    fn take_changes(&mut self, _is_told: bool) -> Option<bool> {
        None
    }
}

/// Looks whether the way to the gateway is still the same, when there is a reason to.
pub(crate) struct Network {
    routing: Box<dyn Routing>,
    /// The gateway was not given: where the routes lead is where it is.
    pub(crate) is_discovered: bool,
    path: Option<Path>,
    /// The address that this host had last towards each gateway, the latest at the end.
    sources: Vec<(SocketAddrV4, Ipv4Addr)>,
    check_at: Option<Instant>,
    /// Not again before, so that a route that flaps causes no flood.
    quiet_until: Instant,
}

/// What has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NetworkChange {
    /// Another gateway, if it is another one.
    pub(crate) gateway: Option<SocketAddrV4>,
    /// The one before is on a link of this host still, and may be told.
    pub(crate) is_previous_on_link: bool,
    /// This host's own address is one that it had never before towards this gateway.
    pub(crate) is_new_address: bool,
}

impl Network {
    pub(crate) fn new(routing: Box<dyn Routing>, gateway: SocketAddrV4, is_discovered: bool) -> Self {
        let path = way_to(&*routing, gateway);
        // What changed after it was discovered, and before there was news to hear, is seen by the first look.
        let check_at = is_discovered.then_some(Instant::ZERO);
        let mut network =
            Self { routing, is_discovered, path, sources: Vec::new(), check_at, quiet_until: Instant::ZERO };
        network.is_new_address(gateway);
        network
    }

    /// Whether there was a way to the gateway when that was looked at last.
    pub(crate) const fn has_path(&self) -> bool {
        self.path.is_some()
    }

    /// The gateway was given: it stays.
    pub(crate) fn fix(&mut self, gateway: SocketAddrV4) {
        self.is_discovered = false;
        self.path = way_to(&*self.routing, gateway);
        self.is_new_address(gateway);
    }

    /// There may be a reason to look: the system says so, if `is_told` is, or else it `is_doubtful`.
    pub(crate) fn note_reasons(&mut self, now: Instant, is_told: bool, is_doubtful: bool, gateway: SocketAddrV4) {
        let news = self.routing.take_changes(is_told);
        if news.unwrap_or(is_doubtful) {
            // Once what is changing has settled.
            self.check_by((now + SETTLING).max(self.quiet_until));
        } else if news.is_none() && self.is_discovered && gateway.ip().is_unspecified() {
            // Nobody will tell.
            self.check_by(now + WITHOUT_ROUTE_EVENTS);
        }
    }

    /// The caller says that there is a reason to look.
    pub(crate) fn check_now(&mut self, now: Instant) {
        self.check_at = Some(now);
    }

    fn check_by(&mut self, latest: Instant) {
        self.check_at = Some(self.check_at.map_or(latest, |at| at.min(latest)));
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.check_at
    }

    /// Looks, if it is time to. `None` if all is as it was, or there is no way at present.
    pub(crate) fn handle_timeout(&mut self, now: Instant, gateway: SocketAddrV4) -> Option<NetworkChange> {
        self.check_at.filter(|&at| at <= now)?;
        self.check_at = None;
        let found = if self.is_discovered { self.routing.discover() } else { None };
        let new =
            found.filter(|address| address != gateway.ip()).map(|address| SocketAddrV4::new(address, GATEWAY_PORT));
        let path = way_to(&*self.routing, new.unwrap_or(gateway));
        let before = std::mem::replace(&mut self.path, path);
        self.quiet_until = now + SHORT_PAUSE;
        path.filter(|path| before != Some(*path) || new.is_some())?;
        self.quiet_until = now + PAUSE;
        let is_new_address = self.is_new_address(new.unwrap_or(gateway));
        // Elsewhere its address may be another host's.
        let is_where_it_was =
            || before.is_some_and(|before| way_to(&*self.routing, gateway).is_some_and(|path| path.leads_as(before)));
        let is_previous_on_link = new.is_some() && is_where_it_was() && self.routing.is_on_link(*gateway.ip());
        Some(NetworkChange { gateway: new, is_previous_on_link, is_new_address })
    }

    /// Whether the address that this host has towards this gateway now is one that it had there never before. It has from now on.
    fn is_new_address(&mut self, gateway: SocketAddrV4) -> bool {
        let Some(source) = self.path.and_then(source_of) else { return false };
        let is_first = self.sources.is_empty();
        let is_known = self.sources.contains(&(gateway, source));
        self.sources.retain(|&(known, _)| known != gateway);
        if self.sources.len() >= MOST_SOURCES {
            self.sources.remove(0);
        }
        self.sources.push((gateway, source));
        !is_first && !is_known
    }
}

/// While none is known there is no way either: 0.0.0.0 is another name of this host.
fn way_to(routing: &dyn Routing, gateway: SocketAddrV4) -> Option<Path> {
    if gateway.ip().is_unspecified() { None } else { routing.path_to(*gateway.ip()) }
}

/// The address that this host has there, if it has one yet.
fn source_of(path: Path) -> Option<Ipv4Addr> {
    Some(path.source).filter(|source| !source.is_unspecified())
}

/// Addresses, routes and rules come one after the other.
const SETTLING: Duration = Duration::from_millis(200);
const PAUSE: Duration = Duration::from_secs(2);
/// After a look that found nothing new: what was changing may go on.
const SHORT_PAUSE: Duration = Duration::from_millis(500);
/// How often a gateway is looked for where the system tells no news.
const WITHOUT_ROUTE_EVENTS: Duration = Duration::from_secs(30);
const MOST_SOURCES: usize = 16;
