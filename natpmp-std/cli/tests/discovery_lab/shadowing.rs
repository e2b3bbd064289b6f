//! VPNs that lay longer prefixes over the default route.

use natpmp_lab::{Host, Lab};
use natpmp_std::{RouteKind, RouteReason, list_gateways};

use super::{discovered, discovered_on, ip, listed, network, told, without_address};

#[test]
fn halves_of_the_addresses_win_over_the_default_route() {
    let Some(lab) = Lab::or_skip() else { return };
    let client = lab.client();
    tunnel(client);
    ip(client, "route add 0.0.0.0/1 via 10.8.0.1");
    assert_eq!(discovered(client).unwrap(), "192.168.1.1 eth0", "one half is not enough");
    assert_eq!(listed(client), told([("eth0", RouteReason::Chosen), ("tun0", RouteReason::HalfOnly)]));

    ip(client, "route add 128.0.0.0/1 via 10.8.0.1");
    assert_eq!(discovered(client).unwrap(), "10.8.0.1 tun0");
    assert_eq!(listed(client), told([("tun0", RouteReason::Chosen), ("eth0", shadowed_by_tun0())]));
    let candidates = client.within(list_gateways).unwrap();
    assert_eq!(candidates[0].kind, RouteKind::Halves);
    assert_eq!((candidates[0].table, candidates[0].metric), (Some(254), Some(0)));
    assert_eq!(discovered_on(client, "eth0").unwrap(), "192.168.1.1");
    assert_eq!(discovered_on(client, "tun0").unwrap(), "10.8.0.1");

    ip(client, "route delete 0.0.0.0/1");
    assert_eq!(discovered(client).unwrap(), "192.168.1.1 eth0");
}

#[test]
fn halves_without_a_gateway_address_are_an_error_with_a_hint() {
    let Some(lab) = Lab::or_skip() else { return };
    let client = lab.client();
    tunnel(client);
    ip(client, "route add 0.0.0.0/1 dev tun0");
    ip(client, "route add 128.0.0.0/1 dev tun0");
    let error = discovered(client).unwrap_err();
    assert_eq!(without_address(&error), ("tun0".to_owned(), vec!["192.168.1.1".to_owned()]));
    assert!(error.to_string().contains("192.168.1.1 through eth0"), "{error}");
    assert_eq!(listed(client), told([("tun0", RouteReason::ChosenWithoutGateway), ("eth0", shadowed_by_tun0())]));
}

/// As they come from a list of all but the private addresses.
#[test]
fn smaller_parts_that_make_the_internet_win_as_well() {
    let Some(lab) = Lab::or_skip() else { return };
    let client = lab.client();
    tunnel(client);
    for part in ["32.0.0.0/3", "64.0.0.0/2", "128.0.0.0/2", "192.0.0.0/9", "196.0.0.0/6", "200.0.0.0/5"] {
        ip(client, &format!("route add {part} via 10.8.0.1"));
    }
    assert_eq!(discovered(client).unwrap(), "10.8.0.1 tun0");
    assert_eq!(listed(client), told([("tun0", RouteReason::Chosen), ("eth0", shadowed_by_tun0())]));
}

#[test]
fn halves_of_two_tunnels_are_decided_by_the_lower_one() {
    let Some(lab) = Lab::or_skip() else { return };
    let client = lab.client();
    tunnel(client);
    network(client, "tun1", "10.9.0.2/24");
    ip(client, "route add 0.0.0.0/1 via 10.8.0.1");
    ip(client, "route add 128.0.0.0/1 via 10.9.0.1");
    assert_eq!(discovered(client).unwrap(), "10.8.0.1 tun0");
    assert_eq!(
        listed(client),
        told([("tun0", RouteReason::Chosen), ("eth0", shadowed_by_tun0()), ("tun1", RouteReason::HalfOnly)])
    );
}

/// A link to a VPN's gateway.
fn tunnel(client: &Host) {
    network(client, "tun0", "10.8.0.2/24");
}

fn shadowed_by_tun0() -> RouteReason {
    RouteReason::Shadowed { interface: "tun0".to_owned() }
}
