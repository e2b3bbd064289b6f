//! The external address, and earlier holders of the own one.

use std::net::Ipv4Addr;
use std::time::Duration;

use natpmp_lab::{Lab, Protocol, back_within, echo, wait_until};
use natpmp_testkit::gateway::Gateway;

use super::keeping::succeed;
use super::{AT_ONCE, Keep, NATPMP, OPENED, SOON, faulty, ip};

/// A router that loses power comes back without its mappings, with the epoch at 0, and the provider gives it another address.
#[test]
fn a_router_that_returns_with_another_external_address_is_told_of_once() {
    let Some(lab) = Lab::or_skip() else { return };
    let mut gateway = lab.miniupnpd().start();
    let _echo = echo(lab.client(), Protocol::Udp, 4000);
    let mut kept = Keep::open(&lab, "udp 4000");
    // Less than 2 s of epoch could be the rounding of two clocks.
    std::thread::sleep(Duration::from_secs(3));
    gateway.crash();
    lab.router().forget_mappings();
    lab.router().change_external_address(Ipv4Addr::new(11, 99, 0, 7));
    lab.router().count_requests();
    // What is lost is asked for again within 5 s, so that not all clients do so at the same time.
    let is_back = || !lab.router().mappings().is_empty();
    back_within(Duration::from_secs(6), "router returns", || gateway.start(), is_back);
    kept.event("mapped");
    assert!(lab.leads_to_client(Protocol::Udp, 4000));
    std::thread::sleep(AT_ONCE);
    let asked = lab.router().requests();
    assert!(asked.all() <= 8, "{asked:?}");
    let again = ["gateway-restarted", "lost", "external-address 11.99.0.7", "mapped 4000 11.99.0.7"];
    kept.end().is(&[&OPENED, &again]);
}

#[test]
fn an_external_address_that_the_internet_does_not_reach_is_said_to_be_that_once() {
    let Some(lab) = Lab::or_skip() else { return };
    let gateway = faulty(&lab, Gateway::new());
    for (address, kind, words) in [
        ([10, 0, 0, 1], "private", "behind another NAT"),
        ([100, 64, 0, 1], "shared", "100.64.0.0/10"),
        ([0, 0, 0, 0], "unspecified", "not connected"),
        ([240, 0, 0, 1], "reserved", "reserved"),
        ([11, 22, 33, 44], "public", "never said"),
    ] {
        gateway.with(|gateway, now| gateway.change_address(now, Some(address.into())));
        let mut kept = Keep::open(&lab, "udp 4000 --lifetime 1");
        // Renewals and the same address again are no reason to repeat it.
        for _ in 0..2 {
            kept.event("renewed");
        }
        let story = kept.end();
        assert_eq!(story.notes("will not be reachable"), usize::from(kind != "public"), "{story:?}");
        assert_eq!(story.notes(words), usize::from(kind != "public"), "{story:?}");
        assert_eq!(story.count("external-address"), 1, "{story:?}");
        assert_eq!(story.first("external-address")["address_kind"], kind, "{story:?}");
    }
}

/// C22
#[test]
fn what_an_earlier_holder_of_the_new_address_left_is_deleted_where_that_was_asked_for() {
    an_earlier_holders_mapping_is_gone("udp 4000 --clear-on-new-address", true);
}

/// C22
#[test]
fn what_an_earlier_holder_of_the_new_address_left_is_left_alone_otherwise() {
    an_earlier_holders_mapping_is_gone("udp 4000", false);
}

fn an_earlier_holders_mapping_is_gone(arguments: &str, is_gone: bool) {
    let Some(lab) = Lab::or_skip_with(2, &[]) else { return };
    let _gateway = lab.miniupnpd().start();
    let _echo = echo(lab.client(), Protocol::Udp, 4000);
    let earlier = &lab.clients()[1];
    succeed(earlier.command(NATPMP), "map tcp 7000");
    succeed(earlier.command(NATPMP), "map udp 7001");
    let has = |port: &str| lab.router().mappings().iter().any(|mapping| mapping.contains(port));
    ip(earlier, "link set eth0 down");

    let mut kept = Keep::open(&lab, arguments);
    assert!(has("192.168.1.12:7000") && has("192.168.1.12:7001"), "it is not that holder yet");
    let change = || {
        ip(lab.client(), "address delete 192.168.1.11/24 dev eth0");
        ip(lab.client(), "address add 192.168.1.12/24 dev eth0");
        ip(lab.client(), "route add default via 192.168.1.1");
    };
    back_within(AT_ONCE, "address of an earlier holder", change, || has("192.168.1.12:4000"));
    let port = u16::try_from(kept.event("changed")["external_port"].as_u64().unwrap()).unwrap();
    assert_eq!((!has("192.168.1.12:7000"), !has("192.168.1.12:7001")), (is_gone, is_gone));
    assert!(lab.leads_to_client(Protocol::Udp, port));
    assert!(has("192.168.1.11:4000"), "those of other addresses are nobody's business");
    assert!(wait_until(SOON, || kept.port() == port.to_string()));
    kept.end().is(&[&OPENED, &[&format!("changed {port} 11.22.33.44")]]);
}

/// The first address is no new one, however late it comes.
#[test]
fn a_host_that_had_no_address_before_deletes_nothing() {
    let Some(lab) = Lab::or_skip() else { return };
    let _gateway = lab.miniupnpd().start();
    succeed(lab.client().command(NATPMP), "map tcp 7000");
    lab.disconnect("eth0");
    let mut kept = Keep::start(&lab, "udp 4000 --clear-on-new-address");
    kept.event("retrying");
    lab.connect(&lab, "eth0", lab.client().address());
    ip(lab.client(), "route add default via 192.168.1.1");
    kept.event("mapped");
    assert_eq!(lab.router().mappings().len(), 2);
    kept.end().is(&[&["gateway 192.168.1.1:5351"], &OPENED]);
}
