//! Why no gateway was found.

use std::fmt;
use std::io;

use super::FoundGateway;

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
