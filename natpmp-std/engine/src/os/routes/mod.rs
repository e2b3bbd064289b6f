//! Which gateway to ask: the one that the kernel's route to the internet leads to.
//!
//! RFC 6886 knows no other way to find it (section 3.3: "the host's default gateway"). Discovery is a
//! convenience: an address given by the user always works, and is the only way where the NAT-PMP server is
//! not the default gateway, as behind many VPNs.
//!
//! On Linux the kernel itself is asked, by rtnetlink, where it would send packets to one address in each half of the
//! address space: 62.0.0.1 and 198.41.0.4. Nothing is sent to them. So what counts is what counts for packets: longer
//! prefixes before metrics, and policy routing. Where netlink is forbidden, as in some sandboxes, the main table is
//! read from `/proc/thread-self/net/route` and searched as the kernel would; tables reached by policy routing do not
//! show there. Other systems are served by the `netdev` crate, behind the feature `discovery`. Without that feature the
//! answer there is [`DiscoverError::Unsupported`].

mod choice;
#[cfg(target_os = "linux")]
mod linux;
mod path;

use std::fmt;
use std::io;
use std::net::Ipv4Addr;

pub use choice::{GatewayCandidate, RoutingTables};
pub(crate) use path::{Path, is_on_link, path_to};

/// A gateway found in the routing tables.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FoundGateway {
    /// The gateway's address: where requests go.
    pub address: Ipv4Addr,
    /// The interface that leads to it.
    pub interface: String,
}

/// Finds the gateway that packets to the internet go to.
///
/// It is that of the kernel's own choice. A VPN that shadows the default route, with two routes to half of the
/// addresses each or by policy routing, is what counts then; if it has no gateway address (a point-to-point link, as of
/// WireGuard), that is an error, which names the other gateways. If the two halves of the addresses lead different
/// ways, the default route counts, not the one that was made for a part; without a default route, the lower half. Of a
/// route with several ways the first one that is up counts.
///
/// # Errors
/// When there is no such route, it names no gateway, or the routing tables cannot be read: see [`DiscoverError`].
pub fn discover_gateway() -> Result<FoundGateway, DiscoverError> {
    read()?.gateway(None)
}

/// Finds the gateway of one interface, whether packets to the internet go by it or not: that of the kernel's choice if it
/// is through this interface; else, of the routes of all tables to all addresses or to half of them, the one with the
/// lowest metric.
///
/// # Errors
/// As [`discover_gateway`], and when there is no such interface or no such route on it.
pub fn discover_gateway_on(interface: &str) -> Result<FoundGateway, DiscoverError> {
    read()?.gateway(Some(interface))
}

/// Every route to all addresses or to half of them, and why it is or is not the one of [`discover_gateway`]. The
/// kernel's choice comes first, the others by their metric.
///
/// # Errors
/// When the routing tables cannot be read. An empty list is no error.
pub fn list_gateways() -> Result<Vec<GatewayCandidate>, DiscoverError> {
    Ok(read()?.candidates())
}

/// Why no gateway was found. What it prints says what was looked at and what to do next.
#[derive(Debug)]
#[non_exhaustive]
pub enum DiscoverError {
    /// No route leads to the internet: no IPv4 default route, and none that stands for it.
    NoDefaultRoute,
    /// There is a route, but it leads into a point-to-point link and names no gateway.
    NoGatewayAddress {
        /// The interface of this route.
        interface: String,
        /// The gateways of other routes, which packets to the internet do not take.
        others: Vec<FoundGateway>,
    },
    /// The interface exists, but no default route uses it.
    NoRouteOnInterface {
        /// The interface asked for.
        interface: String,
        /// The default routes of other interfaces, the kernel's choice first.
        default_routes: Vec<FoundGateway>,
    },
    /// There is no interface of this name.
    NoSuchInterface {
        /// The interface asked for.
        interface: String,
        /// The interfaces there are.
        interfaces: Vec<String>,
    },
    /// The routing tables could not be read.
    Unreadable(io::Error),
    /// This build cannot read this system's routing table.
    Unsupported,
}

impl fmt::Display for DiscoverError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoDefaultRoute => f.write_str(
                "no IPv4 default route leads to the internet: connect to a network, or give the gateway's address",
            ),
            Self::NoGatewayAddress { interface, others } => {
                write!(
                    f,
                    "the IPv4 default route leads into {interface} and names no gateway (a point-to-point link)"
                )?;
                list(f, others)?;
                f.write_str(": give the gateway's address")
            }
            Self::NoRouteOnInterface { interface, default_routes } => {
                write!(f, "no IPv4 default route through {interface}")?;
                list(f, default_routes)?;
                f.write_str(": give the gateway's address, or another interface")
            }
            Self::NoSuchInterface { interface, interfaces } => {
                write!(f, "no network interface is named {interface:?}: there is {}", interfaces.join(", "))
            }
            Self::Unreadable(error) => {
                write!(f, "cannot read the routing table: {error}: give the gateway's address")
            }
            Self::Unsupported => f.write_str(
                "this build cannot look for the gateway on this system: give the gateway's address, \
                 or build with the feature `discovery`",
            ),
        }
    }
}

impl std::error::Error for DiscoverError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Unreadable(error) => Some(error),
            _ => None,
        }
    }
}

/// ` (there is 192.168.1.1 through eth0)`, if there is any.
fn list(f: &mut fmt::Formatter<'_>, gateways: &[FoundGateway]) -> fmt::Result {
    for (index, gateway) in gateways.iter().enumerate() {
        let lead = if index == 0 { " (there is " } else { ", " };
        write!(f, "{lead}{} through {}", gateway.address, gateway.interface)?;
    }
    if gateways.is_empty() { Ok(()) } else { f.write_str(")") }
}

#[cfg(target_os = "linux")]
use linux::read;

/// Reads the routes through the `netdev` crate.
#[cfg(all(not(target_os = "linux"), feature = "discovery"))]
#[expect(clippy::unnecessary_wraps, reason = "reading can fail on Linux")]
fn read() -> Result<RoutingTables, DiscoverError> {
    use choice::{Hop, Part, Route, Way};

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

#[cfg(all(not(target_os = "linux"), not(feature = "discovery")))]
const fn read() -> Result<RoutingTables, DiscoverError> {
    Err(DiscoverError::Unsupported)
}

#[cfg(test)]
mod tests;
