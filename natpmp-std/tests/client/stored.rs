//! Mappings as plain data: refreshed and deleted later, by this client or by another one.

use natpmp_proto::wire::Request;
use natpmp_std::{Ending, Error, Event, MapRequest, Mapping, Protocol};

use super::{SOON, TCP, UDP, client, deletions, forget, gateway, keep, lease, requests};

/// C13: what is asked for again is the port that was assigned, not the one first wished for.
#[test]
fn a_mapping_of_an_earlier_client_is_refreshed_on_its_port_and_deleted() {
    let gateway = gateway(|_| {});
    let taken = UDP.external_port(5_000);
    client(&gateway).map(&taken).unwrap();
    let request = MapRequest::new(Protocol::Udp, 4_001).external_port(5_000).lifetime(600);
    let stored = client(&gateway).map(&request).unwrap();
    assert_eq!(stored, Mapping { protocol: Protocol::Udp, internal_port: 4_001, external_port: 5_001, lifetime: 600 });

    forget(&gateway);
    let later = client(&gateway);
    assert_eq!(later.refresh(&stored).unwrap(), stored);
    let asked =
        Request::Map { protocol: Protocol::Udp, internal_port: 4_001, suggested_external_port: 5_001, lifetime: 600 };
    assert_eq!(requests(&gateway), [asked]);
    assert_eq!(client(&gateway).delete(&stored).unwrap(), Ending::Unmapped);
    assert_eq!(lease(&gateway, Protocol::Udp, 4_001), None);
    assert_eq!(lease(&gateway, Protocol::Udp, 4_000), Some(5_000));
}

#[test]
fn a_mapping_that_is_gone_from_the_gateway_is_made_again_by_its_refresh() {
    let gateway = gateway(|_| {});
    let client = client(&gateway);
    let stored = client.map(&UDP).unwrap();
    gateway.with(|gateway, _| gateway.drop_mappings());
    assert_eq!(client.refresh(&stored).unwrap(), stored);
    assert_eq!(lease(&gateway, Protocol::Udp, 4_000), Some(4_000));
}

#[test]
#[cfg(feature = "serde")]
fn a_mapping_and_a_request_are_the_same_after_being_stored() {
    let gateway = gateway(|_| {});
    let request = UDP.external_port(5_000).lifetime(600).refresh_interval(60);
    let text = serde_json::to_string(&request).unwrap();
    assert_eq!(serde_json::from_str::<MapRequest>(&text).unwrap(), request);

    let mapping = client(&gateway).map(&request).unwrap();
    let text = serde_json::to_string(&mapping).unwrap();
    assert_eq!(text, r#"{"protocol":"udp","internal_port":4000,"external_port":5000,"lifetime":600}"#);
    let read: Mapping = serde_json::from_str(&text).unwrap();
    assert_eq!(read, mapping);
    assert_eq!(client(&gateway).delete(&read).unwrap(), Ending::Unmapped);
    assert_eq!(lease(&gateway, Protocol::Udp, 4_000), None);
}

/// C14
#[test]
fn what_was_never_mapped_is_deleted_with_success() {
    let gateway = gateway(|_| {});
    assert_eq!(client(&gateway).unmap(Protocol::Tcp, 4_999).unwrap(), Ending::Unmapped);
    assert_eq!(requests(&gateway), [Request::delete(Protocol::Tcp, 4_999)]);
}

/// C23
#[test]
fn internal_port_0_is_never_deleted_by_itself() {
    let gateway = gateway(|_| {});
    let client = client(&gateway);
    client.map(&UDP).unwrap();
    assert_eq!(client.unmap(Protocol::Udp, 0).unwrap(), Ending::LeftToLapse);
    assert_eq!(deletions(&gateway), []);
    assert_eq!(lease(&gateway, Protocol::Udp, 4_000), Some(4_000));
}

/// C14, C22: of other programs too, but of one protocol only.
#[test]
fn unmap_all_deletes_every_mapping_of_one_protocol() {
    let gateway = gateway(|_| {});
    let another = client(&gateway);
    another.map(&UDP).unwrap();
    another.map(&TCP).unwrap();
    let client = client(&gateway);
    let kept = keep(&client, &MapRequest::new(Protocol::Udp, 4_001));
    let other = keep(&client, &MapRequest::new(Protocol::Tcp, 4_001));
    let mut events = client.events();
    client.unmap_all(Protocol::Udp).unwrap();
    let of_udp =
        gateway.with(|gateway, now| gateway.leases(now).iter().filter(|lease| lease.protocol == Protocol::Udp).count());
    assert_eq!(of_udp, 0);
    assert_eq!(lease(&gateway, Protocol::Tcp, 4_000), Some(4_000));

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
