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

mod candidate;
mod choice;
mod error;
#[cfg(target_os = "linux")]
mod linux;
#[cfg(all(not(target_os = "linux"), feature = "discovery"))]
mod other;
mod path;
mod tables;
#[cfg(test)]
mod tests;

use std::net::Ipv4Addr;

pub use candidate::{GatewayCandidate, RouteKind, RouteReason};
pub use error::DiscoverError;
pub(crate) use path::{Path, is_on_link, path_to};
pub use tables::RoutingTables;

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

#[cfg(target_os = "linux")]
use linux::read;
#[cfg(all(not(target_os = "linux"), feature = "discovery"))]
use other::read;

#[cfg(all(not(target_os = "linux"), not(feature = "discovery")))]
const fn read() -> Result<RoutingTables, DiscoverError> {
    Err(DiscoverError::Unsupported)
}
