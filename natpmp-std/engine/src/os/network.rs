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

/// Answers about routes: the system's own, or made up in tests.
pub(crate) trait Routing: Send {
    /// The gateway that a client without a given one is to ask.
    fn discover(&self) -> Option<Ipv4Addr>;

    /// The way that packets to this address leave by; `None` if there is none.
    fn path_to(&self, address: Ipv4Addr) -> Option<Path>;

    /// Whether this address is on a link of this host, so that packets to it go there and nowhere else.
    fn is_on_link(&self, address: Ipv4Addr) -> bool;

    /// What the system reported since the last time. `is_readable`: there may be reports to read.
    fn take_report(&mut self, is_readable: bool) -> RouteReport;
}

/// What the system says of changes of its routes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(any(target_os = "linux", test)), expect(dead_code, reason = "only Linux reports changes"))]
pub(crate) enum RouteReport {
    /// It reports none, or not to this process.
    Unsupported,
    /// Nothing has changed that may matter.
    Unchanged,
    /// Something has changed that may matter.
    Changed,
}

/// What the driver is asked to look at; of several requests the last variant counts, which includes those before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum NetworkCheck {
    /// Nothing.
    #[default]
    None,
    /// The way to the gateway, if the system does not report changes: something was renewed or has failed.
    Doubtful,
    /// The way to the gateway, at once: the caller says that it has changed.
    ChangedByCaller,
    /// The way to another gateway, which the caller has set and which stays.
    GatewaySet,
}

impl NetworkCheck {
    /// Whether the caller asks for it, so that what is open belongs to the way before.
    pub(crate) const fn is_command(self) -> bool {
        matches!(self, Self::ChangedByCaller | Self::GatewaySet)
    }
}

/// The gateway that is discovered, on this interface if one is named.
pub(crate) fn discover(interface: Option<&str>) -> Result<Ipv4Addr, DiscoverError> {
    let found = match interface {
        Some(interface) => discover_gateway_on(interface)?,
        None => discover_gateway()?,
    };
    Ok(found.address)
}

/// Asks this host about its routes.
pub(crate) struct SystemRouting {
    addresses: Addresses,
    #[cfg(target_os = "linux")]
    watch: Option<RouteWatch>,
}

