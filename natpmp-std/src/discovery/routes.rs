//! The choice among default routes, the same on every system.

use std::net::Ipv4Addr;

use super::{DiscoverError, FoundGateway};

/// What a system told about its default routes and its interfaces.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Routes {
    /// Only routes whose mask is 0, in the system's order.
    pub(super) default: Vec<DefaultRoute>,
    /// The names of all interfaces; empty where they could not be listed.
    pub(super) interfaces: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DefaultRoute {
    pub(super) interface: String,
    /// Absent on point-to-point links.
    pub(super) gateway: Option<Ipv4Addr>,
    pub(super) metric: u32,
}

impl Routes {
    /// The gateway of the default route with the lowest metric, among those of `interface` if one is named.
    pub(super) fn gateway(mut self, interface: Option<&str>) -> Result<FoundGateway, DiscoverError> {
        // A stable sort: among equals the system's order stands.
        self.default.sort_by_key(|route| route.metric);
        let asked = |route: &&DefaultRoute| interface.is_none_or(|name| route.interface == name);

        if let Some(found) = self.default.iter().filter(asked).find_map(DefaultRoute::found) {
            return Ok(found);
        }
        let without_gateway = names(self.default.iter().filter(asked));
        if !without_gateway.is_empty() {
            return Err(DiscoverError::NoGatewayAddress { interfaces: without_gateway });
        }
        let Some(interface) = interface.map(str::to_owned) else {
            return Err(DiscoverError::NoDefaultRoute);
        };
        if !self.interfaces.is_empty() && !self.interfaces.contains(&interface) {
            return Err(DiscoverError::NoSuchInterface { interface, interfaces: self.interfaces });
        }
        Err(DiscoverError::NoRouteOnInterface {
            interface,
            default_routes: self.default.iter().filter_map(DefaultRoute::found).collect(),
        })
    }
}

impl DefaultRoute {
    fn found(&self) -> Option<FoundGateway> {
        self.gateway.map(|address| FoundGateway { address, interface: self.interface.clone() })
    }
}

/// The interfaces of these routes, each once.
fn names<'a>(routes: impl Iterator<Item = &'a DefaultRoute>) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for route in routes {
        if !names.contains(&route.interface) {
            names.push(route.interface.clone());
        }
    }
    names
}
