//! What an attacker cannot do to a client, on its link, off it, and on the internet side.

use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::time::Duration;

use natpmp_lab::{GATEWAY, Host, Lab, Protocol, echo, forge_port_unreachable, wait_until};
use natpmp_proto::wire::Response;

use super::{SOON, keep, start};

/// The firewall lets everything in, and the internet knows the way: still, no router takes in what has its own address.
#[test]
fn what_the_internet_side_forges_in_the_name_of_the_gateway_never_arrives() {
    let Some(lab) = Lab::or_skip() else { return };
    let _gateway = lab.miniupnpd().start();
    lab.router().nft("insert rule inet filter forward accept");
    lab.internet().ip(&["route", "add", "192.168.1.0/24", "via", &lab.external_address().to_string()]);
    let ear = lab.client().within(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 4_444)).unwrap());
    ear.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    let to = SocketAddrV4::new(lab.client().address(), 4_444);
    let forged = Response::ExternalAddress { epoch: 0, address: [6, 6, 6, 6].into() }.encode();
    send(lab.internet(), lab.internet().address(), to, &forged);
    assert!(ear.recv(&mut [0; 64]).is_ok(), "in its own name it arrives");
    for _ in 0..20 {
        send(lab.internet(), *GATEWAY.ip(), to, &forged);
    }
    assert!(ear.recv(&mut [0; 64]).is_err(), "in the gateway's it does not");
}

/// An announcement is for the link: no router passes it on.
#[test]
fn announcements_of_the_internet_side_are_not_heard() {
    let Some(lab) = Lab::or_skip() else { return };
    let gateway = lab.miniupnpd().start();
    lab.router().nft("insert rule inet filter forward accept");
    let mut watch = start(lab.client(), &["watch"]);
    let listens = || lab.client().within(|| std::fs::read_to_string("/proc/thread-self/net/udp").unwrap());
    assert!(wait_until(SOON, || listens().contains(":14E6 ")), "port 5350");
    let forged = Response::ExternalAddress { epoch: 0, address: [6, 6, 6, 6].into() }.encode();
    lab.internet().ip(&["route", "add", "224.0.0.0/4", "dev", "eth0"]);
    for from in [lab.internet().address(), *GATEWAY.ip()] {
        for _ in 0..20 {
            send(lab.internet(), from, SocketAddrV4::new([224, 0, 0, 1].into(), 5350), &forged);
        }
    }
    gateway.announce();
    let reported = watch.event(SOON, "announcement");
    assert_ne!(reported["external_address"], "6.6.6.6", "the gateway's is the first that is heard");
}

/// A host of the link may say that nobody listens at the gateway, and hit the port. A mapping that is open stays, and is renewed.
#[test]
fn forged_port_unreachable_neither_closes_a_mapping_nor_keeps_it_from_being_renewed() {
    let Some(lab) = Lab::or_skip_with(2, &[]) else { return };
    let _gateway = lab.miniupnpd().start();
    let _echo = echo(lab.client(), Protocol::Udp, 4000);
    let (mut kept, _) = keep(lab.client(), &["udp", "4000", "--lifetime", "6", "--refresh-interval", "1"]);
    for _ in 0..5 {
        forge_port_unreachable(&lab.clients()[1], lab.client().address());
        assert!(lab.leads_to_client(Protocol::Udp, 4000));
    }
    // Longer than a lease.
    for _ in 0..7 {
        kept.event(SOON, "renewed");
    }
    assert!(lab.leads_to_client(Protocol::Udp, 4000));
    kept.interrupt();
    let finished = kept.finish(SOON);
    assert_eq!(finished.events("lost").count(), 0, "{finished}");
}

/// The forgery works at all: a request that no answer ends is ended by it, and that is what it is told as.
#[test]
fn forged_port_unreachable_is_a_failure_that_a_one_shot_command_reports() {
    let Some(lab) = Lab::or_skip_with(2, &[]) else { return };
    lab.router().drop_requests();
    let asking = start(lab.client(), &["external-address", "--timeout", "30"]);
    // It has to be in flight.
    let is_asking = || lab.client().within(|| std::fs::read_to_string("/proc/thread-self/net/udp").unwrap());
    assert!(wait_until(SOON, || is_asking().contains(":14E7 ")), "{}", is_asking());
    forge_port_unreachable(&lab.clients()[1], lab.client().address());
    let finished = asking.finish(SOON);
    assert_eq!(finished.code, Some(3), "{finished}");
    assert!(super::error(&finished).contains("port"), "{finished}");
}

/// From an address that the host takes for it.
fn send(host: &Host, from: Ipv4Addr, to: SocketAddrV4, payload: &[u8]) {
    let is_forged = from != host.address();
    let with_length = format!("{from}/32");
    if is_forged {
        host.ip(&["address", "add", &with_length, "dev", "eth0"]);
    }
    host.within(|| UdpSocket::bind((from, 0)).unwrap().send_to(payload, to)).unwrap();
    if is_forged {
        host.ip(&["address", "delete", &with_length, "dev", "eth0"]);
    }
}
