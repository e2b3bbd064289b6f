//! The default route moves to another router, and routers come back.

use std::net::Ipv4Addr;
use std::time::Duration;

use natpmp_lab::{Lab, Protocol, back_within, echo, wait_until};

use super::{AT_ONCE, Programs, ip};

#[test]
fn mappings_move_with_the_default_route_and_the_gateway_that_was_left_is_told() {
    let change = |lab: &Lab| ip(lab.client(), "route replace default via 192.168.2.1 dev eth1");
    mappings_move("default route replaced", change, None);
}

/// What many VPNs add: routes to the halves of all addresses, which leave the default route as it is.
#[test]
fn routes_to_the_halves_of_all_addresses_are_followed_and_so_is_their_end() {
    let halves = |lab: &Lab, verb: &str| {
        for half in ["0.0.0.0/1", "128.0.0.0/1"] {
            ip(lab.client(), &format!("route {verb} {half} via 192.168.2.1 dev eth1"));
        }
    };
    mappings_move("halves of a VPN appear", |lab| halves(lab, "add"), Some(&|lab| halves(lab, "delete")));
}

fn mappings_move(what: &str, change: impl FnOnce(&Lab), back: Option<&dyn Fn(&Lab)>) {
    let Some((lab, other)) = Lab::two_or_skip() else { return };
    let _gateways = [&lab, &other].map(|lab| lab.miniupnpd().start());
    let _echoes = [4000, 4001].map(|port| echo(lab.client(), Protocol::Udp, port));
    lab.connect(&other, "eth1", [192, 168, 2, 50].into());
    let mut programs = Programs::open(&lab);
    for lab in [&lab, &other] {
        lab.router().count_requests();
    }
    back_within(AT_ONCE, what, || change(&lab), || other.router().mappings().len() == 2);
    assert!(wait_until(AT_ONCE, || lab.router().mappings().is_empty()), "the one that was left is told");
    programs.report(|port| format!("udp {port} is not open at present"));
    programs.report(|port| format!("udp {port} is open at 11.99.0.7:{port}"));
    assert!(programs.are_reached_by(&other));
    let asked = (lab.router().requests(), other.router().requests());
    assert!(asked.0.deletions == 2 && asked.0.all() == 2, "{asked:?}");
    assert!(asked.1.mappings == 2 && asked.1.all() == 4, "{asked:?}");

    if let Some(back) = back {
        // A change may be followed 2 s after the one before.
        back_within(2 * AT_ONCE, "and back", || back(&lab), || lab.router().mappings().len() == 2);
        assert!(wait_until(AT_ONCE, || other.router().mappings().is_empty()), "the one that was left is told");
        programs.report(|port| format!("udp {port} is open at 11.22.33.44:{port}"));
        assert!(programs.are_reached_by(&lab));
    }
    let (here, there) = ("is open at 11.22.33.44:PORT", "is open at 11.99.0.7:PORT");
    let mut story = vec![here, LOST, there];
    story.extend(back.is_some().then_some([LOST, here]).into_iter().flatten());
    programs.end_after(&story);
    assert!([&lab, &other].iter().all(|lab| lab.router().mappings().is_empty()));
}

/// The router loses power, and the provider gives it another address.
#[test]
fn a_router_that_returns_with_another_external_address_is_told_of_once() {
    let Some(lab) = Lab::or_skip() else { return };
    let mut gateway = lab.miniupnpd().start();
    let _echoes = [4000, 4001].map(|port| echo(lab.client(), Protocol::Udp, port));
    let mut programs = Programs::open(&lab);
    // Less than 2 s of epoch could be the rounding of two clocks.
    std::thread::sleep(Duration::from_secs(3));
    gateway.crash();
    lab.router().forget_mappings();
    lab.router().change_external_address(Ipv4Addr::new(11, 99, 0, 7));
    let is_back = || lab.router().mappings().len() == 2;
    back_within(Duration::from_secs(6), "router returns", || gateway.start(), is_back);
    programs.report(|port| format!("udp {port} is open at 11.99.0.7:{port}"));
    assert!(programs.are_reached_by(&lab));
    programs.end_after(&["is open at 11.22.33.44:PORT", LOST, "is open at 11.99.0.7:PORT"]);
}

const LOST: &str = "is not open at present";
