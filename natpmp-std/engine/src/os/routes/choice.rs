//! The routes that stand for the way to the internet, which of them the kernel takes, and why not the others. It is the same on
//! every system.

use std::fmt;
use std::net::Ipv4Addr;

use super::{DiscoverError, FoundGateway};

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

/// A route that stands for the way to the internet, and why it is or is not the one that counts.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct GatewayCandidate {
    /// The gateway's IPv4 address. Point-to-point links have none.
    pub gateway: Option<Ipv4Addr>,
    /// The interface that the route leads to.
    pub interface: String,
    /// The metric of the route, where the system reports it: of equally long prefixes the lowest counts.
    pub metric: Option<u32>,
    /// The number of the routing table, where the system reports it: 254 is the main one.
    pub table: Option<u32>,
    /// How much of the address space it is for.
    pub(super) kind: RouteKind,
    /// Why it is or is not the one that counts.
    pub(super) reason: RouteReason,
}

impl GatewayCandidate {
    /// Whether it is the gateway that [`discover_gateway`](super::discover_gateway) finds.
    #[must_use]
    pub fn is_chosen(&self) -> bool {
        self.reason == RouteReason::Chosen
    }

    /// Why it is or is not the one that counts, as words for a person.
    #[must_use]
    pub fn reason(&self) -> String {
        self.reason.to_string()
    }
}

/// How much of the address space a route is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RouteKind {
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
pub(super) enum RouteReason {
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

impl RoutingTables {
    /// Lists the ways to the internet: the kernel's choice first, the others by their metric.
    #[must_use]
    pub fn candidates(&self) -> Vec<GatewayCandidate> {
        let choice = self.choice();
        let mut candidates: Vec<GatewayCandidate> =
            self.entries().iter().map(|entry| entry.candidate(choice.as_ref())).collect();
        // A stable sort: among equals the system's order stands.
        candidates.sort_by_key(|candidate| {
            (!candidate.is_the_kernels(), candidate.metric, candidate.table.is_some_and(|table| table != MAIN_TABLE))
        });
        if let Some(Choice { route: None, table, hop }) = choice {
            let reason = of_the_kernel(hop.gateway);
            let Hop { interface, gateway, .. } = hop;
            let kind = RouteKind::Parts;
            candidates.insert(0, GatewayCandidate { gateway, interface, metric: None, table, kind, reason });
        }
        candidates
    }

    /// If the halves lead different ways: the default route, not one that was made for a part; else the lower half.
    fn choice(&self) -> Option<Choice<'_>> {
        let [lower, upper] = &self.ways;
        let lower = lower.as_ref().map(|way| self.choice_of(Part::Lower, way));
        let upper = upper.as_ref().map(|way| self.choice_of(Part::Upper, way));
        match (lower, upper) {
            (Some(lower), Some(upper)) if upper.is_default() && !lower.is_default() => Some(upper),
            (lower, upper) => lower.or(upper),
        }
    }

    /// The route by which packets to this half go this way.
    fn choice_of(&self, half: Part, way: &Way) -> Choice<'_> {
        let fits = |route: &&Route| {
            let is_for_it = route.part == Part::All || route.part == half;
            is_for_it && route.table == way.table && route.hops.iter().any(|hop| hop.is(way))
        };
        let route = self.routes.iter().filter(fits).min_by_key(|route| (route.part == Part::All, route.metric));
        // Of several hops each connection takes another one, so the one of the answer is none to rely on.
        let hop = route.and_then(|route| route.hops.iter().find(|hop| hop.is_up).or(route.hops.first())).cloned();
        let answered = || Hop { interface: way.interface.clone(), gateway: way.gateway, is_up: true };
        Choice { route, table: way.table, hop: hop.unwrap_or_else(answered) }
    }

    /// Each hop of each route, two halves as one, and what is the same once.
    fn entries(&self) -> Vec<Entry<'_>> {
        let mut entries: Vec<Entry<'_>> = Vec::new();
        for route in &self.routes {
            for hop in &route.hops {
                let kind = match route.part {
                    Part::All => RouteKind::Default,
                    Part::Lower if self.has(Part::Upper, route, hop) => RouteKind::Halves,
                    Part::Upper if self.has(Part::Lower, route, hop) => continue,
                    Part::Lower | Part::Upper => RouteKind::Half,
                };
                let entry = Entry { route, hop, kind };
                if !entries.iter().any(|other| other.is_same(&entry)) {
                    entries.push(entry);
                }
            }
        }
        entries
    }

    /// Whether there is a route for that part that is otherwise the same.
    fn has(&self, part: Part, like: &Route, hop: &Hop) -> bool {
        self.routes.iter().any(|route| {
            route.part == part
                && (route.table, route.metric) == (like.table, like.metric)
                && route.hops.iter().any(|other| other.leads_as(hop))
        })
    }
}

