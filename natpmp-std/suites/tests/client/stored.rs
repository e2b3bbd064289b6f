//! Mappings as plain data: refreshed and deleted later, by this client or by another one.

use natpmp_proto::wire::Request;
use natpmp_std::{Ending, Error, Event, MapRequest, Mapping, Protocol};

use natpmp_suites::{Adapter, ClientUnderTest, KeptUnderTest, SubscriptionUnderTest, on_each_adapter};
use natpmp_testkit::waiting::SOON;

use super::{TCP, UDP, client, gateway, keep};

on_each_adapter!(
    a_mapping_of_an_earlier_client_is_refreshed_on_its_port_and_deleted,
    a_mapping_that_is_gone_from_the_gateway_is_made_again_by_its_refresh,
    a_mapping_and_a_request_are_the_same_after_being_stored,
    what_was_never_mapped_is_deleted_with_success,
    internal_port_0_is_never_deleted_by_itself,
    unmap_all_deletes_every_mapping_of_one_protocol,
);

/// C13: what is asked for again is the port that was assigned, not the one first wished for.
fn a_mapping_of_an_earlier_client_is_refreshed_on_its_port_and_deleted<A: Adapter>() {
    let gateway = gateway(|_| {});
    let taken = UDP.external_port(5_000);
    client::<A>(&gateway).map(&taken).unwrap();
    let request = MapRequest::new(Protocol::Udp, 4_001).external_port(5_000).lifetime(600);
    let stored = client::<A>(&gateway).map(&request).unwrap();
    assert_eq!(stored, Mapping { protocol: Protocol::Udp, internal_port: 4_001, external_port: 5_001, lifetime: 600 });

    gateway.forget();
    let later = client::<A>(&gateway);
    assert_eq!(later.refresh(&stored).unwrap(), stored);
    let asked =
        Request::Map { protocol: Protocol::Udp, internal_port: 4_001, suggested_external_port: 5_001, lifetime: 600 };
    assert_eq!(gateway.requests(), [asked]);
    assert_eq!(client::<A>(&gateway).delete(&stored).unwrap(), Ending::Unmapped);
    assert_eq!(gateway.lease(Protocol::Udp, 4_001), None);
    assert_eq!(gateway.lease(Protocol::Udp, 4_000), Some(5_000));
}

fn a_mapping_that_is_gone_from_the_gateway_is_made_again_by_its_refresh<A: Adapter>() {
    let gateway = gateway(|_| {});
    let client = client::<A>(&gateway);
    let stored = client.map(&UDP).unwrap();
    gateway.with(|gateway, _| gateway.drop_mappings());
    assert_eq!(client.refresh(&stored).unwrap(), stored);
    assert_eq!(gateway.lease(Protocol::Udp, 4_000), Some(4_000));
}

fn a_mapping_and_a_request_are_the_same_after_being_stored<A: Adapter>() {
    let gateway = gateway(|_| {});
    let request = UDP.external_port(5_000).lifetime(600).refresh_interval(60);
    let text = serde_json::to_string(&request).unwrap();
    assert_eq!(serde_json::from_str::<MapRequest>(&text).unwrap(), request);

    let mapping = client::<A>(&gateway).map(&request).unwrap();
    let text = serde_json::to_string(&mapping).unwrap();
    assert_eq!(text, r#"{"protocol":"udp","internal_port":4000,"external_port":5000,"lifetime":600}"#);
    let read: Mapping = serde_json::from_str(&text).unwrap();
    assert_eq!(read, mapping);
    assert_eq!(client::<A>(&gateway).delete(&read).unwrap(), Ending::Unmapped);
    assert_eq!(gateway.lease(Protocol::Udp, 4_000), None);
}

/// C14
fn what_was_never_mapped_is_deleted_with_success<A: Adapter>() {
    let gateway = gateway(|_| {});
    assert_eq!(client::<A>(&gateway).unmap(Protocol::Tcp, 4_999).unwrap(), Ending::Unmapped);
    assert_eq!(gateway.requests(), [Request::delete(Protocol::Tcp, 4_999)]);
}

/// C23
fn internal_port_0_is_never_deleted_by_itself<A: Adapter>() {
    let gateway = gateway(|_| {});
    let client = client::<A>(&gateway);
    client.map(&UDP).unwrap();
    assert_eq!(client.unmap(Protocol::Udp, 0).unwrap(), Ending::LeftToLapse);
    assert_eq!(gateway.deletions(), []);
    assert_eq!(gateway.lease(Protocol::Udp, 4_000), Some(4_000));
}

/// C14, C22: of other programs too, but of one protocol only.
fn unmap_all_deletes_every_mapping_of_one_protocol<A: Adapter>() {
    let gateway = gateway(|_| {});
    let another = client::<A>(&gateway);
    another.map(&UDP).unwrap();
    another.map(&TCP).unwrap();
    let client = client::<A>(&gateway);
    let kept = keep(&client, &MapRequest::new(Protocol::Udp, 4_001));
    let other = keep(&client, &MapRequest::new(Protocol::Tcp, 4_001));
    let mut events = client.events();
    client.unmap_all(Protocol::Udp).unwrap();
    let of_udp =
        gateway.with(|gateway, now| gateway.leases(now).iter().filter(|lease| lease.protocol == Protocol::Udp).count());
    assert_eq!(of_udp, 0);
    assert_eq!(gateway.lease(Protocol::Tcp, 4_000), Some(4_000));

    // What was kept of it is over, and says so.
    assert_eq!(kept.state().mapping, None);
    assert!(matches!(kept.refresh(), Err(Error::Interrupted)));
    assert_eq!(kept.stop().unwrap(), Ending::Unmapped);
    // What is kept of the other protocol is renewed: some gateways delete it as well.
    let renewed = std::iter::from_fn(|| events.next_timeout(SOON))
        .find(|event| matches!(event, Event::Renewed(_)))
        .and_then(|event| event.mapping_key());
    assert_eq!(renewed, Some((Protocol::Tcp, 4_001)));
    assert!(other.state().mapping.is_some());
}
