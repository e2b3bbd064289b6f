//! There is no network at the start.

use natpmp_lab::{Lab, Protocol, back_within, echo};

use super::{AT_ONCE, Keep, OPENED, ip};

#[test]
fn without_a_default_route_keep_says_so_once_and_maps_as_soon_as_there_is_one() {
    let Some(lab) = Lab::or_skip() else { return };
    let _gateway = lab.miniupnpd().start();
    let _echo = echo(lab.client(), Protocol::Udp, 4000);
    ip(lab.client(), "route delete default");
    lab.router().count_requests();
    let mut kept = Keep::start(&lab, "udp 4000");
    let reported = kept.event("retrying");
    assert!(reported["error"].as_str().is_some_and(|error| error.contains("default route")), "{reported}");
    // A pause of the back-off and more; a change that is none; and nothing comes of either.
    for _ in 0..2 {
        ip(lab.client(), "address add 192.168.1.99/24 dev eth0");
        std::thread::sleep(AT_ONCE / 2);
        ip(lab.client(), "address delete 192.168.1.99/24 dev eth0");
        std::thread::sleep(AT_ONCE / 2);
    }
    assert_eq!(lab.router().requests().all(), 0);
    assert_eq!(kept.port(), "");
    let appear = || ip(lab.client(), "route add default via 192.168.1.1");
    back_within(AT_ONCE, "default route appears", appear, || !lab.router().mappings().is_empty());
    kept.event("mapped");
    assert!(lab.leads_to_client(Protocol::Udp, 4000));
    let asked = lab.router().requests();
    assert!(asked.all() == 2, "{asked:?}");
    let story = kept.end();
    assert_eq!(story.count("retrying"), 1, "{story:?}");
    story.is(&[&["gateway 192.168.1.1:5351"], &OPENED]);
}

/// As at boot: the interface, its address and its route come one after the other, and not at once.
#[test]
fn a_network_that_comes_up_step_by_step_is_used_when_it_is_whole() {
    let Some(lab) = Lab::or_skip() else { return };
    let _gateway = lab.miniupnpd().start();
    lab.disconnect("eth0");
    lab.router().count_requests();
    let mut kept = Keep::start(&lab, "udp 4000");
    kept.event("retrying");
    lab.connect(&lab, "eth0", lab.client().address());
    // The DHCP client thinks.
    std::thread::sleep(AT_ONCE / 3);
    let appear = || ip(lab.client(), "route add default via 192.168.1.1");
    back_within(AT_ONCE, "network comes up", appear, || !lab.router().mappings().is_empty());
    kept.event("mapped");
    let asked = lab.router().requests();
    assert!(asked.all() == 2, "{asked:?}");
    let story = kept.end();
    assert_eq!(story.count("retrying"), 1, "{story:?}");
    story.is(&[&["gateway 192.168.1.1:5351"], &OPENED]);
}
