//! What the kernel says, by rtnetlink.

use std::io;

use super::super::tables::{Hop, PROBES, Part, Route, RoutingTables, Way};
use crate::os::netlink::{self, Link, RouteSocket};
use natpmp_netlink::Messages;

pub(super) fn read() -> io::Result<RoutingTables> {
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
pub(in super::super) fn of_answers(links: &[u8], routes: &[u8], ways: [&[u8]; 2]) -> RoutingTables {
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
