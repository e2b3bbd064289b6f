//! The choice among routes, the same on every system.
#![cfg(any(target_os = "linux", feature = "discovery"))]

use std::error::Error as _;
use std::io;
use std::net::Ipv4Addr;

use super::choice::{Hop, Part, Route, RoutingTables, Way};
use super::choice::{RouteKind, RouteReason};
use super::{DiscoverError, FoundGateway, GatewayCandidate};

#[test]
fn the_kernels_way_is_the_gateway_whatever_else_there_is() {
    let routes =
        table([default("eth0", "192.168.1.1", 100), default("wlan0", "10.0.0.1", 600)], both("wlan0", "10.0.0.1"));
    assert_eq!(routes.gateway(None).unwrap(), found("10.0.0.1", "wlan0"));
}

#[test]
fn of_an_interface_the_kernels_choice_comes_first_then_the_lowest_metric() {
    let routes = table(
        [
            default("eth0", "192.168.1.1", 100),
            in_table(100, default("eth0", "192.168.1.9", 0)),
            default("wlan0", "10.0.0.2", 700),
            default("wlan0", "10.0.0.1", 600),
            in_table(7, default("wlan0", "10.0.0.3", 600)),
            default("ppp0", "", 5),
            default("ppp0", "10.1.0.1", 50),
        ],
        both("eth0", "192.168.1.1"),
    );
    for (interface, gateway) in [("eth0", "192.168.1.1"), ("wlan0", "10.0.0.1"), ("ppp0", "10.1.0.1")] {
        assert_eq!(routes.clone().gateway(Some(interface)).unwrap(), found(gateway, interface));
    }
}

#[test]
fn every_route_is_told_why_it_is_not_the_one() {
    let routes = table(
        [
            default("eth0", "192.168.1.1", 100),
            default("wlan0", "10.0.0.1", 600),
            default("usb0", "10.5.0.1", 100),
            down(default("eth1", "10.3.0.1", 50)),
            default("ppp0", "", 20),
            in_table(51_820, default("tun0", "10.8.0.1", 0)),
            part(Part::Upper, default("tun1", "10.9.0.1", 0)),
        ],
        both("eth0", "192.168.1.1"),
    );
    assert_eq!(
        reported(&routes),
        [
            ("eth0", RouteKind::Default, RouteReason::Chosen),
            ("tun1", RouteKind::Half, RouteReason::HalfOnly),
            ("tun0", RouteKind::Default, RouteReason::PolicyRouting),
            ("ppp0", RouteKind::Default, RouteReason::NoGatewayAddress),
            ("eth1", RouteKind::Default, RouteReason::InterfaceDown),
            ("usb0", RouteKind::Default, RouteReason::ComesLater),
            ("wlan0", RouteKind::Default, RouteReason::HigherMetric),
        ]
        .map(|(interface, kind, reason)| (interface.to_owned(), kind, reason))
    );
}

#[test]
fn two_halves_are_one_candidate_and_shadow_the_default_route() {
    let routes = table(
        [
            default("eth0", "192.168.1.1", 0),
            part(Part::Lower, default("tun0", "10.8.0.1", 0)),
            part(Part::Upper, default("tun0", "10.8.0.1", 0)),
        ],
        both("tun0", "10.8.0.1"),
    );
    let shadowed = RouteReason::Shadowed { interface: "tun0".to_owned() };
    assert_eq!(
        reported(&routes),
        [
            ("tun0".to_owned(), RouteKind::Halves, RouteReason::Chosen),
            ("eth0".to_owned(), RouteKind::Default, shadowed.clone())
        ]
    );
    assert_eq!(shadowed.to_string(), "shadowed by the more specific routes of tun0");
    assert_eq!(routes.gateway(None).unwrap(), found("10.8.0.1", "tun0"));
}

