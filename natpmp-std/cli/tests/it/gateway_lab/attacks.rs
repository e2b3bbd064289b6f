//! What a host of the link, and one of another network, cannot make the gateway do.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};

use natpmp_lab::{GATEWAY, Host, wait_until};

use super::SOON;
use super::packets::{EXTERNAL_ADDRESS, ask, map_udp};
use super::setup::{Nat, Setup};

with_each_nat!(a_forged_source_opens_no_port_of_a_host_that_is_not_on_the_link);

/// The kernel is told to let them all in, as some do by default.
fn a_forged_source_opens_no_port_of_a_host_that_is_not_on_the_link(nat: Nat) {
    let Some(mut setup) = Setup::empty_or_skip(nat, 1, &[]) else { return };
    let router = setup.lab.router().host().clone();
    router.ip(&["link", "add", "dmz0", "type", "veth", "peer", "name", "dmz1"]);
    router.ip(&["address", "add", "10.99.0.1/24", "dev", "dmz0"]);
    ["dmz0", "dmz1"].iter().for_each(|link| router.ip(&["link", "set", link, "up"]));
    let_all_in(&router);
    setup.start(&[]);
    let own = [*GATEWAY.ip(), setup.lab.external_address(), Ipv4Addr::new(10, 99, 0, 1), Ipv4Addr::LOCALHOST];
    let others = [[10, 99, 0, 5], [11, 22, 33, 1], [8, 8, 8, 8]].map(Ipv4Addr::from);
    for (port, forged) in (7_000..).zip(others.into_iter().chain(own)) {
        send_from(setup.client(0), forged, &map_udp(22, port, 600));
    }
    // What is sent later is read later.
    assert!(ask(setup.client(0), GATEWAY, &map_udp(4000, 5000, 600)).is_some());
    assert!(ask(setup.client(0), SECOND, &map_udp(4001, 5001, 600)).is_some());
    let client = setup.client(0).address();
    assert_eq!(opened(&mut setup, 5001), [client.to_string()].into());

    // One whose network is behind another router of the link is where it says.
    let routed = Ipv4Addr::new(192, 168, 7, 5);
    router.ip(&["route", "add", "192.168.7.0/24", "via", &client.to_string()]);
    send_from(setup.client(0), routed, &map_udp(22, 7_022, 600));
    assert_eq!(opened(&mut setup, 7_022), [routed.to_string()].into());
}

/// What was a neighbour's when the gateway started.
#[test]
fn a_forged_source_opens_no_port_of_an_address_that_the_box_has_gained_since() {
    let Some(mut setup) = Setup::empty_or_skip(Nat::Relay, 1, &[]) else { return };
    let router = setup.lab.router().host().clone();
    let_all_in(&router);
    setup.start(&[]);
    let gained = Ipv4Addr::new(192, 168, 1, 77);
    send_from(setup.client(0), gained, &map_udp(22, 7_000, 600));
    assert_eq!(opened(&mut setup, 7_000), [gained.to_string()].into(), "a neighbour's so far");

    router.ip(&["address", "add", &format!("{gained}/24"), "dev", "lan0"]);
    let is_seen = || ask(setup.client(0), SocketAddrV4::new(gained, 5351), EXTERNAL_ADDRESS).is_some();
    assert!(wait_until(SOON, is_seen), "it has not looked: {:?}", setup.serving().complaints());
    send_from(setup.client(0), gained, &map_udp(23, 7_001, 600));
    // What is sent later is read later.
    assert!(ask(setup.client(0), SECOND, &map_udp(4001, 5001, 600)).is_some());
    assert_eq!(opened(&mut setup, 5001), [setup.client(0).address().to_string()].into());
}

/// Whatever it comes from.
fn let_all_in(router: &Host) {
    for (switch, value) in [("rp_filter", "0"), ("accept_local", "1"), ("route_localnet", "1")] {
        for interface in ["all", "lan0"] {
            let path = format!("/proc/sys/net/ipv4/conf/{interface}/{switch}");
            router.within(|| std::fs::write(path, value)).unwrap();
        }
    }
    // Another address of the gateway, which can be asked in the name of the first one.
    router.ip(&["address", "add", "192.168.1.3/24", "dev", "lan0"]);
}

/// Whose ports were opened, up to this one.
fn opened(setup: &mut Setup, last: u16) -> BTreeSet<String> {
    let mut clients = BTreeSet::new();
    loop {
        let reported = setup.serving().event(SOON, "mapped");
        clients.insert(reported["internal_address"].as_str().unwrap().to_owned());
        if reported["external_port"] == last {
            return clients;
        }
    }
}

/// Takes the address, and says so to nobody.
fn send_from(host: &Host, address: Ipv4Addr, request: &[u8]) {
    for (switch, value) in [("arp_ignore", "8"), ("arp_announce", "2"), ("route_localnet", "1")] {
        host.within(|| std::fs::write(format!("/proc/sys/net/ipv4/conf/all/{switch}"), value)).unwrap();
    }
    let with_length = format!("{address}/32");
    if !address.is_loopback() {
        host.ip(&["address", "add", &with_length, "dev", "eth0"]);
    }
    let sent = host.within(|| UdpSocket::bind((address, 0)).unwrap().send_to(request, SECOND));
    if !address.is_loopback() {
        host.ip(&["address", "delete", &with_length, "dev", "eth0"]);
    }
    assert!(sent.is_ok(), "{address}: {sent:?}");
}

const SECOND: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(192, 168, 1, 3), 5351);
