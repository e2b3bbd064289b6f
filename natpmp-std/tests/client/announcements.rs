//! Announcements of the gateway.

use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::time::Duration;

use natpmp_proto::wire::Request;
use natpmp_std::{Client, Event, Protocol};
use natpmp_testkit::gateway::{Announces, Gateway};

use super::{SOON, UDP, builder, client, eventually, forget, gateway, keep, lease, listening, requests};

/// C10
#[test]
fn they_are_told_as_they_come() {
    let gateway = gateway(|knobs| knobs.announces = Announces::NatPmp);
    let (client, address) = listening(&builder(&gateway));
    gateway.announce_to(address);
    let mut announcements = client.announcements();
    let epoch = gateway.with(|gateway, now| {
        gateway.announce(now);
        gateway.epoch(now)
    });
    let heard = announcements.next_timeout(SOON).unwrap();
    assert_eq!((heard.gateway, heard.external_address), (gateway.address(), Some(Gateway::EXTERNAL)));
    assert!(heard.epoch.is_some_and(|heard| (epoch..epoch + 10).contains(&heard)), "{heard:?}");
    // Nothing here depends on what it says: nobody asks.
    client.external_address().unwrap();
    assert_eq!(requests(&gateway), [Request::ExternalAddress]);
}

/// The epoch goes on as if nothing had happened; the announcement is one of PCP.
#[test]
fn one_of_pcp_is_told_and_renews_what_is_kept() {
    let gateway = gateway(|knobs| (knobs.announces, knobs.epoch_is_uptime) = (Announces::Pcp, true));
    let (client, address) = listening(&builder(&gateway));
    gateway.announce_to(address);
    let _kept = keep(&client, &UDP);
    let mut announcements = client.announcements();
    gateway.with(|gateway, now| gateway.restart(now));
    let heard = announcements.next_timeout(SOON).unwrap();
    assert_eq!((heard.gateway, heard.epoch, heard.external_address), (gateway.address(), None, None));
    eventually("it is open again", || lease(&gateway, Protocol::Udp, 4_000) == Some(4_000));
}

/// C10: from anybody else they are dropped; from the gateway's address they are worth a question, and nothing more.
#[test]
fn forged_ones_change_nothing() {
    let gateway = gateway(|_| {});
    let (client, address) = listening(&builder(&gateway));
    let kept = keep(&client, &UDP);
    client.external_address().unwrap();
    forget(&gateway);
    let before = kept.state();
    let (mut events, mut announcements) = (client.events(), client.announcements());

    // A restart and another address, as the gateway would tell of them.
    let forged = [0, 128, 0, 0, 0, 0, 0, 0, 11, 99, 0, 7];
    let stranger = UdpSocket::bind((STRANGER, 0)).unwrap();
    let impostor = UdpSocket::bind((*gateway.address().ip(), 0)).unwrap();
    for bytes in [&forged[..], &Gateway::PCP_ANNOUNCE, &[], &[0], &[0; 2], &[0xff; 64], &[0, 129, 0, 0]] {
        stranger.send_to(bytes, address).unwrap();
    }
    // What a socket has is read before the next request goes out.
    assert_eq!(client.external_address().unwrap(), Gateway::EXTERNAL);
    assert_eq!(requests(&gateway), [Request::ExternalAddress]);
    assert_eq!(announcements.next_timeout(Duration::ZERO), None);

    impostor.send_to(&forged, address).unwrap();
    let heard = announcements.next_timeout(SOON).unwrap();
    assert_eq!((heard.epoch, heard.external_address), (Some(0), Some(Ipv4Addr::new(11, 99, 0, 7))));
    eventually("the gateway is asked", || requests(&gateway).len() > 1);
    assert_eq!(client.external_address().unwrap(), Gateway::EXTERNAL);
    let after = kept.state();
    assert_eq!((after.mapping, after.external_address), (before.mapping, before.external_address));
    assert!(requests(&gateway).iter().all(|&request| request == Request::ExternalAddress));
    let told: Vec<_> = std::iter::from_fn(|| events.next_timeout(Duration::ZERO)).collect();
    assert!(told.iter().all(|&event| event == Event::ExternalAddress(Ok(Gateway::EXTERNAL))), "{told:?}");
}