#[test]
fn halves_that_lead_different_ways_are_two_candidates() {
    let routes = table(
        [part(Part::Upper, default("tun1", "10.9.0.1", 0)), part(Part::Lower, default("tun0", "10.8.0.1", 0))],
        [way("tun0", "10.8.0.1"), way("tun1", "10.9.0.1")],
    );
    assert_eq!(
        reported(&routes),
        [
            ("tun0".to_owned(), RouteKind::Half, RouteReason::Chosen),
            ("tun1".to_owned(), RouteKind::Half, RouteReason::HalfOnly)
        ]
    );
    assert_eq!(routes.gateway(None).unwrap(), found("10.8.0.1", "tun0"), "the lower half, there is no default route");
}

#[test]
fn if_the_halves_disagree_the_default_route_counts() {
    for half in [Part::Lower, Part::Upper] {
        let routes = [default("eth0", "192.168.1.1", 100), part(half, default("tun0", "10.8.0.1", 0))];
        let mut ways = [way("tun0", "10.8.0.1"), way("eth0", "192.168.1.1")];
        if half == Part::Upper {
            ways.reverse();
        }
        assert_eq!(table(routes, ways).gateway(None).unwrap(), found("192.168.1.1", "eth0"), "{half:?}");
    }
}

/// And the other half leads nowhere.
#[test]
fn one_half_is_better_than_none() {
    for half in [Part::Lower, Part::Upper] {
        let mut ways = [way("tun0", "10.8.0.1"), None];
        if half == Part::Upper {
            ways.reverse();
        }
        let routes = table([part(half, default("tun0", "10.8.0.1", 0))], ways);
        assert_eq!(routes.gateway(None).unwrap(), found("10.8.0.1", "tun0"), "{half:?}");
    }
}

#[test]
fn of_a_route_with_several_hops_the_first_that_is_up_counts() {
    let mut route = default("eth0", "192.168.1.1", 100);
    route.hops.extend(default("wlan0", "10.0.0.1", 100).hops);
    // The kernel tells another one for each address.
    let ways = [way("wlan0", "10.0.0.1"), way("eth0", "192.168.1.1")];
    let routes = table([route.clone()], ways.clone());
    assert_eq!(
        reported(&routes),
        [
            ("eth0".to_owned(), RouteKind::Default, RouteReason::Chosen),
            ("wlan0".to_owned(), RouteKind::Default, RouteReason::ComesLater)
        ]
    );
    assert_eq!(routes.gateway(None).unwrap(), found("192.168.1.1", "eth0"));

    route.hops[0].is_up = false;
    let routes = table([route], ways);
    assert_eq!(routes.clone().gateway(None).unwrap(), found("10.0.0.1", "wlan0"));
    assert_eq!(reported(&routes)[1].2, RouteReason::InterfaceDown);
    assert_eq!(routes.gateway(Some("eth0")).unwrap(), found("192.168.1.1", "eth0"), "it was asked for");
}

#[test]
fn what_is_routed_by_smaller_parts_is_found_too() {
    let routes = table([default("eth0", "192.168.1.1", 100)], both("tun0", "10.8.0.1"));
    let candidates = routes.candidates();
    assert_eq!((candidates[0].kind, &candidates[0].reason), (RouteKind::Parts, &RouteReason::Chosen));
    assert_eq!((candidates[0].table, candidates[0].metric), (Some(254), None));
    assert_eq!(candidates[1].reason, RouteReason::Shadowed { interface: "tun0".to_owned() });
    assert_eq!(routes.clone().gateway(None).unwrap(), found("10.8.0.1", "tun0"));
    assert_eq!(routes.gateway(Some("tun0")).unwrap(), found("10.8.0.1", "tun0"));
}

/// The same gateway by the same interface, in several ways.
#[test]
fn the_kernels_choice_is_told_with_its_own_table_and_metric() {
    let routes = [
        in_table(77, default("eth0", "192.168.1.1", 0)),
        default("eth0", "192.168.1.1", 600),
        default("eth0", "192.168.1.1", 100),
    ];
    let routes = table(routes, both("eth0", "192.168.1.1"));
    let reported: Vec<_> =
        routes.candidates().into_iter().map(|reported| (reported.table, reported.metric, reported.reason)).collect();
    assert_eq!(
        reported,
        [
            (Some(254), Some(100), RouteReason::Chosen),
            (Some(77), Some(0), RouteReason::PolicyRouting),
            (Some(254), Some(600), RouteReason::HigherMetric)
        ]
    );
}

