//! Gateways that do not say yes, and what the command makes of each: its exit code and its words.

use std::net::Ipv4Addr;
use std::time::Duration;

use natpmp_lab::Lab;

use super::{error, natpmp};

/// The schedule ends where the user says, and the conclusion is that of C03.
#[test]
fn a_router_that_drops_everything_is_given_up_within_the_timeout() {
    let Some(lab) = Lab::or_skip() else { return };
    lab.router().drop_requests();
    let silent = natpmp(lab.client(), &["map", "udp", "4000", "--timeout", "2"]);
    assert_eq!(silent.code, Some(3), "{silent}");
    assert!((Duration::from_millis(1500)..Duration::from_secs(4)).contains(&silent.took), "{silent}");
    assert!(error(&silent).contains("192.168.1.1"), "the error says who was asked\n{silent}");
}

/// C04, C20.
#[test]
fn a_router_that_has_nothing_on_the_port_is_given_up_at_once() {
    let Some(lab) = Lab::or_skip() else { return };
    for arguments in
        [&["map", "udp", "4000"][..], &["external-address"], &["unmap", "udp", "4000"], &["unmap-all", "tcp"]]
    {
        let refused = natpmp(lab.client(), arguments);
        assert_eq!(refused.code, Some(3), "{refused}");
        assert!(refused.took < Duration::from_millis(1000), "{refused}");
        assert!(error(&refused).contains("192.168.1.1"), "the error says who was asked\n{refused}");
    }
}

#[test]
fn a_router_that_refuses_is_quoted() {
    let Some(lab) = Lab::or_skip() else { return };
    let _gateway = lab.miniupnpd().deny_all().start();
    let refused = natpmp(lab.client(), &["map", "udp", "4000"]);
    assert_eq!(refused.code, Some(4), "{refused}");
    assert!(error(&refused).contains("result 2"), "{refused}");
}

/// C08: the address beside the result is not told.
#[test]
fn a_router_without_a_public_address_has_no_network() {
    let Some(lab) = Lab::or_skip() else { return };
    lab.router().change_external_address(Ipv4Addr::new(10, 0, 0, 1));
    let _gateway = lab.miniupnpd().start();
    let none = natpmp(lab.client(), &["external-address"]);
    assert_eq!(none.code, Some(5), "{none}");
    assert!(error(&none).contains("result 3"), "{none}");
    assert_eq!(none.events("external-address").count(), 0, "{none}");
}

#[test]
fn a_router_whose_ports_are_all_taken_is_out_of_resources() {
    let Some(lab) = Lab::or_skip_with(2, &[]) else {
        return;
    };
    let _gateway = lab.miniupnpd().rules(&["allow 5000-5000 192.168.1.0/24 1-65535"]).start();
    let ask = ["map", "udp", "4000", "--external", "5000"];
    assert_eq!(natpmp(&lab.clients()[1], &ask).code, Some(0));
    let full = natpmp(lab.client(), &ask);
    assert_eq!(full.code, Some(6), "{full}");
    assert!(error(&full).contains("result 4"), "{full}");
}

#[test]
fn without_a_default_route_there_is_no_gateway() {
    let Some(lab) = Lab::or_skip() else { return };
    lab.client().ip(&["route", "delete", "default"]);
    for arguments in [&["gateway"][..], &["map", "udp", "4000"], &["external-address", "--gateway", "11.22.33.44"]] {
        let lost = natpmp(lab.client(), arguments);
        assert_eq!(lost.code, Some(8), "{arguments:?}\n{lost}");
        assert!(lost.took < Duration::from_secs(2), "{lost}");
        assert!(!error(&lost).is_empty());
    }
}