/// C07, C16: from whatever port, and whatever they say.
#[test]
fn what_comes_to_the_socket_of_announcements_is_never_taken_for_an_answer() {
    let gateway = gateway(|knobs| knobs.delay = Duration::from_millis(100));
    let (client, address) = listening(&builder(&gateway));
    let mut events = client.events();
    let kept = client.keep(&UDP).unwrap();
    eventually("it is asked for", || !requests(&gateway).is_empty());
    let answer = [0, 129, 0, 0, 0, 0, 4, 0, 0x0f, 0xa0, 0x0b, 0xad, 0, 0, 0x1c, 0x20];
    UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().send_to(&answer, address).unwrap();
    assert_eq!(kept.wait_open(SOON).map(|mapping| mapping.external_port).ok(), Some(4_000));
    assert!(matches!(events.next_timeout(SOON), Some(Event::Mapped(mapping)) if mapping.external_port == 4_000));
}

#[test]
fn a_socket_that_cannot_be_had_is_said_and_is_not_the_end() {
    let gateway = gateway(|_| {});
    let holder = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let std::net::SocketAddr::V4(taken) = holder.local_addr().unwrap() else { panic!("of IPv4") };
    for (address, kind) in [
        (taken, std::io::ErrorKind::AddrInUse),
        (SocketAddrV4::new(NOBODY, 5350), std::io::ErrorKind::AddrNotAvailable),
    ] {
        let client = builder(&gateway).announcement_address(address).build().unwrap();
        assert_eq!(client.announcement_error().map(|error| error.kind()), Some(kind));
        client.external_address().unwrap();
        keep(&client, &UDP).stop().unwrap();
    }
}

#[test]
fn it_is_no_error_not_to_listen() {
    let gateway = gateway(|_| {});
    let client = client(&gateway);
    assert!(client.announcement_error().is_none());
    assert_eq!(client.announcements().next_timeout(Duration::ZERO), None);
}

/// C09: several clients on one host hear what is sent to the group, and nothing that is sent to the host itself.
#[test]
#[cfg(target_os = "linux")]
fn several_clients_of_a_host_hear_the_group() {
    let gateway = SocketAddrV4::new(Ipv4Addr::new(127, 53, 50, 1), 5351);
    let builder = Client::builder().gateway(gateway);
    // A port that nobody else has, whatever other programs do with 5350.
    let (_holder, own) = listening(&builder);
    let group = SocketAddrV4::new(Ipv4Addr::new(224, 0, 0, 1), own.port());
    let clients = [(); 2].map(|()| builder.clone().announcement_address(group).build().unwrap());
    for client in &clients {
        assert!(client.announcement_error().is_none(), "{:?}", client.announcement_error());
    }
    let mut heard = clients.each_ref().map(Client::announcements);
    let sender = UdpSocket::bind((*gateway.ip(), 0)).unwrap();
    let announcement = |epoch| [0, 128, 0, 0, 0, 0, 0, epoch, 11, 22, 33, 44];
    // Nobody listens there: it may be refused.
    let _ = sender.send_to(&announcement(1), (*gateway.ip(), own.port()));
    sender.send_to(&announcement(2), group).unwrap();
    for announcements in &mut heard {
        assert_eq!(announcements.next_timeout(SOON).and_then(|heard| heard.epoch), Some(2));
        assert_eq!(announcements.next_timeout(Duration::ZERO), None);
    }
}

/// C09: not on the wildcard address. Where another program has the port for itself, that is said.
#[test]
#[cfg(target_os = "linux")]
fn they_are_heard_on_the_address_and_port_of_the_rfc() {
    let gateway = gateway(|_| {});
    let client = Client::builder().gateway(gateway.address()).build().unwrap();
    match client.announcement_error() {
        // 224.0.0.1:5350, as the kernel lists it.
        None => assert!(std::fs::read_to_string("/proc/net/udp").unwrap().contains("010000E0:14E6")),
        Some(error) => assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse),
    }
}

/// Of this host, and not the gateway's.
const STRANGER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 66);

/// An address for documentation, which no host has.
const NOBODY: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 77);
