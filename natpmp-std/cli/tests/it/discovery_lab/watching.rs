//! Changes of links, addresses, routes and rules.

use std::time::Duration;

use natpmp_lab::{Lab, wait_until};
use natpmp_std::RouteWatch;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::{ip, network};

#[test]
fn every_change_is_told_and_nothing_else() {
    let Some(lab) = Lab::or_skip() else { return };
    let client = lab.client();
    network(client, "wlan0", "10.0.0.2/24");
    let watch = client.within(RouteWatch::open).unwrap();
    assert!(!watch.take_changes(), "nothing has happened");
    for change in [
        "route add default via 10.0.0.1 metric 600",
        "route delete default via 10.0.0.1",
        "route add default via 10.0.0.1 table 77",
        "route add unreachable 10.9.0.0/16",
        "rule add fwmark 7 table 77",
        "rule delete fwmark 7 table 77",
        "address add 192.168.1.99/24 dev eth0",
        "address delete 192.168.1.99/24 dev eth0",
        "address change 192.168.1.11/24 dev eth0 valid_lft 1000 preferred_lft 900",
        "link set wlan0 down",
        "link set wlan0 up",
        "link add usb0 type veth peer name usb1",
        "link delete usb0",
    ] {
        assert!(!is_readable(&watch), "before {change}");
        ip(client, change);
        assert!(is_readable(&watch), "{change}");
        assert!(watch.take_changes(), "{change}");
        quiet(&watch);
    }
}

#[test]
fn a_cable_that_is_pulled_out_is_told() {
    let Some(lab) = Lab::or_skip() else { return };
    let watch = lab.client().within(RouteWatch::open).unwrap();
    for state in ["down", "up"] {
        // At the other end.
        ip(lab.router().host(), &format!("link set port0 {state}"));
        // The kernel takes up to some seconds to tell.
        assert!(wait_until(SOON, || watch.take_changes()), "{state}");
        quiet(&watch);
    }
}

#[test]
fn another_host_is_not_watched() {
    let Some(lab) = Lab::or_skip() else { return };
    let watch = lab.client().within(RouteWatch::open).unwrap();
    ip(lab.internet(), "route add default via 11.22.33.44");
    assert!(!watch.take_changes());
    // Wherever it is read.
    ip(lab.client(), "route delete default");
    assert!(lab.internet().within(|| watch.take_changes()));
}

/// What comes late, of a change that was reported.
fn quiet(watch: &RouteWatch) {
    assert!(wait_until(SOON, || {
        std::thread::sleep(Duration::from_millis(20));
        !watch.take_changes()
    }));
}

fn is_readable(watch: &RouteWatch) -> bool {
    let mut descriptors = [PollFd::new(watch, PollFlags::IN)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut descriptors, Some(&now)).unwrap() == 1
}

const SOON: Duration = Duration::from_secs(10);
