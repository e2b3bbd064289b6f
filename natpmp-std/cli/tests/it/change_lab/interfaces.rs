//! The link, the interface or the own address goes and comes back, or is another one.

use std::net::Ipv4Addr;

use natpmp_lab::{Lab, Protocol, back_within, echo, wait_until};

use super::{AT_ONCE, Keep, OPENED, SOON, ip};

#[test]
fn an_interface_that_was_switched_off_has_its_mapping_again_as_soon_as_it_is_on() {
    a_lease_that_ended_meanwhile_is_back_at_once(
        "interface down and up",
        |lab| ip(lab.client(), "link set eth0 down"),
        |lab| {
            ip(lab.client(), "link set eth0 up");
            // It went with the interface.
            ip(lab.client(), "route add default via 192.168.1.1");
        },
    );
}

#[test]
fn a_cable_that_was_pulled_out_has_its_mapping_again_as_soon_as_it_is_back() {
    a_lease_that_ended_meanwhile_is_back_at_once(
        "carrier lost and back",
        |lab| ip(lab.router().host(), "link set port0 down"),
        |lab| {
            ip(lab.router().host(), "link set port0 up");
            // The kernel takes up to some seconds to tell.
            assert!(wait_until(SOON, || is_up(lab)));
        },
    );
}

#[test]
fn an_interface_that_was_deleted_and_made_anew_has_its_mapping_again() {
    a_lease_that_ended_meanwhile_is_back_at_once(
        "interface deleted and made anew",
        |lab| lab.disconnect("eth0"),
        |lab| {
            lab.connect(lab, "eth0", lab.client().address());
            ip(lab.client(), "route add default via 192.168.1.1");
        },
    );
}

#[test]
fn an_own_address_that_was_removed_has_its_mapping_again_as_soon_as_it_is_back() {
    a_lease_that_ended_meanwhile_is_back_at_once(
        "own address removed and back",
        |lab| ip(lab.client(), "address delete 192.168.1.11/24 dev eth0"),
        |lab| {
            ip(lab.client(), "address add 192.168.1.11/24 dev eth0");
            ip(lab.client(), "route add default via 192.168.1.1");
        },
    );
}

#[test]
fn an_address_that_was_chosen_is_used_again_as_soon_as_it_is_back() {
    a_lease_of_these_is_back_at_once(
        "udp 4000 --lifetime 2 --timeout 0.5 --gateway 192.168.1.1 --bind 192.168.1.11",
        "chosen address removed and back",
        |lab| ip(lab.client(), "address delete 192.168.1.11/24 dev eth0"),
        |lab| {
            ip(lab.client(), "address add 192.168.1.11/24 dev eth0");
            ip(lab.client(), "route add default via 192.168.1.1");
        },
    );
}

fn a_lease_that_ended_meanwhile_is_back_at_once(what: &str, break_it: fn(&Lab), mend: fn(&Lab)) {
    a_lease_of_these_is_back_at_once("udp 4000 --lifetime 2 --timeout 0.5", what, break_it, mend);
}

/// The pause before the next attempt is 3 s and more by then: it is not what brings it back.
fn a_lease_of_these_is_back_at_once(arguments: &str, what: &str, break_it: fn(&Lab), mend: fn(&Lab)) {
    let Some(lab) = Lab::or_skip() else { return };
    let _gateway = lab.miniupnpd().start();
    let _echo = echo(lab.client(), Protocol::Udp, 4000);
    let mut kept = Keep::open(&lab, arguments);
    lab.router().count_requests();
    break_it(&lab);
    kept.event("lost");
    assert_eq!(kept.port(), "");
    assert!(wait_until(SOON, || lab.router().mappings().is_empty()));
    kept.event("retrying");
    back_within(AT_ONCE, what, || mend(&lab), || !lab.router().mappings().is_empty());
    assert!(wait_until(SOON, || kept.port() == "4000"));
    assert!(lab.leads_to_client(Protocol::Udp, 4000), "what is open leads here");
    let asked = lab.router().requests();
    assert!(asked.all() <= 8, "{asked:?}");
    kept.end().is(&[&OPENED, &["lost", "mapped 4000 11.22.33.44"]]);
}

/// The lease goes on, and nothing was lost: nobody is told of anything.
#[test]
fn an_interface_that_is_away_for_a_moment_is_no_news_to_anybody() {
    let Some(lab) = Lab::or_skip() else { return };
    let _gateway = lab.miniupnpd().start();
    let mut kept = Keep::open(&lab, "udp 4000");
    lab.router().count_requests();
    ip(lab.client(), "link set eth0 down");
    ip(lab.client(), "link set eth0 up");
    ip(lab.client(), "route add default via 192.168.1.1");
    ip(lab.client(), "address add 192.168.1.12/24 dev eth0");
    ip(lab.client(), "address delete 192.168.1.12/24 dev eth0");
    let _ = kept.program.try_event(AT_ONCE, "renewed");
    let asked = lab.router().requests();
    assert!(asked.mappings <= 1 && asked.questions <= 1, "{asked:?}");
    kept.end().is(&[&OPENED]);
}

/// The gateway has the old address' mapping still, and so the new one's is on another port.
#[test]
fn a_mapping_follows_the_own_address() {
    let Some(lab) = Lab::or_skip() else { return };
    let _gateway = lab.miniupnpd().start();
    let _echo = echo(lab.client(), Protocol::Udp, 4000);
    let mut kept = Keep::open(&lab, "udp 4000");
    lab.router().count_requests();
    let new = Ipv4Addr::new(192, 168, 1, 60);
    let change = || {
        ip(lab.client(), "address delete 192.168.1.11/24 dev eth0");
        ip(lab.client(), &format!("address add {new}/24 dev eth0"));
        ip(lab.client(), "route add default via 192.168.1.1");
    };
    let leads_there = || lab.router().mappings().iter().any(|mapping| mapping.contains(&format!("to {new}:4000")));
    back_within(AT_ONCE, "own address changed", change, leads_there);
    let port = kept.event("changed")["external_port"].as_u64().unwrap();
    let target = (lab.external_address(), u16::try_from(port).unwrap());
    assert!(lab.internet().reaches(Protocol::Udp, target), "packets come to the new address");
    assert_eq!(kept.port(), port.to_string());
    let asked = lab.router().requests();
    assert!(asked.all() <= 3, "{asked:?}");
    kept.end().is(&[&OPENED, &[&format!("changed {port} 11.22.33.44")]]);
}

fn is_up(lab: &Lab) -> bool {
    let output = lab.client().command("ip").args(["link", "show", "eth0"]).output().unwrap();
    String::from_utf8_lossy(&output.stdout).contains("state UP")
}
