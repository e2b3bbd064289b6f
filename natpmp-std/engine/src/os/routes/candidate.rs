//! What a gateway was chosen from.

use std::fmt;
use std::net::Ipv4Addr;

/// A route that stands for the way to the internet, and why it is or is not the one that counts.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct GatewayCandidate {
    /// The gateway's IPv4 address. Point-to-point links have none.
    pub gateway: Option<Ipv4Addr>,
    /// The interface that the route leads to.
    pub interface: String,
    /// The metric of the route, where the system tells it: of equally long prefixes the lowest counts.
    pub metric: Option<u32>,
    /// The number of the routing table, where the system tells it: 254 is the main one.
    pub table: Option<u32>,
    /// How much of the address space it is for.
    pub kind: RouteKind,
    /// Why it is or is not the one that counts.
    pub reason: RouteReason,
}

impl GatewayCandidate {
    /// Whether it is the gateway that [`discover_gateway`](crate::discover_gateway) finds.
    #[must_use]
    pub fn is_chosen(&self) -> bool {
        self.reason == RouteReason::Chosen
    }
}

/// How much of the address space a route is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RouteKind {
    /// All of it: a default route.
    Default,
    /// Both halves, by a route each, as some VPNs shadow the default route.
    Halves,
    /// One half only, the lower or the upper.
    Half,
    /// Smaller parts, which the kernel chose all the same.
    Parts,
}

/// Why a route is or is not the one that counts.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RouteReason {
    /// The kernel's route to the internet.
    Chosen,
    /// The kernel's route to the internet, but it names no gateway.
    ChosenWithoutGateway,
    /// Not the kernel's route, and it names no gateway either.
    NoGatewayAddress,
    /// Its interface is switched off or has no carrier.
    InterfaceDown,
    /// The kernel's route has a lower metric.
    HigherMetric,
    /// The kernel's route is as good, and comes before it.
    ComesLater,
    /// The kernel's route is for less of the address space, and longer prefixes win.
    Shadowed {
        /// The interface of the kernel's route.
        interface: String,
    },
    /// It is for half of the addresses, and there is a default route.
    HalfOnly,
    /// The kernel has no way to the internet, though this route stands for one: another route or a rule rejects
    /// packets.
    Rejected,
    /// It is in a table that only some packets reach.
    PolicyRouting,
    /// It is in the main table, but packets are led through another one first.
    PolicyRoutingFirst {
        /// The table of the kernel's route.
        table: u32,
    },
}

impl fmt::Display for RouteReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Chosen => f.write_str("the kernel's route to the internet"),
            Self::ChosenWithoutGateway => {
                f.write_str("the kernel's route to the internet, but it has no gateway address: point-to-point link")
            }
            Self::NoGatewayAddress => f.write_str("no gateway address: point-to-point link"),
            Self::InterfaceDown => f.write_str("interface is down"),
            Self::HigherMetric => f.write_str("a route with a lower metric comes first"),
            Self::ComesLater => f.write_str("a route that is as good comes first"),
            Self::Shadowed { interface } => write!(f, "shadowed by the more specific routes of {interface}"),
            Self::HalfOnly => f.write_str("for half of the addresses only"),
            Self::Rejected => f.write_str("another route or a rule rejects what would go by it"),
            Self::PolicyRouting => f.write_str("only reached by policy routing"),
            Self::PolicyRoutingFirst { table } => write!(f, "policy routing leads through table {table} first"),
        }
    }
}
