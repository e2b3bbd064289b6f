//! What a renewal brings.

use std::time::{Duration, Instant};

use natpmp_lab::{Lab, Protocol, echo, storm, wait_until};

use super::keeping::succeed;
use super::{Keep, NATPMP, OPENED, SOON};

/// The router has forgotten the mapping without a sign, and another client took the port.
#[test]
fn a_renewal_on_another_port_is_a_change_that_is_told_once() {
    let Some(lab) = Lab::or_skip_with(2, &[]) else { return };
    let _gateway = lab.miniupnpd().start();
    let _echo = echo(lab.client(), Protocol::Udp, 4000);
    let mut kept = Keep::open(&lab, "udp 4000 --lifetime 60 --refresh-interval 2");
    lab.router().count_requests();
    // It asks for nothing in the middle of it.
    lab.router().nft("add rule inet lab input ip saddr 192.168.1.11 udp dport 5351 drop");
    lab.router().forget_mappings();
    succeed(lab.clients()[1].command(NATPMP), "map udp 4000");
    lab.router().let_requests_through();
    let port = u16::try_from(kept.event("changed")["external_port"].as_u64().unwrap()).unwrap();
    assert_ne!(port, 4000);
    assert!(lab.leads_to_client(Protocol::Udp, port));
    assert_eq!(kept.port(), port.to_string());
    // It keeps the new one.
    kept.event("renewed");
    let asked = lab.router().requests();
    assert!(asked.all() <= 8, "{asked:?}");
    kept.end().is(&[&OPENED, &[&format!("changed {port} 11.22.33.44")]]);
}

/// Asked for two hours; the gateway gives 2 s, as `natpmp serve` can be told to.
#[test]
fn a_grant_shorter_than_asked_is_renewed_in_time_again_and_again() {
    let Some(lab) = Lab::or_skip() else { return };
    let serve = ["serve", "--internal", "lan0", "--external", "wan0", "--backend", "relay", "--max-lifetime", "2"];
    let _gateway = lab.router().host().spawn(NATPMP, &[&serve[..], &["--json"]].concat());
    let _echo = echo(lab.client(), Protocol::Tcp, 4000);
    let mut kept = Keep::open(&lab, "tcp 4000");
    lab.router().count_requests();
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(4) {
        assert!(lab.internet().reaches(Protocol::Tcp, (lab.external_address(), 4000)));
        assert_eq!(kept.port(), "4000");
        std::thread::sleep(Duration::from_millis(50));
    }
    let (asked, elapsed) = (lab.router().requests(), began.elapsed().as_secs());
    assert!((3..=elapsed + 2).contains(&asked.mappings), "{asked:?} in {elapsed} s");
    kept.event("renewed");
    kept.end().is(&[&OPENED]);
}

/// Every other request is lost, and another host of the LAN forges what it can. Announcements are checked by one question a second.
#[test]
fn losses_and_a_storm_of_forged_answers_leave_the_mapping_as_it_is() {
    let Some(lab) = Lab::or_skip_with(2, &[]) else { return };
    let _gateway = lab.miniupnpd().start();
    let _echo = echo(lab.client(), Protocol::Udp, 4000);
    let mut kept = Keep::open(&lab, "udp 4000 --lifetime 4");
    lab.router().nft("add rule inet lab input ip saddr 192.168.1.11 udp dport 5351 numgen inc mod 2 0 drop");
    lab.router().count_requests();
    let storm = storm(&lab.clients()[1], lab.client().address(), 4000);
    assert!(wait_until(SOON, || storm.sent() > 1_000));
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(5) {
        assert!(lab.leads_to_client(Protocol::Udp, 4000));
        assert_eq!(kept.port(), "4000");
        std::thread::sleep(Duration::from_millis(100));
    }
    let (asked, elapsed) = (lab.router().requests(), began.elapsed().as_secs());
    println!("{asked:?} in {elapsed} s, {} forged", storm.sent());
    drop(storm);
    // Each one may be lost and is sent again then; renewals are due every 2 s, and once because of a forged announcement.
    assert!((2..=2 * (elapsed + 3)).contains(&asked.questions), "{asked:?} in {elapsed} s");
    assert!(asked.mappings <= 2 * (elapsed / 2 + 3), "{asked:?} in {elapsed} s");
    lab.router().let_requests_through();
    kept.event("renewed");
    kept.end().is(&[&OPENED]);
}
