//! Default routes of the main table.

use std::time::Duration;

use natpmp_lab::{Host, Lab, wait_until};
use natpmp_std::DiscoverError;

use super::{
    CHOSEN, CHOSEN_WITHOUT_GATEWAY, COMES_LATER, HIGHER_METRIC, INTERFACE_DOWN, REJECTED, discovered, discovered_on,
    ip, listed, network, reasons, two_networks, without_address,
};

#[test]
fn the_default_route_with_the_lower_metric_wins() {
    let Some(lab) = two_networks() else { return };
    let client = lab.client();
    assert_eq!(discovered(client).unwrap(), "192.168.1.1 eth0");
    assert_eq!(listed(client), reasons([("eth0", CHOSEN), ("wlan0", HIGHER_METRIC)]));

    ip(client, "route delete default dev eth0");
    ip(client, "route add default via 192.168.1.1 metric 700");
    assert_eq!(discovered(client).unwrap(), "10.0.0.1 wlan0");
    assert_eq!(listed(client), reasons([("wlan0", CHOSEN), ("eth0", HIGHER_METRIC)]));
}

#[test]
fn every_interface_has_a_gateway_of_its_own() {
    let Some(lab) = two_networks() else { return };
    let client = lab.client();
    network(client, "usb0", "10.5.0.2/24");
    assert_eq!(discovered_on(client, "eth0").unwrap(), "192.168.1.1");
    assert_eq!(discovered_on(client, "wlan0").unwrap(), "10.0.0.1");

    let error = discovered_on(client, "usb0").unwrap_err();
    let DiscoverError::NoRouteOnInterface { default_routes, .. } = &error else { panic!("{error:?}") };
    assert_eq!(default_routes.len(), 2, "{error}");
    let error = discovered_on(client, "usb7").unwrap_err();
    let DiscoverError::NoSuchInterface { interfaces, .. } = &error else { panic!("{error:?}") };
    assert!(interfaces.iter().any(|name| name == "usb0"), "{error}");

    ip(client, "route add default via 10.5.0.3 metric 900");
    ip(client, "route add default via 10.5.0.1 metric 800");
    assert_eq!(discovered_on(client, "usb0").unwrap(), "10.5.0.1", "the lower metric");
}

#[test]
fn without_any_default_route_nothing_is_found() {
    let Some(lab) = Lab::or_skip() else { return };
    let client = lab.client();
    ip(client, "route delete default");
    assert!(matches!(discovered(client), Err(DiscoverError::NoDefaultRoute)));
    assert_eq!(listed(client), []);
    assert!(matches!(discovered_on(client, "eth0"), Err(DiscoverError::NoRouteOnInterface { .. })));
}

#[test]
fn a_default_route_without_a_gateway_is_an_error_with_a_hint() {
    let Some(lab) = two_networks() else { return };
    let client = lab.client();
    network(client, "ppp0", "10.7.0.2/32");
    ip(client, "route delete default dev eth0");
    ip(client, "route add default dev ppp0 metric 50");
    let (interface, hints) = without_address(&discovered(client).unwrap_err());
    assert_eq!((interface.as_str(), hints), ("ppp0", vec!["10.0.0.1".to_owned()]));
    assert_eq!(listed(client), reasons([("ppp0", CHOSEN_WITHOUT_GATEWAY), ("wlan0", HIGHER_METRIC)]));
    assert_eq!(discovered_on(client, "wlan0").unwrap(), "10.0.0.1");
    assert_eq!(without_address(&discovered_on(client, "ppp0").unwrap_err()).0, "ppp0");
}

#[test]
fn a_route_that_rejects_is_no_candidate_and_hides_those_after_it() {
    let Some(lab) = two_networks() else { return };
    let client = lab.client();
    for kind in ["unreachable", "blackhole", "prohibit"] {
        ip(client, &format!("route add {kind} default metric 9001"));
        assert_eq!(discovered(client).unwrap(), "192.168.1.1 eth0", "{kind}");
        assert_eq!(listed(client).len(), 2, "{kind}");

        ip(client, "route delete default dev eth0");
        ip(client, "route delete default dev wlan0");
        ip(client, &format!("route add {kind} default metric 300"));
        ip(client, "route add default via 10.0.0.1 metric 600");
        assert!(matches!(discovered(client), Err(DiscoverError::NoDefaultRoute)), "{kind}");
        assert_eq!(listed(client), reasons([("wlan0", REJECTED)]), "{kind}");

        ip(client, "route delete default metric 300");
        ip(client, "route delete default metric 9001");
        ip(client, "route add default via 192.168.1.1");
    }
}

#[test]
fn of_a_route_with_several_hops_the_first_is_taken() {
    let Some(lab) = two_networks() else { return };
    let client = lab.client();
    ip(client, "route replace default nexthop via 10.0.0.7 dev wlan0 nexthop via 192.168.1.1 dev eth0");
    assert_eq!(discovered(client).unwrap(), "10.0.0.7 wlan0");
    assert_eq!(discovered_on(client, "eth0").unwrap(), "192.168.1.1");
    assert_eq!(listed(client), reasons([("wlan0", CHOSEN), ("eth0", COMES_LATER), ("wlan0", HIGHER_METRIC)]));
}

#[test]
fn an_interface_without_carrier_is_told() {
    let Some(lab) = two_networks() else { return };
    let client = lab.client();
    ip(client, "link set wlan0-end down");
    comes_to_be(client, reasons([("eth0", CHOSEN), ("wlan0", INTERFACE_DOWN)]));
    ip(client, "link set wlan0-end up");
    comes_to_be(client, reasons([("eth0", CHOSEN), ("wlan0", HIGHER_METRIC)]));

    // The kernel goes on to send there, unless it is told not to.
    lab.router().host().ip(&["link", "set", "port0", "down"]);
    assert_eq!(discovered(client).unwrap(), "192.168.1.1 eth0");
    client.within(|| std::fs::write("/proc/sys/net/ipv4/conf/all/ignore_routes_with_linkdown", "1")).unwrap();
    comes_to_be(client, reasons([("wlan0", CHOSEN), ("eth0", INTERFACE_DOWN)]));
    assert_eq!(discovered(client).unwrap(), "10.0.0.1 wlan0");
}

#[test]
fn an_interface_that_is_switched_off_has_no_routes() {
    let Some(lab) = two_networks() else { return };
    let client = lab.client();
    ip(client, "link set eth0 down");
    assert_eq!(discovered(client).unwrap(), "10.0.0.1 wlan0");
    assert_eq!(listed(client), reasons([("wlan0", CHOSEN)]));
    assert!(matches!(discovered_on(client, "eth0"), Err(DiscoverError::NoRouteOnInterface { .. })));
}

/// The kernel takes up to some seconds to notice what becomes of a carrier.
fn comes_to_be(client: &Host, expected: Vec<(String, String)>) {
    let _ = wait_until(SOON, || listed(client) == expected);
    assert_eq!(listed(client), expected);
}

const SOON: Duration = Duration::from_secs(10);
