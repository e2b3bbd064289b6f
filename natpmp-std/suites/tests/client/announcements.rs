//! Announcements of the gateway.

use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::time::Duration;

use natpmp_proto::wire::Request;
use natpmp_std::{Event, Protocol};
use natpmp_suites::{
    Adapter, Announcements, ClientSetup, ClientUnderTest, KeptUnderTest, SubscriptionUnderTest, listening,
    on_each_adapter,
};
use natpmp_testkit::gateway::{Announces, Gateway};
use natpmp_testkit::waiting::{SOON, eventually};

use super::{NOBODY, UDP, client, gateway, keep, let_it_wait, setup, start};

on_each_adapter!(
    they_are_told_as_they_come,
    one_of_pcp_is_told_and_renews_what_is_kept,
    forged_ones_change_nothing,
    what_comes_to_the_socket_of_announcements_is_never_taken_for_an_answer,
    a_socket_that_cannot_be_had_is_said_and_is_not_the_end,
    it_is_no_error_not_to_listen,
    #[cfg(target_os = "linux")]
    several_clients_of_a_host_hear_the_group,
    #[cfg(target_os = "linux")]
    they_are_heard_on_the_address_and_port_of_the_rfc,
);

/// C10
fn they_are_told_as_they_come<A: Adapter>() {
    let gateway = gateway(|faults| faults.announces = Announces::NatPmp);
    let (client, address) = listening::<A::Client>(&setup(&gateway));
    gateway.announce_to(address);
    let mut announcements = client.announcements();
    for _ in 0..3 {
        let_it_wait();
        let epoch = gateway.with(|gateway, now| {
            gateway.announce(now);
            gateway.epoch(now)
        });
        let received = announcements.next_timeout(SOON).unwrap();
        assert_eq!((received.gateway, received.external_address), (gateway.address(), Some(Gateway::EXTERNAL)));
        assert!(received.epoch.is_some_and(|received| (epoch..epoch + 10).contains(&received)), "{received:?}");
    }
    // Nothing here depends on what it says: nobody asks.
    client.external_address().unwrap();
    assert_eq!(gateway.requests(), [Request::ExternalAddress]);
}

/// The epoch goes on as if nothing had happened; the announcement is one of PCP.
fn one_of_pcp_is_told_and_renews_what_is_kept<A: Adapter>() {
    let gateway = gateway(|faults| (faults.announces, faults.epoch_is_uptime) = (Announces::Pcp, true));
    let (client, address) = listening::<A::Client>(&setup(&gateway));
    gateway.announce_to(address);
    let _kept = keep(&client, &UDP);
    let mut announcements = client.announcements();
    gateway.with(|gateway, now| gateway.restart(now));
    let received = announcements.next_timeout(SOON).unwrap();
    assert_eq!((received.gateway, received.epoch, received.external_address), (gateway.address(), None, None));
    eventually("it is open again", || gateway.lease(Protocol::Udp, 4_000) == Some(4_000));
}

/// C10: from anybody else they are dropped; from the gateway's address they are worth a question, and nothing more.
fn forged_ones_change_nothing<A: Adapter>() {
    let gateway = gateway(|_| {});
    let (client, address) = listening::<A::Client>(&setup(&gateway));
    let kept = keep(&client, &UDP);
    client.external_address().unwrap();
    gateway.forget();
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
    assert_eq!(gateway.requests(), [Request::ExternalAddress]);
    assert_eq!(announcements.next_timeout(Duration::ZERO), None);

    impostor.send_to(&forged, address).unwrap();
    let received = announcements.next_timeout(SOON).unwrap();
    assert_eq!((received.epoch, received.external_address), (Some(0), Some(Ipv4Addr::new(11, 99, 0, 7))));
    eventually("the gateway is asked", || gateway.requests().len() > 1);
    assert_eq!(client.external_address().unwrap(), Gateway::EXTERNAL);
    let after = kept.state();
    assert_eq!((after.mapping, after.external_address), (before.mapping, before.external_address));
    assert!(gateway.requests().iter().all(|&request| request == Request::ExternalAddress));
    let reported: Vec<_> = std::iter::from_fn(|| events.next_timeout(Duration::ZERO)).collect();
    assert!(reported.iter().all(|&event| event == Event::ExternalAddress(Ok(Gateway::EXTERNAL))), "{reported:?}");
}

