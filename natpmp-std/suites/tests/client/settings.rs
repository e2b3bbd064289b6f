//! What a client was told, and can be asked without waiting.

use std::net::Ipv4Addr;

use natpmp_std::Protocol;
use natpmp_suites::{Adapter, ClientSetup, ClientUnderTest, on_each_adapter};

use super::{TCP, UDP, client, gateway, keep, setup, start};

on_each_adapter!(
    the_gateway_is_told,
    the_local_address_is_the_one_that_is_sent_from,
    the_mappings_that_are_held_are_told
);

fn the_gateway_is_told<A: Adapter>() {
    let gateway = gateway(|_| {});
    let client = client::<A>(&gateway);
    assert_eq!(client.gateway(), gateway.address());
    assert!(format!("{client:?}").contains(&gateway.address().to_string()));
}

fn the_local_address_is_the_one_that_is_sent_from<A: Adapter>() {
    let gateway = gateway(|_| {});
    assert_eq!(client::<A>(&gateway).local_address(), Some(Ipv4Addr::LOCALHOST));
    let client = start::<A>(ClientSetup { local_address: Some(Ipv4Addr::LOCALHOST), ..setup(&gateway) });
    client.external_address().unwrap();
    assert_eq!(client.local_address(), Some(Ipv4Addr::LOCALHOST));
    assert_eq!(gateway.client().map(|address| *address.ip()), Some(Ipv4Addr::LOCALHOST));
}

fn the_mappings_that_are_held_are_told<A: Adapter>() {
    let gateway = gateway(|_| {});
    let client = client::<A>(&gateway);
    let _kept = keep(&client, &UDP);
    client.map(&TCP).unwrap();
    let mut held: Vec<_> = client.mappings().iter().map(|held| (held.protocol, held.is_kept)).collect();
    held.sort_by_key(|held| held.1);
    assert_eq!(held, [(Protocol::Tcp, false), (Protocol::Udp, true)]);
    client.unmap_all(Protocol::Tcp).unwrap();
    assert_eq!(client.mappings().len(), 1);
}
