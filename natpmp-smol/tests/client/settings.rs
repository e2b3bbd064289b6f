//! What a client was told, and can be asked without waiting.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};

use natpmp_smol::{Client, Driver, Error, Event, KeptMapping, LossCause, Protocol, Subscription};
use smol::stream::StreamExt;

use super::{TCP, UDP, builder, forget, gateway, keep, lease, leases, requests, run};

#[test]
fn clients_handles_drivers_and_streams_can_be_sent_and_shared() {
    fn is_shareable<T: Send + Sync + 'static>() {}
    is_shareable::<Client>();
    is_shareable::<KeptMapping>();
    is_shareable::<Error>();
    is_shareable::<Subscription<Event>>();
    fn is_sendable<T: Send + Unpin + 'static>() {}
    is_sendable::<Driver>();
    is_sendable::<Subscription<Event>>();
}

#[test]
fn the_gateway_and_the_local_address_are_told() {
    let gateway = gateway(|_| {});
    run(builder(&gateway), async |client| {
        assert_eq!(client.gateway(), gateway.address());
        assert_eq!(client.local_address(), Some(Ipv4Addr::LOCALHOST));
        assert!(client.announcement_error().is_none(), "it is no error not to listen");
        assert!(format!("{client:?}").contains(&gateway.address().to_string()));
    });
    run(builder(&gateway).local_address(Ipv4Addr::LOCALHOST), async |client| {
        client.external_address().await.unwrap();
        assert_eq!(client.local_address(), Some(Ipv4Addr::LOCALHOST));
    });
    assert_eq!(gateway.client().map(|address| *address.ip()), Some(Ipv4Addr::LOCALHOST));
}

#[test]
fn a_socket_for_announcements_that_cannot_be_had_is_said_and_is_not_the_end() {
    let gateway = gateway(|_| {});
    let holder = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let SocketAddr::V4(taken) = holder.local_addr().unwrap() else { panic!("of IPv4") };
    for (address, kind) in [
        (taken, std::io::ErrorKind::AddrInUse),
        (SocketAddrV4::new(NOBODY, 5350), std::io::ErrorKind::AddrNotAvailable),
    ] {
        run(builder(&gateway).announcement_address(address), async |client| {
            assert_eq!(client.announcement_error().map(|error| error.kind()), Some(kind));
            client.external_address().await.unwrap();
        });
    }
}

#[test]
fn without_a_gateway_there_is_no_client() {
    let error = Client::builder().interface("no-such-if").build().map(drop).expect_err("it has no gateway");
    assert!(matches!(error, Error::Discover(_)), "{error:?}");
}

#[test]
fn what_is_kept_moves_to_another_gateway() {
    let (first, second) = (gateway(|_| {}), gateway(|_| {}));
    run(builder(&first), async |client| {
        let kept = keep(&client, &UDP).await;
        let mut events = client.events();
        forget(&first);
        client.set_gateway(second.address());
        assert_eq!(client.gateway(), second.address());
        let lost = events.find(|event| matches!(event, Event::Lost { .. })).await;
        assert!(matches!(lost, Some(Event::Lost { cause: LossCause::GatewayChanged, .. })), "{lost:?}");
        kept.wait_open(super::SOON).await.unwrap();
        assert_eq!(lease(&second, Protocol::Udp, 4_000), Some(4_000));
    });
    assert_eq!(leases(&second), 0);
    assert_eq!(requests(&first), [], "it is the second's from that moment on");
}

#[test]
fn a_changed_network_renews_what_is_kept() {
    let gateway = gateway(|_| {});
    run(builder(&gateway), async |client| {
        let _kept = keep(&client, &UDP).await;
        client.map(&TCP).await.unwrap();
        forget(&gateway);
        let mut events = client.events();
        client.network_changed();
        assert!(matches!(events.next().await, Some(Event::Renewed(mapping)) if mapping.protocol == Protocol::Udp));
        assert_eq!(requests(&gateway).len(), 1, "what is held once is not renewed");
    });
}

#[test]
fn the_mappings_that_are_held_are_told() {
    let gateway = gateway(|_| {});
    run(builder(&gateway), async |client| {
        let _kept = keep(&client, &UDP).await;
        client.map(&TCP).await.unwrap();
        let mut held: Vec<_> = client.mappings().iter().map(|held| (held.protocol, held.is_kept)).collect();
        held.sort_by_key(|held| held.1);
        assert_eq!(held, [(Protocol::Tcp, false), (Protocol::Udp, true)]);
        client.unmap_all(Protocol::Tcp).await.unwrap();
        assert_eq!(client.mappings().len(), 1);
    });
}

/// An address for documentation, which no host has.
const NOBODY: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 77);