/// C07, C16: from whatever port, and whatever they say.
fn what_comes_to_the_socket_of_announcements_is_never_taken_for_an_answer<A: Adapter>() {
    let gateway = gateway(|faults| faults.delay = Duration::from_millis(100));
    let (client, address) = listening::<A::Client>(&setup(&gateway));
    let mut events = client.events();
    let kept = client.keep(&UDP).unwrap();
    eventually("it is asked for", || !gateway.requests().is_empty());
    let answer = [0, 129, 0, 0, 0, 0, 4, 0, 0x0f, 0xa0, 0x0b, 0xad, 0, 0, 0x1c, 0x20];
    UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().send_to(&answer, address).unwrap();
    assert_eq!(kept.wait_open(SOON).map(|mapping| mapping.external_port).ok(), Some(4_000));
    assert!(matches!(events.next_timeout(SOON), Some(Event::Mapped(mapping)) if mapping.external_port == 4_000));
}

fn a_socket_that_cannot_be_had_is_said_and_is_not_the_end<A: Adapter>() {
    let gateway = gateway(|_| {});
    let holder = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let std::net::SocketAddr::V4(taken) = holder.local_addr().unwrap() else { panic!("of IPv4") };
    for (address, kind) in [
        (taken, std::io::ErrorKind::AddrInUse),
        (SocketAddrV4::new(NOBODY, 5350), std::io::ErrorKind::AddrNotAvailable),
    ] {
        let client = start::<A>(ClientSetup { announcements: Announcements::At(address), ..setup(&gateway) });
        assert_eq!(client.announcement_error().map(|error| error.kind()), Some(kind));
        client.external_address().unwrap();
        keep(&client, &UDP).stop().unwrap();
    }
}

fn it_is_no_error_not_to_listen<A: Adapter>() {
    let gateway = gateway(|_| {});
    let client = client::<A>(&gateway);
    assert!(client.announcement_error().is_none());
    assert_eq!(client.announcements().next_timeout(Duration::ZERO), None);
}

/// C09: several clients on one host hear what is sent to the group, and nothing that is sent to the host itself.
#[cfg(target_os = "linux")]
fn several_clients_of_a_host_hear_the_group<A: Adapter>() {
    let gateway = SocketAddrV4::new(Ipv4Addr::new(127, 53, 50, 1), 5351);
    let setup = ClientSetup { gateway: Some(gateway), ..ClientSetup::default() };
    // A port that nobody else has, whatever other programs do with 5350.
    let (_holder, own) = listening::<A::Client>(&setup);
    let group = SocketAddrV4::new(Ipv4Addr::new(224, 0, 0, 1), own.port());
    let setup = ClientSetup { announcements: Announcements::At(group), ..setup };
    let clients = [(); 2].map(|()| start::<A>(setup.clone()));
    for client in &clients {
        assert!(client.announcement_error().is_none(), "{:?}", client.announcement_error());
    }
    let mut received = clients.each_ref().map(A::Client::announcements);
    let sender = UdpSocket::bind((*gateway.ip(), 0)).unwrap();
    let announcement = |epoch| [0, 128, 0, 0, 0, 0, 0, epoch, 11, 22, 33, 44];
    // Nobody listens there: it may be refused.
    let _ = sender.send_to(&announcement(1), (*gateway.ip(), own.port()));
    sender.send_to(&announcement(2), group).unwrap();
    for announcements in &mut received {
        assert_eq!(announcements.next_timeout(SOON).and_then(|received| received.epoch), Some(2));
        assert_eq!(announcements.next_timeout(Duration::ZERO), None);
    }
}

/// C09: not on the wildcard address. Where another program has the port for itself, that is said.
#[cfg(target_os = "linux")]
fn they_are_heard_on_the_address_and_port_of_the_rfc<A: Adapter>() {
    let gateway = gateway(|_| {});
    let client = start::<A>(ClientSetup { announcements: Announcements::AtTheGroup, ..setup(&gateway) });
    match client.announcement_error() {
        // 224.0.0.1:5350, as the kernel lists it.
        None => assert!(std::fs::read_to_string("/proc/net/udp").unwrap().contains("010000E0:14E6")),
        Some(error) => assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse),
    }
}

/// Of this host, and not the gateway's.
const STRANGER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 66);
