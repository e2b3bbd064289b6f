//! The default route moves to another router.

use natpmp_lab::{Lab, Protocol, back_within, echo, wait_until};

use super::{AT_ONCE, Keep, OPENED, SOON, ip};

#[test]
fn a_mapping_moves_with_the_default_route_when_it_is_replaced() {
    a_mapping_moves_with_the_default_route(
        "default route replaced",
        |_| {},
        |lab| ip(lab.client(), "route replace default via 192.168.2.1 dev eth1"),
    );
}

#[test]
fn a_mapping_moves_with_the_default_route_when_another_metric_is_the_lowest() {
    a_mapping_moves_with_the_default_route(
        "metrics changed",
        |lab| {
            ip(lab.client(), "route add default via 192.168.1.1 metric 100");
            ip(lab.client(), "route delete default metric 0");
            ip(lab.client(), "route add default via 192.168.2.1 dev eth1 metric 200");
        },
        |lab| {
            ip(lab.client(), "route add default via 192.168.2.1 dev eth1 metric 50");
            ip(lab.client(), "route delete default metric 200");
        },
    );
}

fn a_mapping_moves_with_the_default_route(what: &str, prepare: fn(&Lab), change: fn(&Lab)) {
    let Some((lab, other)) = two_uplinks() else { return };
    let _gateways = [&lab, &other].map(|lab| lab.miniupnpd().start());
    let _echo = echo(lab.client(), Protocol::Udp, 4000);
    prepare(&lab);
    let mut kept = Keep::open(&lab, "udp 4000");
    [&lab, &other].into_iter().for_each(|lab| lab.router().count_requests());
    assert!(lab.leads_to_client(Protocol::Udp, 4000));

    let is_there = || !other.router().mappings().is_empty();
    back_within(AT_ONCE, what, || change(&lab), is_there);
    assert!(wait_until(AT_ONCE, || lab.router().mappings().is_empty()), "the previous gateway has none left");
    kept.event("mapped");
    assert!(other.internet().reaches(Protocol::Udp, (other.external_address(), 4000)));
    let asked = (lab.router().requests(), other.router().requests());
    assert!(asked.0.deletions == 1 && asked.0.all() == 1, "{asked:?}");
    assert!(asked.1.mappings == 1 && asked.1.all() == 2, "{asked:?}");

    kept.end().is(&[&OPENED, &MOVED]);
    assert!(other.router().mappings().is_empty());
}

/// There and back again, faster than anybody looks.
#[test]
fn a_default_route_that_flaps_causes_no_flood_and_ends_at_the_right_gateway() {
    let Some((lab, other)) = two_uplinks() else { return };
    let _gateways = [&lab, &other].map(|lab| lab.miniupnpd().start());
    let kept = Keep::open(&lab, "udp 4000");
    [&lab, &other].into_iter().for_each(|lab| lab.router().count_requests());
    for _ in 0..20 {
        ip(lab.client(), "route replace default via 192.168.2.1 dev eth1");
        std::thread::sleep(std::time::Duration::from_millis(25));
        ip(lab.client(), "route replace default via 192.168.1.1 dev eth0");
        std::thread::sleep(std::time::Duration::from_millis(25));
    }
    ip(lab.client(), "route replace default via 192.168.2.1 dev eth1");
    let is_there = || lab.router().mappings().is_empty() && other.router().mappings().len() == 1;
    assert!(wait_until(SOON, is_there));
    let asked = lab.router().requests().all() + other.router().requests().all();
    assert!(asked <= 12, "{asked}");
    assert_eq!(kept.port(), "4000");
    let story = kept.end();
    assert!((1..=3).contains(&story.count("gateway")), "{story:?}");
    assert!(other.router().mappings().is_empty());
}

#[test]
fn a_gateway_that_was_given_stays_wherever_the_default_route_goes() {
    let Some((lab, other)) = two_uplinks() else { return };
    let _gateways = [&lab, &other].map(|lab| lab.miniupnpd().start());
    let kept = Keep::open(&lab, "udp 4000 --gateway 192.168.1.1");
    [&lab, &other].into_iter().for_each(|lab| lab.router().count_requests());
    ip(lab.client(), "route replace default via 192.168.2.1 dev eth1");
    std::thread::sleep(AT_ONCE);
    assert_eq!(lab.router().requests().all() + other.router().requests().all(), 0, "nothing has changed");
    assert_eq!(lab.router().mappings().len(), 1);
    kept.end().is(&[&OPENED]);
    assert!(lab.router().mappings().is_empty());
}

/// As at the home of a friend: the router has the same address, and so has this host.
#[test]
fn another_router_with_the_same_address_is_asked_as_well() {
    let (Some(lab), Some(other)) = (Lab::or_skip(), Lab::or_skip()) else { return };
    other.router().change_external_address([11, 99, 0, 7].into());
    let _gateways = [&lab, &other].map(|lab| lab.miniupnpd().start());
    let _echo = echo(lab.client(), Protocol::Udp, 4000);
    let mut kept = Keep::open(&lab, "udp 4000");
    lab.disconnect("eth0");
    let arrive = || {
        lab.connect(&other, "eth0", lab.client().address());
        ip(lab.client(), "route add default via 192.168.1.1");
    };
    back_within(AT_ONCE, "another router of the same address", arrive, || !other.router().mappings().is_empty());
    kept.event("external-address");
    assert!(other.internet().reaches(Protocol::Udp, (other.external_address(), 4000)));
    kept.end().is(&[&OPENED, &["external-address 11.99.0.7"]]);
    assert!(other.router().mappings().is_empty());
}

/// The first lab's client is in both networks; its default route leads to the first router.
fn two_uplinks() -> Option<(Lab, Lab)> {
    let (lab, other) = Lab::two_or_skip()?;
    lab.connect(&other, "eth1", [192, 168, 2, 50].into());
    Some((lab, other))
}

pub(crate) const MOVED: [&str; 4] =
    ["gateway 192.168.2.1:5351", "lost", "external-address 11.99.0.7", "mapped 4000 11.99.0.7"];
pub(crate) const RETURNED: [&str; 4] =
    ["gateway 192.168.1.1:5351", "lost", "external-address 11.22.33.44", "mapped 4000 11.22.33.44"];
