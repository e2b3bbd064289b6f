//! Rules that lead packets through other tables.

use natpmp_lab::{Host, Lab};
use natpmp_std::list_gateways;

use super::{
    CHOSEN, CHOSEN_WITHOUT_GATEWAY, NO_GATEWAY_ADDRESS, POLICY_ROUTING, discovered, discovered_on, ip, listed, network,
    reasons, without_address,
};

#[test]
fn a_rule_for_all_unmarked_packets_counts() {
    let Some(lab) = Lab::or_skip() else { return };
    let client = lab.client();
    wireguard(client, "default dev wg0");
    let error = discovered(client).unwrap_err();
    assert_eq!(without_address(&error), ("wg0".to_owned(), vec!["192.168.1.1".to_owned()]));
    let first = "policy routing leads through table 51820 first";
    assert_eq!(listed(client), reasons([("wg0", CHOSEN_WITHOUT_GATEWAY), ("eth0", first)]));
    assert_eq!(client.within(list_gateways).unwrap()[0].table, Some(51_820));
    assert_eq!(discovered_on(client, "eth0").unwrap(), "192.168.1.1");

    ip(client, "rule delete not fwmark 51820 table 51820");
    assert_eq!(discovered(client).unwrap(), "192.168.1.1 eth0");
    assert_eq!(listed(client), reasons([("eth0", CHOSEN), ("wg0", NO_GATEWAY_ADDRESS)]));
}

#[test]
fn a_gateway_in_another_table_is_found_if_packets_go_there() {
    let Some(lab) = Lab::or_skip() else { return };
    let client = lab.client();
    wireguard(client, "default via 10.8.0.1 dev wg0");
    assert_eq!(discovered(client).unwrap(), "10.8.0.1 wg0");
    assert_eq!(discovered_on(client, "wg0").unwrap(), "10.8.0.1");
}

#[test]
fn a_table_that_only_some_packets_reach_is_told_as_that() {
    let Some(lab) = Lab::or_skip() else { return };
    let client = lab.client();
    network(client, "wlan0", "10.0.0.2/24");
    ip(client, "route add default via 10.0.0.1 table 77");
    ip(client, "rule add from 10.0.0.2 table 77");
    assert_eq!(discovered(client).unwrap(), "192.168.1.1 eth0");
    assert_eq!(listed(client), reasons([("eth0", CHOSEN), ("wlan0", POLICY_ROUTING)]));
    assert_eq!(discovered_on(client, "wlan0").unwrap(), "10.0.0.1");

    // A better metric in a table that packets do not reach is none.
    ip(client, "route add default via 192.168.1.9 table 77 metric 5");
    ip(client, "route replace default via 192.168.1.1 metric 100");
    ip(client, "route delete default metric 0");
    assert_eq!(discovered_on(client, "eth0").unwrap(), "192.168.1.1");
}

/// As programs do that catch packets which are on their way through.
#[test]
fn a_table_that_leads_back_to_this_host_is_no_way_out() {
    let Some(lab) = Lab::or_skip() else { return };
    let client = lab.client();
    ip(client, "route add local default dev lo table 100");
    ip(client, "rule add fwmark 1 table 100");
    assert_eq!(discovered(client).unwrap(), "192.168.1.1 eth0");
    assert_eq!(listed(client), reasons([("eth0", CHOSEN)]));
}

/// What `wg-quick` sets up for a peer that is allowed all addresses.
fn wireguard(client: &Host, route: &str) {
    network(client, "wg0", "10.8.0.2/24");
    ip(client, &format!("route add {route} table 51820"));
    ip(client, "rule add not fwmark 51820 table 51820");
    ip(client, "rule add table main suppress_prefixlength 0");
}
