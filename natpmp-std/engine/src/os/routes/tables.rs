//! The routes that stand for the way to the internet, and the gateway found in them, the same on every system.

use std::net::Ipv4Addr;

#[cfg(target_os = "linux")]
use super::linux::{kernel, proc};
use super::{DiscoverError, FoundGateway, GatewayCandidate, RouteReason};

/// What a system says of its ways to the internet and its interfaces.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RoutingTables {
    /// Those to all addresses or to half of them, in the system's order.
    pub(super) routes: Vec<Route>,
    /// Where packets to [`PROBES`] would go.
    pub(super) ways: [Option<Way>; 2],
    /// The names of all interfaces; empty where they could not be listed.
    pub(super) interfaces: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Route {
    pub(super) part: Part,
    pub(super) table: Option<u32>,
    pub(super) metric: Option<u32>,
    pub(super) hops: Vec<Hop>,
}

/// Of the address space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    All,
    Lower,
    Upper,
}

impl Part {
    /// Of routes with this destination, of which so many bits count; absent if it is less than half.
    #[cfg(target_os = "linux")]
    pub(super) fn of(destination: Ipv4Addr, prefix: u8) -> Option<Self> {
        match (prefix, destination.octets()) {
            (0, [0, 0, 0, 0]) => Some(Self::All),
            (1, [0, 0, 0, 0]) => Some(Self::Lower),
            (1, [128, 0, 0, 0]) => Some(Self::Upper),
            _ => None,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hop {
    pub(super) interface: String,
    /// Absent on point-to-point links.
    pub(super) gateway: Option<Ipv4Addr>,
    pub(super) is_up: bool,
}

/// Where packets to one address would go, by whatever route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Way {
    pub(super) table: Option<u32>,
    pub(super) interface: String,
    pub(super) gateway: Option<Ipv4Addr>,
}

impl RoutingTables {
    /// Reads the kernel's answers to four questions of rtnetlink: all links, all routes, and the way to 62.0.0.1 and to
    /// 198.41.0.4. What is not understood is passed over.
    #[cfg(target_os = "linux")]
    #[must_use]
    pub fn from_netlink(links: &[u8], routes: &[u8], ways: [&[u8]; 2]) -> Self {
        kernel::of_answers(links, routes, ways)
    }

    /// Reads the texts of `/proc/net/route` and `/proc/net/dev`. Lines that are not understood are passed over.
    #[cfg(target_os = "linux")]
    #[must_use]
    pub fn from_proc(table: &str, devices: &str) -> Self {
        proc::routes(table, devices)
    }

    /// The gateway that packets to the internet go to, or that of `interface` if one is named.
    ///
    /// # Errors
    /// As [`discover_gateway`](super::discover_gateway) and [`discover_gateway_on`](super::discover_gateway_on).
    pub fn gateway(self, interface: Option<&str>) -> Result<FoundGateway, DiscoverError> {
        let candidates = self.candidates();
        let Some(interface) = interface else { return chosen(&candidates) };
        let (here, elsewhere): (Vec<_>, Vec<_>) =
            candidates.into_iter().partition(|candidate| candidate.interface == interface);
        if let Some(found) = here.iter().find_map(GatewayCandidate::found) {
            return Ok(found);
        }
        let (interface, others) = (interface.to_owned(), gateways(&elsewhere));
        if !here.is_empty() {
            return Err(DiscoverError::NoGatewayAddress { interface, others });
        }
        if !self.interfaces.is_empty() && !self.interfaces.contains(&interface) {
            return Err(DiscoverError::NoSuchInterface { interface, interfaces: self.interfaces });
        }
        Err(DiscoverError::NoRouteOnInterface { interface, default_routes: others })
    }
}

impl GatewayCandidate {
    pub(super) fn is_the_kernels(&self) -> bool {
        matches!(self.reason, RouteReason::Chosen | RouteReason::ChosenWithoutGateway)
    }

    fn found(&self) -> Option<FoundGateway> {
        self.gateway.map(|address| FoundGateway { address, interface: self.interface.clone() })
    }
}

fn chosen(candidates: &[GatewayCandidate]) -> Result<FoundGateway, DiscoverError> {
    let Some(choice) = candidates.first().filter(|candidate| candidate.is_the_kernels()) else {
        return Err(DiscoverError::NoDefaultRoute);
    };
    choice.found().ok_or_else(|| DiscoverError::NoGatewayAddress {
        interface: choice.interface.clone(),
        others: gateways(candidates),
    })
}

/// The gateways of these, each once.
fn gateways(candidates: &[GatewayCandidate]) -> Vec<FoundGateway> {
    let mut gateways: Vec<FoundGateway> = Vec::new();
    for found in candidates.iter().filter_map(GatewayCandidate::found) {
        if !gateways.contains(&found) {
            gateways.push(found);
        }
    }
    gateways
}

/// One public address of each half of the address space. Nothing is special about them: only that hardly any host has a
/// route of its own to them, as many have to name servers.
#[cfg(target_os = "linux")]
pub(super) const PROBES: [Ipv4Addr; 2] = [Ipv4Addr::new(62, 0, 0, 1), Ipv4Addr::new(198, 41, 0, 4)];

pub(super) const MAIN_TABLE: u32 = 254;
