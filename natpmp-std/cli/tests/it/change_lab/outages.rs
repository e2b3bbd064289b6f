//! The gateway refuses, is silent or cannot be reached for long, and is back.

use std::time::Duration;

use natpmp_lab::{Lab, Protocol, back_within, echo, wait_until};
use natpmp_testkit::gateway::{Gateway, Grant, Served};

use super::{AT_ONCE, Keep, OPENED, SOON, faulty, ip};

#[test]
fn a_long_silence_ends_within_one_pause() {
    an_outage_that_nobody_tells_of_ends_within_one_pause("silence", "drop");
}

#[test]
fn hosts_that_are_said_to_be_unreachable_are_asked_again_within_one_pause() {
    an_outage_that_nobody_tells_of_ends_within_one_pause("host unreachable", "reject with icmp type host-unreachable");
}

#[test]
fn a_firewall_that_prohibits_requests_is_tried_again_within_one_pause() {
    an_outage_that_nobody_tells_of_ends_within_one_pause(
        "administratively prohibited",
        "reject with icmp type admin-prohibited",
    );
}

/// The lease ends meanwhile. After two failures the pause is 8 s at most, and after three 16 s.
fn an_outage_that_nobody_tells_of_ends_within_one_pause(what: &str, verdict: &str) {
    let Some(lab) = Lab::or_skip() else { return };
    let _gateway = lab.miniupnpd().start();
    let _echo = echo(lab.client(), Protocol::Udp, 4000);
    let mut kept = Keep::open(&lab, "udp 4000 --lifetime 2 --timeout 0.5");
    lab.router().count_requests();
    lab.router().nft(&format!("add rule inet lab input iifname lan0 udp dport 5351 {verdict}"));
    assert!(wait_until(SOON, || lab.router().mappings().is_empty()));
    assert!(
        wait_until(AT_ONCE, || kept.port().is_empty()),
        "the file is not behind the router by more than its clock's step"
    );
    for _ in 0..2 {
        kept.event("retrying");
    }
    let asked = lab.router().requests();
    assert!(asked.all() <= 12, "{asked:?}");
    back_within(
        Duration::from_secs(9),
        what,
        || lab.router().let_requests_through(),
        || !lab.router().mappings().is_empty(),
    );
    kept.event("mapped");
    assert!(lab.leads_to_client(Protocol::Udp, 4000));
    kept.end().is(&[&OPENED, &["lost", "mapped 4000 11.22.33.44"]]);
}

#[test]
fn a_gateway_that_refused_for_long_is_asked_again_within_one_pause() {
    outlives("refusals", |gateway, is_broken| gateway.faults.refuse_map = is_broken.then_some(2));
}

#[test]
fn a_gateway_that_granted_nothing_for_long_is_asked_again_within_one_pause() {
    outlives("grants of nothing", |gateway, is_broken| {
        gateway.faults.grant = if is_broken { Grant::Exactly(0) } else { Grant::Asked };
    });
}

/// The gateway answers, and does not grant, until the lease has ended and an attempt after that has failed. Before the next one, the third
/// or the fourth, the pause is 8 s at most.
fn outlives(what: &str, set_broken: fn(&mut Gateway, bool)) {
    let Some(lab) = Lab::or_skip() else { return };
    let gateway = faulty(&lab, Gateway::new());
    let mut kept = Keep::open(&lab, "udp 4000 --lifetime 2 --timeout 0.5");
    lab.router().count_requests();
    gateway.with(|gateway, _| set_broken(gateway, true));
    kept.event("lost");
    kept.event("retrying");
    assert_eq!(kept.port(), "");
    let asked = lab.router().requests();
    assert!(asked.all() <= 12, "{asked:?}");
    back_within(
        Duration::from_secs(9),
        what,
        || gateway.with(|gateway, _| set_broken(gateway, false)),
        || is_open(&gateway),
    );
    kept.event("mapped");
    kept.end().is(&[&OPENED, &["lost", "mapped 4000 11.22.33.44"]]);
    assert!(!is_open(&gateway));
}

/// The system says no at once, and says when that is over.
#[test]
fn an_unreachable_route_is_waited_for() {
    let Some(lab) = Lab::or_skip() else { return };
    let _gateway = lab.miniupnpd().start();
    let _echo = echo(lab.client(), Protocol::Udp, 4000);
    let mut kept = Keep::open(&lab, "udp 4000 --lifetime 3 --timeout 0.5");
    lab.router().count_requests();
    ip(lab.client(), "route add unreachable 192.168.1.1/32");
    kept.event("lost");
    assert_eq!(kept.port(), "");
    // The next attempt is not due for 3 s.
    kept.event("retrying");
    assert_eq!(lab.router().requests().all(), 0);
    let vanish = || ip(lab.client(), "route delete unreachable 192.168.1.1/32");
    back_within(AT_ONCE, "unreachable route vanishes", vanish, || !lab.router().mappings().is_empty());
    kept.event("mapped");
    assert!(lab.leads_to_client(Protocol::Udp, 4000));
    let asked = lab.router().requests();
    assert!(asked.all() <= 4, "{asked:?}");
    kept.end().is(&[&OPENED, &["lost", "mapped 4000 11.22.33.44"]]);
}

fn is_open(gateway: &Served) -> bool {
    gateway.with(|gateway, now| !gateway.leases(now).is_empty())
}