#[test]
fn what_is_in_the_table_twice_is_listed_once() {
    let twice = [default("eth0", "192.168.1.1", 100), default("eth0", "192.168.1.1", 100)];
    assert_eq!(table(twice, both("eth0", "192.168.1.1")).candidates().len(), 1);
}

#[test]
fn policy_routing_before_the_main_table_is_named_with_its_table() {
    let tunnel = in_table(51_820, default("wg0", "", 0));
    let ways = both("wg0", "").map(|way| way.map(|way| Way { table: Some(51_820), ..way }));
    let routes =
        table([default("eth0", "192.168.1.1", 100), in_table(9, default("usb0", "10.5.0.1", 1)), tunnel], ways);
    assert_eq!(
        reported(&routes),
        [
            ("wg0".to_owned(), RouteKind::Default, RouteReason::ChosenWithoutGateway),
            ("usb0".to_owned(), RouteKind::Default, RouteReason::PolicyRouting),
            ("eth0".to_owned(), RouteKind::Default, RouteReason::PolicyRoutingFirst { table: 51_820 }),
        ]
    );
    assert!(!routes.candidates()[0].is_chosen(), "it is no gateway");
    let error = routes.gateway(None).unwrap_err();
    let DiscoverError::NoGatewayAddress { interface, others } = &error else { panic!("{error:?}") };
    assert_eq!(interface, "wg0");
    assert_eq!(*others, [found("10.5.0.1", "usb0"), found("192.168.1.1", "eth0")]);
    assert_eq!(
        error.to_string(),
        "the IPv4 default route leads into wg0 and names no gateway (a point-to-point link) \
         (there is 10.5.0.1 through usb0, 192.168.1.1 through eth0): give the gateway's address"
    );
}

#[test]
fn an_interface_whose_routes_name_no_gateway_is_told_of_others() {
    let routes = table([default("eth0", "192.168.1.1", 100), default("tun0", "", 50)], both("eth0", "192.168.1.1"));
    let error = routes.gateway(Some("tun0")).unwrap_err();
    let DiscoverError::NoGatewayAddress { interface, others } = &error else { panic!("{error:?}") };
    assert_eq!((interface.as_str(), &others[..]), ("tun0", &[found("192.168.1.1", "eth0")][..]));
}

#[test]
fn routes_that_packets_do_not_come_to_are_no_gateway() {
    let routes =
        table([default("eth0", "192.168.1.1", 100), in_table(9, default("usb0", "10.5.0.1", 1))], [None, None]);
    assert_eq!(
        reported(&routes),
        [
            ("usb0".to_owned(), RouteKind::Default, RouteReason::PolicyRouting),
            ("eth0".to_owned(), RouteKind::Default, RouteReason::Rejected)
        ]
    );
    assert!(matches!(routes.clone().gateway(None), Err(DiscoverError::NoDefaultRoute)));
    assert_eq!(routes.gateway(Some("eth0")).unwrap(), found("192.168.1.1", "eth0"), "it was asked for");
}

#[test]
fn no_route_is_an_error_that_says_what_to_do() {
    let error = table([], [None, None]).gateway(None).unwrap_err();
    assert!(matches!(error, DiscoverError::NoDefaultRoute));
    assert_eq!(
        error.to_string(),
        "no IPv4 default route leads to the internet: connect to a network, or give the gateway's address"
    );
}

#[test]
fn an_interface_without_default_route_is_told_which_ones_have_one() {
    let routes = table(
        [default("wlan0", "10.0.0.1", 600), default("eth0", "192.168.1.1", 100), default("wlan0", "10.0.0.1", 700)],
        both("wlan0", "10.0.0.1"),
    );
    let error = routes.gateway(Some("tun0")).unwrap_err();
    let DiscoverError::NoRouteOnInterface { interface, default_routes } = &error else { panic!("{error:?}") };
    assert_eq!(interface, "tun0");
    assert_eq!(*default_routes, [found("10.0.0.1", "wlan0"), found("192.168.1.1", "eth0")]);
    assert_eq!(
        error.to_string(),
        "no IPv4 default route through tun0 (there is 10.0.0.1 through wlan0, 192.168.1.1 through eth0): \
         give the gateway's address, or another interface"
    );
}

