//! Which gateway to ask: the one the default route leads to.
//!
//! RFC 6886 knows no other way to find it (section 3.3: "the host's default gateway"). Discovery is a
//! convenience: an address given by the user always works, and is the only way where the NAT-PMP server is
//! not the default gateway, as behind many VPNs.
//!
//! On Linux the kernel's main routing table is read from `/proc/net/route`; tables reached by policy routing
//! do not show there. Other systems are served by the `netdev` crate, behind the feature `discovery`.
//! Without that feature the answer there is [`DiscoverError::Unsupported`].

use std::fmt;
use std::io;
use std::net::Ipv4Addr;

#[cfg(target_os = "linux")]
mod linux;
#[cfg(all(not(target_os = "linux"), feature = "discovery"))]
mod other;
#[cfg(any(target_os = "linux", feature = "discovery", test))]
mod routes;
#[cfg(test)]
mod tests;

/// A gateway found in the routing table.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FoundGateway {
    /// The gateway's address: where requests go.
    pub address: Ipv4Addr,
    /// The interface that leads to it.
    pub interface: String,
}

/// Finds the gateway of the default route; of several, the one with the lowest metric.
///
/// Default routes without a gateway address (point-to-point links) are passed over. Routes that cover half of
/// the addresses each, with which some VPNs shadow the default route, are not taken for one: such a VPN's own
/// gateway has to be given by its address.
///
/// # Errors
/// When there is no such route, or the routing table cannot be read: see [`DiscoverError`].
pub fn discover_gateway() -> Result<FoundGateway, DiscoverError> {
    find(None)
}

/// Finds the gateway of the default route of one interface, whatever its metric.
///
/// # Errors
/// As [`discover_gateway`], and when there is no such interface or no default route on it.
pub fn discover_gateway_on(interface: &str) -> Result<FoundGateway, DiscoverError> {
    find(Some(interface))
}

#[cfg(target_os = "linux")]
fn find(interface: Option<&str>) -> Result<FoundGateway, DiscoverError> {
    linux::read()?.gateway(interface)
}

#[cfg(all(not(target_os = "linux"), feature = "discovery"))]
fn find(interface: Option<&str>) -> Result<FoundGateway, DiscoverError> {
    other::read().gateway(interface)
}

#[cfg(all(not(target_os = "linux"), not(feature = "discovery")))]
fn find(_interface: Option<&str>) -> Result<FoundGateway, DiscoverError> {
    Err(DiscoverError::Unsupported)
}

/// Why no gateway was found. What it prints says what was looked at and what to do next.
#[derive(Debug)]
#[non_exhaustive]
pub enum DiscoverError {
    /// The routing table holds no IPv4 default route.
    NoDefaultRoute,
    /// There are default routes, but they lead into point-to-point links and name no gateway.
    NoGatewayAddress {
        /// The interfaces of these routes, the lowest metric first.
        interfaces: Vec<String>,
    },
    /// The interface exists, but no default route uses it.
    NoRouteOnInterface {
        /// The interface asked for.
        interface: String,
        /// The default routes of other interfaces, the lowest metric first.
        default_routes: Vec<FoundGateway>,
    },
    /// There is no interface of this name.
    NoSuchInterface {
        /// The interface asked for.
        interface: String,
        /// The interfaces there are.
        interfaces: Vec<String>,
    },
    /// The routing table could not be read.
    Unreadable(io::Error),
    /// This build cannot read this system's routing table.
    Unsupported,
}

impl fmt::Display for DiscoverError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoDefaultRoute => {
                write!(f, "no IPv4 default route in {TABLE}: connect to a network, or give the gateway's address")
            }
            Self::NoGatewayAddress { interfaces } => write!(
                f,
                "the default route in {TABLE} leads into {} without naming a gateway (a point-to-point link): \
                 give the gateway's address",
                interfaces.join(", ")
            ),
            Self::NoRouteOnInterface { interface, default_routes } => {
                write!(f, "no IPv4 default route through {interface} in {TABLE}")?;
                for (index, route) in default_routes.iter().enumerate() {
                    let lead = if index == 0 { " (there is " } else { ", " };
                    write!(f, "{lead}{} through {}", route.address, route.interface)?;
                }
                if !default_routes.is_empty() {
                    f.write_str(")")?;
                }
                f.write_str(": give the gateway's address, or another interface")
            }
            Self::NoSuchInterface { interface, interfaces } => {
                write!(f, "no network interface is named {interface:?}: there is {}", interfaces.join(", "))
            }
            Self::Unreadable(error) => {
                write!(f, "cannot read {TABLE}: {error}: give the gateway's address")
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

#[cfg(target_os = "linux")]
const TABLE: &str = "the routing table (/proc/net/route)";
#[cfg(not(target_os = "linux"))]
const TABLE: &str = "the routing table";
