//! Systems other than Linux, through the `netdev` crate.

use super::tables::{Hop, Part, Route, RoutingTables, Way};

#[expect(clippy::unnecessary_wraps, reason = "reading can fail on Linux")]
pub(super) fn read() -> Result<RoutingTables, super::DiscoverError> {
    let interfaces = netdev::get_interfaces();
    // netdev knows no metrics, but which interface the system prefers.
    let preferred = netdev::get_default_interface().map(|interface| interface.index);

    let mut routes = RoutingTables::default();
    for interface in interfaces {
        let is_preferred = preferred.as_ref() == Ok(&interface.index);
        let gateway =
            interface.gateway.and_then(|gateway| gateway.ipv4.into_iter().find(|address| !address.is_unspecified()));
        let name = interface.name;
        routes.interfaces.push(name.clone());
        if !is_preferred && gateway.is_none() {
            continue;
        }
        let way = Way { table: None, interface: name.clone(), gateway };
        if is_preferred || routes.ways == [None, None] {
            routes.ways = [Some(way.clone()), Some(way)];
        }
        let hops = vec![Hop { interface: name, gateway, is_up: true }];
        routes.routes.push(Route { part: Part::All, table: None, metric: None, hops });
    }
    Ok(routes)
}
