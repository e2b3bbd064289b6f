//! The internal interfaces: one that is made anew, addresses that come and go, and addresses with a label.

use natpmp_lab::{GATEWAY, Host, Protocol, echo, wait_until};

use super::SOON;
use super::packets::{EXTERNAL_ADDRESS, ask, map_udp};
use super::setup::{Nat, Setup};

/// The new one has the name and the address of the old one, and is another one all the same.
#[test]
fn an_internal_interface_that_is_made_anew_is_heard_again() {
    for internal in ["lan0".to_owned(), GATEWAY.ip().to_string()] {
        let Some(mut setup) = Setup::empty_or_skip(Nat::Relay, 1, &[]) else { return };
        setup.start_between(&internal, "wan0", &[]);
        let router = setup.lab.router().host().clone();
        make_lan_anew(&router);
        assert!(wait_until(SOON, || is_answered(&setup)), "by {internal}: {:?}", setup.serving().complaints());

        // Away for longer than it takes to be seen.
        let before = setup.serving().complaints().len();
        router.ip(&["link", "delete", "lan0"]);
        assert!(wait_until(SOON, || setup.serving().complaints().len() > before), "by {internal}: it says so");
        make_lan(&router);
        assert!(wait_until(SOON, || is_answered(&setup)), "by {internal}: {:?}", setup.serving().complaints());
        let complaints = setup.serving().complaints();
        assert!(complaints[before].contains("192.168.1.1"), "{complaints:?}");
        assert_eq!(complaints.len(), before + 1, "once: {complaints:?}");
    }
}

#[test]
fn an_internal_address_that_was_away_is_served_again_and_mappings_stand_meanwhile() {
    let Some(mut setup) = Setup::or_skip(Nat::Relay, 1, &[]) else { return };
    let _echo = echo(setup.client(0), Protocol::Udp, 4000);
    assert!(ask(setup.client(0), GATEWAY, &map_udp(4000, 5000, 600)).is_some());
    let router = setup.lab.router().host().clone();
    router.ip(&["address", "delete", "192.168.1.1/24", "dev", "lan0"]);
    assert!(wait_until(SOON, || !setup.serving().complaints().is_empty()), "it says so");
    router.ip(&["address", "add", "192.168.1.1/24", "dev", "lan0"]);
    assert!(wait_until(SOON, || is_answered(&setup)), "{:?}", setup.serving().complaints());
    assert!(setup.leads_to(0, Protocol::Udp, 5000));
}

#[test]
fn a_new_address_of_an_internal_interface_is_served_and_one_that_it_loses_is_not() {
    let Some(setup) = Setup::or_skip(Nat::Relay, 1, &[]) else { return };
    let second = "192.168.1.2:5351".parse().unwrap();
    let router = setup.lab.router().host();
    let is_second_answered = || ask(setup.client(0), second, EXTERNAL_ADDRESS).is_some();
    router.ip(&["address", "add", "192.168.1.2/24", "dev", "lan0"]);
    assert!(wait_until(SOON, is_second_answered));
    assert!(is_answered(&setup), "the first one too");
    router.ip(&["address", "delete", "192.168.1.2/24", "dev", "lan0"]);
    assert!(wait_until(SOON, || !is_second_answered()));
    assert!(is_answered(&setup), "the first one still");
}

/// Scripts of old give a second address a name of its own, such as `lan0:1`.
#[test]
fn addresses_with_a_label_belong_to_their_interface() {
    let Some(mut setup) = Setup::empty_or_skip(Nat::Relay, 1, &[]) else { return };
    let router = setup.lab.router().host().clone();
    for (interface, address) in [("lan0", "192.168.1.1/24"), ("wan0", "11.22.33.44/24")] {
        router.ip(&["address", "flush", "dev", interface, "scope", "global"]);
        router.ip(&["address", "add", address, "dev", interface, "label", &format!("{interface}:1")]);
    }
    for internal in ["lan0", "192.168.1.1"] {
        setup.start_between(internal, "wan0", &[]);
        let answer = ask(setup.client(0), GATEWAY, EXTERNAL_ADDRESS).unwrap();
        assert_eq!((&answer[..4], &answer[8..]), (&[0, 128, 0, 0][..], &[11, 22, 33, 44][..]), "by {internal}");
        setup.stop();
    }
}

fn is_answered(setup: &Setup) -> bool {
    ask(setup.client(0), GATEWAY, EXTERNAL_ADDRESS).is_some()
}

/// At once, so that nobody sees that it was away.
fn make_lan_anew(router: &Host) {
    router.ip(&["link", "delete", "lan0"]);
    make_lan(router);
}

fn make_lan(router: &Host) {
    router.ip(&["link", "add", "lan0", "type", "bridge", "stp_state", "0", "forward_delay", "0"]);
    router.ip(&["link", "set", "port0", "master", "lan0"]);
    router.ip(&["link", "set", "lan0", "up"]);
    router.ip(&["address", "add", "192.168.1.1/24", "dev", "lan0"]);
}
