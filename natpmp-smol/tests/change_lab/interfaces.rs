//! The link, the interface or the own address goes and comes back, or is another one.

use std::net::Ipv4Addr;
use std::time::Duration;

use natpmp_lab::{Lab, Protocol, Running, back_within, echo, wait_until};

use super::{AT_ONCE, Programs, SOON, ip, start};

/// The router forgets the mappings meanwhile, so that they are there only if they were asked for again.
#[test]
fn an_interface_that_was_deleted_and_made_anew_has_its_mappings_again() {
    mappings_are_back_at_once(
        "interface deleted and made anew",
        |lab| lab.disconnect("eth0"),
        |lab| {
            lab.connect(lab, "eth0", lab.client().address());
            ip(lab.client(), "route add default via 192.168.1.1");
        },
    );
}

#[test]
fn an_interface_that_was_switched_off_has_its_mappings_again_as_soon_as_it_is_on() {
    mappings_are_back_at_once(
        "interface down and up",
        |lab| ip(lab.client(), "link set eth0 down"),
        |lab| {
            ip(lab.client(), "link set eth0 up");
            ip(lab.client(), "route add default via 192.168.1.1");
        },
    );
}

fn mappings_are_back_at_once(what: &str, break_it: fn(&Lab), mend: fn(&Lab)) {
    let Some(lab) = Lab::or_skip() else { return };
    let _gateway = lab.miniupnpd().start();
    let _echoes = [4000, 4001].map(|port| echo(lab.client(), Protocol::Udp, port));
    let programs = Programs::open(&lab);
    lab.router().count_requests();
    break_it(&lab);
    lab.router().forget_mappings();
    // It is seen that it is gone.
    std::thread::sleep(Duration::from_millis(500));
    back_within(AT_ONCE, what, || mend(&lab), || lab.router().mappings().len() == 2);
    assert!(programs.are_reached_by(&lab));
    let asked = lab.router().requests();
    assert!(asked.mappings <= 2 && asked.questions <= 2, "{asked:?}");
    programs.end_after(&["is open at 11.22.33.44:PORT"]);
    assert_eq!(lab.router().mappings(), Vec::<String>::new());
}

#[test]
fn a_mapping_follows_the_own_address() {
    let Some(lab) = Lab::or_skip() else { return };
    let _gateway = lab.miniupnpd().start();
    let _echoes = [4000, 4001].map(|port| echo(lab.client(), Protocol::Udp, port));
    let mut programs = Programs::open(&lab);
    lab.router().count_requests();
    let new = Ipv4Addr::new(192, 168, 1, 60);
    let change = || {
        ip(lab.client(), "address delete 192.168.1.11/24 dev eth0");
        ip(lab.client(), &format!("address add {new}/24 dev eth0"));
        ip(lab.client(), "route add default via 192.168.1.1");
    };
    let leads_there = |mapping: &&String| mapping.contains(&format!("to {new}:400"));
    let lead_there = || lab.router().mappings().iter().filter(leads_there).count() == 2;
    back_within(AT_ONCE, "own address changed", change, lead_there);
    // The gateway has the old address' mappings still, and so the new one's are on other ports.
    for (program, port) in &mut programs.0 {
        let reported = program.line(SOON, |line| line.contains("is open at 11.22.33.44:"));
        let new: u16 = reported.rsplit(':').next().unwrap().parse().unwrap();
        assert_ne!(new, *port);
        assert!(lab.internet().reaches(Protocol::Udp, (lab.external_address(), new)), "{reported}");
    }
    let asked = lab.router().requests();
    assert!(asked.mappings == 2 && asked.questions <= 2, "{asked:?}");
}

/// It has another index and another address then.
#[test]
fn a_vpn_that_goes_and_comes_back_is_used_again_and_the_other_gateway_is_left_in_peace() {
    let Some((lab, other)) = Lab::two_or_skip() else { return };
    let _gateways = [&lab, &other].map(|lab| lab.miniupnpd().start());
    let connect = |address: &str| {
        lab.connect(&other, "vpn0", address.parse().unwrap());
        ip(lab.client(), "route add default via 192.168.2.1 dev vpn0 metric 500");
    };
    connect("192.168.2.50");
    let mut program: Running = start(lab.client(), "several_gateways", &["eth0", "vpn0"]);
    assert!(wait_until(SOON, || lab.router().mappings().len() + other.router().mappings().len() == 2));
    program.line(SOON, |line| line == "vpn0: tcp 6881 is open on port 6881");
    lab.router().count_requests();

    lab.disconnect("vpn0");
    other.router().forget_mappings();
    std::thread::sleep(Duration::from_millis(500));
    let leads_there = || other.router().mappings().iter().any(|mapping| mapping.contains("192.168.2.77:6881"));
    back_within(AT_ONCE, "VPN comes back", || connect("192.168.2.77"), leads_there);
    assert_eq!(lab.router().requests().all(), 0);
    program.end_input();
    let finished = program.finish(SOON);
    assert_eq!(finished.code, Some(0), "{finished}");
    assert!([&lab, &other].iter().all(|lab| lab.router().mappings().is_empty()), "{finished}");
}