/// What the kernel does with packets to the internet.
#[derive(Clone, Debug)]
struct Choice<'a> {
    /// Absent if it is a route to less than half of the addresses.
    route: Option<&'a Route>,
    table: Option<u32>,
    hop: Hop,
}

impl Choice<'_> {
    fn is_default(&self) -> bool {
        self.route.is_some_and(|route| route.part == Part::All)
    }

    /// Whether this is its route, or the other half of it.
    fn is(&self, entry: &Entry<'_>) -> bool {
        self.route.is_some_and(|route| {
            let part =
                if entry.kind == RouteKind::Halves { route.part != Part::All } else { route.part == entry.route.part };
            part && (route.table, route.metric) == (entry.route.table, entry.route.metric)
                && self.hop.leads_as(entry.hop)
        })
    }
}

/// One way to the internet.
#[derive(Clone, Copy, Debug)]
struct Entry<'a> {
    route: &'a Route,
    hop: &'a Hop,
    kind: RouteKind,
}

impl Entry<'_> {
    fn is_same(&self, other: &Entry<'_>) -> bool {
        self.route.part == other.route.part
            && (self.route.table, self.route.metric) == (other.route.table, other.route.metric)
            && self.hop.leads_as(other.hop)
    }

    fn candidate(&self, choice: Option<&Choice<'_>>) -> GatewayCandidate {
        GatewayCandidate {
            gateway: self.hop.gateway,
            interface: self.hop.interface.clone(),
            metric: self.route.metric,
            table: self.route.table,
            kind: self.kind,
            reason: self.reason(choice),
        }
    }

    fn reason(&self, choice: Option<&Choice<'_>>) -> RouteReason {
        if choice.is_some_and(|choice| choice.is(self)) {
            return of_the_kernel(self.hop.gateway);
        }
        if !self.hop.is_up {
            return RouteReason::InterfaceDown;
        }
        if self.hop.gateway.is_none() {
            return RouteReason::NoGatewayAddress;
        }
        if self.route.table.is_some_and(|table| table != MAIN_TABLE)
            && choice.is_none_or(|choice| choice.table != self.route.table)
        {
            return RouteReason::PolicyRouting;
        }
        let Some(choice) = choice else { return RouteReason::Rejected };
        if let (Some(table), true) = (choice.table, choice.table != self.route.table) {
            return RouteReason::PolicyRoutingFirst { table };
        }
        match choice.route {
            Some(route) if route.part == self.route.part => {
                if route.metric < self.route.metric {
                    RouteReason::HigherMetric
                } else {
                    RouteReason::ComesLater
                }
            }
            _ if self.kind == RouteKind::Half => RouteReason::HalfOnly,
            _ => RouteReason::Shadowed { interface: choice.hop.interface.clone() },
        }
    }
}

impl Hop {
    fn is(&self, way: &Way) -> bool {
        self.interface == way.interface && self.gateway == way.gateway
    }

    fn leads_as(&self, other: &Self) -> bool {
        self.interface == other.interface && self.gateway == other.gateway
    }
}

const fn of_the_kernel(gateway: Option<Ipv4Addr>) -> RouteReason {
    if gateway.is_some() { RouteReason::Chosen } else { RouteReason::ChosenWithoutGateway }
}

/// One public address of each half of the address space. Nothing is special about them: only that hardly any host has a
/// route of its own to them, as many have to name servers.
#[cfg(target_os = "linux")]
pub(super) const PROBES: [Ipv4Addr; 2] = [Ipv4Addr::new(62, 0, 0, 1), Ipv4Addr::new(198, 41, 0, 4)];

pub(super) const MAIN_TABLE: u32 = 254;
