//! Linux: the kernel is asked by rtnetlink; where that is forbidden, its main table is read as text.

use std::fs;
use std::io;
use std::net::Ipv4Addr;

use natpmp_netlink::Messages;

use super::DiscoverError;
use super::choice::{Hop, MAIN_TABLE, PROBES, Part, Route, RoutingTables, Way};
use crate::os::netlink::{self, Link, RouteSocket};

pub(super) fn read() -> Result<RoutingTables, DiscoverError> {
    read_netlink().or_else(|error| {
        log::debug!("no answer by netlink ({error}): reading the main routing table");
        read_proc().map_err(DiscoverError::Unreadable)
    })
}

impl RoutingTables {
    /// Reads the kernel's answers to four questions of rtnetlink: all links, all routes, and the way to 62.0.0.1 and to
    /// 198.41.0.4. What is not understood is passed over.
    #[must_use]
    pub fn from_netlink(links: &[u8], routes: &[u8], ways: [&[u8]; 2]) -> Self {
        from_netlink(links, routes, ways)
    }

    /// Reads the texts of `/proc/net/route` and `/proc/net/dev`. Lines that are not understood are passed over.
    #[must_use]
    pub fn from_proc(table: &str, devices: &str) -> Self {
        from_proc(table, devices)
    }
}

fn read_netlink() -> io::Result<RoutingTables> {
    let mut kernel = RouteSocket::open()?;
    let links = kernel.links()?;
    let routes = kernel.routes(|route| part(route).is_some())?;
    let mut way =
        |probe| -> io::Result<_> { Ok(kernel.lookup(probe, None, None)?.and_then(|route| way(&route, &links))) };
    let [lower, upper] = PROBES;
    let ways = [way(lower)?, way(upper)?];
    Ok(routes_of(&routes, ways, &links))
}

/// In the answers as they came: all links, all routes, and the way to each of [`PROBES`].
fn from_netlink(links: &[u8], routes: &[u8], ways: [&[u8]; 2]) -> RoutingTables {
    let read = |bytes| Messages::new(bytes).filter_map(|message| netlink::Route::read(message.body));
    let links: Vec<Link> = Messages::new(links).filter_map(|message| Link::read(message.body)).collect();
    let routes: Vec<netlink::Route> = read(routes).filter(|route| part(route).is_some()).collect();
    let ways = ways.map(|way| read(way).next().and_then(|route| self::way(&route, &links)));
    routes_of(&routes, ways, &links)
}

fn routes_of(routes: &[netlink::Route], ways: [Option<Way>; 2], links: &[Link]) -> RoutingTables {
    let to_route = |route: &netlink::Route| {
        let hops = route.hops.iter().map(|hop| self::hop(hop, links)).collect();
        Some(Route { part: part(route)?, table: Some(route.table), metric: Some(route.metric), hops })
    };
    let routes = routes.iter().filter_map(to_route).filter(|route| !route.hops.is_empty()).collect();
    RoutingTables { routes, ways, interfaces: links.iter().map(|link| link.name.clone()).collect() }
}

/// For how much of the address space it is, if that is enough to stand for the internet, and packets leave by it.
fn part(route: &netlink::Route) -> Option<Part> {
    if !route.is_unicast() || !route.is_for_all() {
        return None;
    }
    Part::of(route.destination, route.prefix)
}

fn way(route: &netlink::Route, links: &[Link]) -> Option<Way> {
    let hop = hop(route.hops.first().filter(|_| route.is_unicast())?, links);
    Some(Way { table: Some(route.table), interface: hop.interface, gateway: hop.gateway })
}

fn hop(hop: &netlink::Hop, links: &[Link]) -> Hop {
    let link = links.iter().find(|link| link.index == hop.interface);
    // One that came after they were listed.
    let interface = link.map_or_else(|| hop.interface.to_string(), |link| link.name.clone());
    Hop { interface, gateway: hop.gateway, is_up: hop.is_up() && link.is_none_or(Link::is_up) }
}

fn read_proc() -> io::Result<RoutingTables> {
    // Only needed to tell a wrong name from a missing route.
    let devices = read_file("dev").unwrap_or_default();
    Ok(from_proc(&read_file("route")?, &devices))
}

