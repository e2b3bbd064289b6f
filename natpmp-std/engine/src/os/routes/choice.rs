//! Which of the routes the kernel takes, and why not the others.

use std::net::Ipv4Addr;

use super::tables::{Hop, MAIN_TABLE, Part, Route, RoutingTables, Way};
use super::{GatewayCandidate, RouteKind, RouteReason};

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
        // Of several hops each connection takes another one, so the one that was told is none to rely on.
        let hop = route.and_then(|route| route.hops.iter().find(|hop| hop.is_up).or(route.hops.first())).cloned();
        let told = || Hop { interface: way.interface.clone(), gateway: way.gateway, is_up: true };
        Choice { route, table: way.table, hop: hop.unwrap_or_else(told) }
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