#[test]
fn an_interface_that_does_not_exist_is_told_from_one_without_route() {
    let routes = table([default("eth0", "192.168.1.1", 100)], both("eth0", "192.168.1.1"));
    let error = routes.gateway(Some("eth7")).unwrap_err();
    assert!(matches!(error, DiscoverError::NoSuchInterface { .. }), "{error:?}");
    assert_eq!(error.to_string(), r#"no network interface is named "eth7": there is lo, eth0, tun0"#);
}

#[test]
fn without_a_list_of_interfaces_none_is_said_not_to_exist() {
    let routes = RoutingTables { interfaces: Vec::new(), ..table([], [None, None]) };
    let error = routes.gateway(Some("eth7")).unwrap_err();
    assert!(matches!(error, DiscoverError::NoRouteOnInterface { .. }), "{error:?}");
    assert_eq!(
        error.to_string(),
        "no IPv4 default route through eth7: give the gateway's address, or another interface"
    );
}

#[test]
fn an_unreadable_table_keeps_the_reason() {
    let error = DiscoverError::Unreadable(io::ErrorKind::PermissionDenied.into());
    assert!(error.to_string().contains("permission denied"), "{error}");
    assert!(error.source().is_some());
}

/// Systems that tell neither metrics nor tables.
#[test]
fn without_metrics_and_tables_the_preferred_route_is_the_one() {
    let unknown = |route: Route| Route { table: None, metric: None, ..route };
    let ways = both("en1", "10.0.0.1").map(|way| way.map(|way| Way { table: None, ..way }));
    let routes = table([unknown(default("en0", "192.168.1.1", 0)), unknown(default("en1", "10.0.0.1", 0))], ways);
    assert_eq!(
        reported(&routes),
        [
            ("en1".to_owned(), RouteKind::Default, RouteReason::Chosen),
            ("en0".to_owned(), RouteKind::Default, RouteReason::ComesLater)
        ]
    );
}

fn reported(routes: &RoutingTables) -> Vec<(String, RouteKind, RouteReason)> {
    let reported = |candidate: GatewayCandidate| (candidate.interface, candidate.kind, candidate.reason);
    routes.candidates().into_iter().map(reported).collect()
}

fn table<const N: usize>(routes: [Route; N], ways: [Option<Way>; 2]) -> RoutingTables {
    RoutingTables { routes: routes.into(), ways, interfaces: ["lo", "eth0", "tun0"].map(str::to_owned).to_vec() }
}

/// Of the main table; without a gateway if it is empty.
fn default(interface: &str, gateway: &str, metric: u32) -> Route {
    let hop = Hop { interface: interface.to_owned(), gateway: address(gateway), is_up: true };
    Route { part: Part::All, table: Some(254), metric: Some(metric), hops: vec![hop] }
}

fn in_table(table: u32, route: Route) -> Route {
    Route { table: Some(table), ..route }
}

fn part(part: Part, route: Route) -> Route {
    Route { part, ..route }
}

fn down(mut route: Route) -> Route {
    route.hops[0].is_up = false;
    route
}

fn both(interface: &str, gateway: &str) -> [Option<Way>; 2] {
    [way(interface, gateway), way(interface, gateway)]
}

fn way(interface: &str, gateway: &str) -> Option<Way> {
    Some(Way { table: Some(254), interface: interface.to_owned(), gateway: address(gateway) })
}

fn address(text: &str) -> Option<Ipv4Addr> {
    (!text.is_empty()).then(|| text.parse().unwrap())
}

fn found(address: &str, interface: &str) -> FoundGateway {
    FoundGateway { address: address.parse().unwrap(), interface: interface.to_owned() }
}