/// Whether packets to this address go to its host without a router between.
pub(super) fn is_on_link_by_proc(address: Ipv4Addr) -> io::Result<bool> {
    let table = read_file("route")?;
    let lines: Vec<Line> = table.lines().filter_map(Line::read).collect();
    Ok(lookup(&lines, address).is_some_and(|line| !line.has_router && line.interface != LOOPBACK))
}

/// In the texts of `route` and `dev`. Lines that are not understood are passed over.
fn from_proc(table: &str, devices: &str) -> RoutingTables {
    let lines: Vec<Line> = table.lines().filter_map(Line::read).collect();
    let ways = PROBES.map(|probe| lookup(&lines, probe).map(Line::way));
    let routes = lines.iter().filter(|line| line.leads_on).filter_map(Line::route).collect();
    RoutingTables { routes, ways, interfaces: interfaces(devices) }
}

/// The interfaces in the text of `dev`, whose two heading lines hold no colon.
fn interfaces(devices: &str) -> Vec<String> {
    devices.lines().filter_map(|line| line.split_once(':')).map(|(name, _)| name.trim().to_owned()).collect()
}

/// Those of the network namespace that this thread is in, which need not be that of the process.
fn read_file(name: &str) -> io::Result<String> {
    fs::read_to_string(format!("/proc/thread-self/net/{name}"))
        .or_else(|_| fs::read_to_string(format!("/proc/net/{name}")))
}

/// The longest prefix wins, then the lowest metric, then the first. One that rejects may win too.
fn lookup(lines: &[Line], address: Ipv4Addr) -> Option<&Line> {
    let fits = |line: &&Line| (line.destination ^ address.to_bits()) & line.mask == 0;
    let best = lines.iter().filter(fits).min_by_key(|line| (line.mask.count_zeros(), line.metric));
    best.filter(|line| line.leads_on)
}

/// One route.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Line {
    interface: String,
    destination: u32,
    mask: u32,
    gateway: Option<Ipv4Addr>,
    /// The address of an IPv6 router is not in the text, only that there is one.
    has_router: bool,
    metric: u32,
    /// It does not reject.
    leads_on: bool,
}

impl Line {
    fn read(line: &str) -> Option<Self> {
        let mut fields = line.split_ascii_whitespace();
        let interface = fields.next()?.to_owned();
        let destination = address(fields.next()?)?.to_bits();
        let gateway = address(fields.next()?)?;
        let flags = u32::from_str_radix(fields.next()?, 16).ok()?;
        // RefCnt and Use come between the flags and the metric.
        let metric = fields.nth(2)?.parse().ok()?;
        let mask = address(fields.next()?)?.to_bits();

        let has_router = flags & GATEWAY != 0;
        let gateway = Some(gateway).filter(|gateway| has_router && !gateway.is_unspecified());
        // RoutingTables that throw packets away have no interface; not all of them have the flag.
        let leads_on = flags & REJECT == 0 && interface != "*";
        let line = Self { interface, destination, mask, gateway, has_router, metric, leads_on };
        (flags & UP != 0).then_some(line)
    }

    fn route(&self) -> Option<Route> {
        let part = Part::of(self.destination.into(), u8::try_from(self.mask.leading_ones()).ok()?)?;
        let hop = Hop { interface: self.interface.clone(), gateway: self.gateway, is_up: true };
        Some(Route { part, table: Some(MAIN_TABLE), metric: Some(self.metric), hops: vec![hop] })
    }

    fn way(&self) -> Way {
        Way { table: Some(MAIN_TABLE), interface: self.interface.clone(), gateway: self.gateway }
    }
}

/// The kernel prints the four bytes, which are in network order, as if they were a number of its own.
fn address(field: &str) -> Option<Ipv4Addr> {
    if field.len() != 8 {
        return None;
    }
    let number = u32::from_str_radix(field, 16).ok()?;
    Some(Ipv4Addr::from(number.to_ne_bytes()))
}

// Flags of <linux/route.h>.
const UP: u32 = 0x0001;
const GATEWAY: u32 = 0x0002;
const REJECT: u32 = 0x0200;
const LOOPBACK: &str = "lo";

#[cfg(test)]
mod tests;
