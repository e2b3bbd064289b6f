//! VPNs that lay longer prefixes over the default route.

use natpmp_lab::{Host, Lab};
use natpmp_std::list_gateways;

use super::{
    CHOSEN, CHOSEN_WITHOUT_GATEWAY, HALF_ONLY, discovered, discovered_on, ip, listed, network, reasons, without_address,
};

#[test]
fn halves_of_the_addresses_win_over_the_default_route() {
    let Some(lab) = Lab::or_skip() else { return };
    let client = lab.client();
    tunnel(client);
    ip(client, "route add 0.0.0.0/1 via 10.8.0.1");
    assert_eq!(discovered(client).unwrap(), "192.168.1.1 eth0", "one half is not enough");
    assert_eq!(listed(client), reasons([("eth0", CHOSEN), ("tun0", HALF_ONLY)]));

    ip(client, "route add 128.0.0.0/1 via 10.8.0.1");
    assert_eq!(discovered(client).unwrap(), "10.8.0.1 tun0");
    assert_eq!(listed(client), reasons([("tun0", CHOSEN), ("eth0", SHADOWED_BY_TUN0)]));
    let candidates = client.within(list_gateways).unwrap();
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
    assert_eq!(listed(client), reasons([("tun0", CHOSEN_WITHOUT_GATEWAY), ("eth0", SHADOWED_BY_TUN0)]));
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
    assert_eq!(listed(client), reasons([("tun0", CHOSEN), ("eth0", SHADOWED_BY_TUN0)]));
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
    assert_eq!(listed(client), reasons([("tun0", CHOSEN), ("eth0", SHADOWED_BY_TUN0), ("tun1", HALF_ONLY)]));
}

/// A link to a VPN's gateway.
fn tunnel(client: &Host) {
    network(client, "tun0", "10.8.0.2/24");
}

const SHADOWED_BY_TUN0: &str = "shadowed by the more specific routes of tun0";
