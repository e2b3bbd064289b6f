//! A VPN comes and goes.

use std::net::Ipv4Addr;

use natpmp_lab::{Lab, Protocol, back_within, echo, wait_until};

use super::gateways::{MOVED, RETURNED};
use super::{AT_ONCE, Keep, OPENED, SOON, ip};

/// What many VPNs add: routes to the halves of all addresses, which leave the default route as it is.
#[test]
fn routes_to_the_halves_of_all_addresses_are_followed_and_so_is_their_end() {
    let Some((lab, other)) = Lab::two_or_skip() else { return };
    let _gateways = [&lab, &other].map(|lab| lab.miniupnpd().start());
    let _echo = echo(lab.client(), Protocol::Udp, 4000);
    let mut kept = Keep::open(&lab, "udp 4000");
    lab.connect(&other, "vpn0", [192, 168, 2, 50].into());
    let halves = |verb: &str| {
        for half in ["0.0.0.0/1", "128.0.0.0/1"] {
            ip(lab.client(), &format!("route {verb} {half} via 192.168.2.1 dev vpn0"));
        }
    };
    [&lab, &other].into_iter().for_each(|lab| lab.router().count_requests());
    back_within(AT_ONCE, "halves of a VPN appear", || halves("add"), || !other.router().mappings().is_empty());
    assert!(other.internet().reaches(Protocol::Udp, (other.external_address(), 4000)));
    assert!(wait_until(AT_ONCE, || lab.router().mappings().is_empty()), "the previous gateway has none left");
    kept.event("mapped");
    // A change may be followed 2 s after the one before.
    back_within(2 * AT_ONCE, "halves of a VPN vanish", || halves("delete"), || !lab.router().mappings().is_empty());
    assert!(wait_until(AT_ONCE, || other.router().mappings().is_empty()), "the previous gateway has none left");
    kept.event("mapped");
    let asked = (lab.router().requests(), other.router().requests());
    assert!(asked.0.all() <= 3 && asked.1.all() <= 3, "{asked:?}");
    assert!(lab.leads_to_client(Protocol::Udp, 4000));
    kept.end().is(&[&OPENED, &MOVED, &RETURNED]);
}

/// What is deleted with its interface cannot be told, and nothing is sent elsewhere in its stead.
#[test]
fn a_vpn_that_breaks_off_leaves_the_gateway_there_was_before() {
    let Some((lab, other)) = Lab::two_or_skip() else { return };
    let _gateways = [&lab, &other].map(|lab| lab.miniupnpd().start());
    lab.connect(&other, "vpn0", [192, 168, 2, 50].into());
    ip(lab.client(), "route add 0.0.0.0/1 via 192.168.2.1 dev vpn0");
    ip(lab.client(), "route add 128.0.0.0/1 via 192.168.2.1 dev vpn0");
    let mut kept = Keep::open(&lab, "udp 4000");
    assert_eq!(other.router().mappings().len(), 1);
    lab.router().count_requests();
    back_within(AT_ONCE, "VPN breaks off", || lab.disconnect("vpn0"), || !lab.router().mappings().is_empty());
    kept.event("mapped");
    let asked = lab.router().requests();
    assert!(asked.deletions == 0 && asked.all() == 2, "{asked:?}");
    kept.end().is(&[&["external-address 11.99.0.7", "mapped 4000 11.99.0.7"], &RETURNED]);
}

#[test]
fn a_vpn_that_is_waited_for_by_name_is_used_as_soon_as_it_is_there_and_whenever_it_comes_back() {
    a_vpn_is_used_whenever_it_is_there("tcp 4000 --interface vpn0 --lifetime 2 --timeout 0.5", true);
}

#[test]
fn a_vpn_whose_gateway_is_given_is_used_as_soon_as_it_is_there_and_whenever_it_comes_back() {
    let arguments = "tcp 4000 --interface vpn0 --gateway 192.168.2.1 --lifetime 2 --timeout 0.5";
    a_vpn_is_used_whenever_it_is_there(arguments, false);
}

fn a_vpn_is_used_whenever_it_is_there(arguments: &str, is_discovered: bool) {
    let Some((lab, other)) = Lab::two_or_skip() else { return };
    let _gateway = other.miniupnpd().start();
    let _echo = echo(lab.client(), Protocol::Tcp, 4000);
    let mut kept = Keep::start(&lab, arguments);
    kept.event("retrying");
    if !is_discovered {
        // It is tried and told again; the next attempt is not due for 3 s then.
        kept.event("retrying");
    }
    lab.router().count_requests();
    other.router().count_requests();

    let first = Ipv4Addr::new(192, 168, 2, 50);
    let limit = AT_ONCE;
    back_within(limit, "VPN appears", || connect(&lab, &other, first), || is_mapped_to(&other, first));
    kept.event("mapped");
    let target = (other.external_address(), 4000);
    assert!(other.internet().reaches(Protocol::Tcp, target));

    lab.disconnect("vpn0");
    ip(lab.client(), &format!("rule delete from {first}"));
    kept.event("lost");
    assert_eq!(kept.port(), "");
    kept.event("retrying");
    assert!(wait_until(SOON, || other.router().mappings().is_empty()));
    let second = Ipv4Addr::new(192, 168, 2, 77);
    back_within(limit, "VPN comes back", || connect(&lab, &other, second), || is_mapped_to(&other, second));
    kept.event("mapped");
    assert!(other.internet().reaches(Protocol::Tcp, target));

    assert_eq!(lab.router().requests().all(), 0, "nothing of this concerns the other gateway");
    let asked = other.router().requests();
    assert!(asked.all() <= 12, "{asked:?}");
    let story = kept.end();
    let found: &[&str] = if is_discovered { &["gateway 192.168.2.1:5351"] } else { &[] };
    let opened = ["external-address 11.99.0.7", "mapped 4000 11.99.0.7"];
    story.is(&[found, &opened, &["lost", "mapped 4000 11.99.0.7"]]);
    assert_eq!(story.notes("panicked"), 0);
}

/// Other packets leave by the default route still, but what came in by the VPN is answered there.
fn connect(lab: &Lab, other: &Lab, address: Ipv4Addr) {
    ip(lab.client(), &format!("rule add from {address} table 2"));
    lab.connect(other, "vpn0", address);
    ip(lab.client(), "route add default via 192.168.2.1 dev vpn0 table 2");
}

fn is_mapped_to(lab: &Lab, address: Ipv4Addr) -> bool {
    lab.router().mappings().iter().any(|mapping| mapping.contains(&format!("to {address}:4000")))
}