impl SystemRouting {
    /// Has `register` wake the driver on reports of changes. Where the system reports none, or not to this process, it is asked
    /// when something fails.
    #[cfg_attr(not(target_os = "linux"), expect(unused_variables, reason = "there is nothing to wake up for"))]
    pub(crate) fn new<R: Register>(addresses: &Addresses, register: &mut R) -> Self {
        Self {
            addresses: addresses.clone(),
            #[cfg(target_os = "linux")]
            watch: open_watch(register).map_err(|error| debug!("changes of the routes are not reported: {error}")).ok(),
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
    fn take_report(&mut self, is_readable: bool) -> RouteReport {
        match &self.watch {
            None => RouteReport::Unsupported,
            Some(watch) if is_readable && watch.take_changes() => RouteReport::Changed,
            Some(_) => RouteReport::Unchanged,
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn take_report(&mut self, _is_readable: bool) -> RouteReport {
        RouteReport::Unsupported
    }
}

/// Looks whether the way to the gateway is still the same, when there is a reason to.
pub(crate) struct Network {
    routing: Box<dyn Routing>,
    pub(crate) origin: GatewayOrigin,
    path: Option<Path>,
    /// The address that this host had last towards each gateway, the latest at the end.
    sources: Vec<(SocketAddrV4, Ipv4Addr)>,
    schedule: CheckSchedule,
}

/// How a client knows its gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GatewayOrigin {
    /// The caller has given it, and it stays.
    Given,
    /// It is where the routes lead, and changes with them.
    Discovered,
}

/// When the way to the gateway is looked at next.
#[derive(Clone, Copy, Debug)]
enum CheckSchedule {
    /// There is no reason to. It has no deadline; what the system reports counts from `quiet_until` on, so that a route that flaps
    /// causes no flood.
    Idle { quiet_until: Instant },
    /// There is a reason. Deadline: `at`.
    Due { at: Instant, quiet_until: Instant },
}

impl CheckSchedule {
    /// Has the check made at this time, unless it is made before.
    fn check_by(&mut self, latest: Instant) {
        *self = match *self {
            Self::Idle { quiet_until } => Self::Due { at: latest, quiet_until },
            Self::Due { at, quiet_until } => Self::Due { at: at.min(latest), quiet_until },
        };
    }

    /// Has the check made once what is changing has settled.
    fn check_settled(&mut self, now: Instant) {
        let (Self::Idle { quiet_until } | Self::Due { quiet_until, .. }) = *self;
        self.check_by((now + SETTLING).max(quiet_until));
    }

    fn is_due(&self, now: Instant) -> bool {
        matches!(*self, Self::Due { at, .. } if at <= now)
    }
}

/// What has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NetworkChange {
    /// Packets to the same gateway take another way.
    Path {
        /// This host's own address is one that it had never before towards this gateway.
        is_new_address: bool,
    },
    /// The routes lead to another gateway.
    Gateway {
        gateway: SocketAddrV4,
        /// The one before is on a link of this host still, and can be asked to delete.
        is_previous_on_link: bool,
        /// As of [`Path`](Self::Path).
        is_new_address: bool,
    },
}

impl Network {
    pub(crate) fn new(routing: Box<dyn Routing>, gateway: SocketAddrV4, origin: GatewayOrigin) -> Self {
        let path = way_to(&*routing, gateway);
        let quiet_until = Instant::ZERO;
        let schedule = match origin {
            GatewayOrigin::Given => CheckSchedule::Idle { quiet_until },
            // What changed after the discovery, and before the first report, is seen by the first check.
            GatewayOrigin::Discovered => CheckSchedule::Due { at: Instant::ZERO, quiet_until },
        };
        let mut network = Self { routing, origin, path, sources: Vec::new(), schedule };
        network.is_new_address(gateway);
        network
    }

    /// Whether there was a way to the gateway at the last check.
    pub(crate) const fn has_path(&self) -> bool {
        self.path.is_some()
    }

    /// Notes the reasons to look there are: what is asked for, and what the system reports if its reports are readable.
    pub(crate) fn note_reasons(
        &mut self,
        now: Instant,
        gateway: SocketAddrV4,
        requested: NetworkCheck,
        is_readable: bool,
    ) {
        match requested {
            NetworkCheck::None | NetworkCheck::Doubtful => {}
            NetworkCheck::ChangedByCaller => self.schedule.check_by(now),
            NetworkCheck::GatewaySet => self.set_given(gateway),
        }
        match self.routing.take_report(is_readable) {
            RouteReport::Changed => self.schedule.check_settled(now),
            RouteReport::Unsupported if requested == NetworkCheck::Doubtful => self.schedule.check_settled(now),
            RouteReport::Unsupported if self.origin == GatewayOrigin::Discovered && gateway.ip().is_unspecified() => {
                self.schedule.check_by(now + WITHOUT_ROUTE_EVENTS);
            }
            RouteReport::Unsupported | RouteReport::Unchanged => {}
        }
    }

    pub(crate) const fn poll_timeout(&self) -> Option<Instant> {
        match self.schedule {
            CheckSchedule::Idle { .. } => None,
            CheckSchedule::Due { at, .. } => Some(at),
        }
    }

    /// Looks, if it is time to. `None` if all is as it was, or there is no way at present.
    pub(crate) fn handle_timeout(&mut self, now: Instant, gateway: SocketAddrV4) -> Option<NetworkChange> {
        if !self.schedule.is_due(now) {
            return None;
        }
        let found = match self.origin {
            GatewayOrigin::Given => None,
            GatewayOrigin::Discovered => self.routing.discover(),
        };
        let new =
            found.filter(|address| address != gateway.ip()).map(|address| SocketAddrV4::new(address, GATEWAY_PORT));
        let path = way_to(&*self.routing, new.unwrap_or(gateway));
        let before = std::mem::replace(&mut self.path, path);
        let has_changed = path.is_some() && (before != path || new.is_some());
        let pause = if has_changed { PAUSE } else { SHORT_PAUSE };
        self.schedule = CheckSchedule::Idle { quiet_until: now + pause };
        if !has_changed {
            return None;
        }
        let is_new_address = self.is_new_address(new.unwrap_or(gateway));
        let Some(new) = new else { return Some(NetworkChange::Path { is_new_address }) };
        // By another way the address of the gateway before may be another host's.
        let is_where_it_was =
            before.is_some_and(|before| way_to(&*self.routing, gateway).is_some_and(|path| path.leads_as(before)));
        let is_previous_on_link = is_where_it_was && self.routing.is_on_link(*gateway.ip());
        Some(NetworkChange::Gateway { gateway: new, is_previous_on_link, is_new_address })
    }

    /// The gateway is given from now on.
    fn set_given(&mut self, gateway: SocketAddrV4) {
        self.origin = GatewayOrigin::Given;
        self.path = way_to(&*self.routing, gateway);
        self.is_new_address(gateway);
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
/// After a check that found nothing new: what was changing may go on.
const SHORT_PAUSE: Duration = Duration::from_millis(500);
/// How often a gateway is looked for where the system reports no changes.
const WITHOUT_ROUTE_EVENTS: Duration = Duration::from_secs(30);
const MOST_SOURCES: usize = 16;
