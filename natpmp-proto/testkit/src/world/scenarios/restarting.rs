//! Gateways that lose their state.

use std::time::Duration;

use natpmp_proto::{MapRequest, Protocol};

use super::{
    Scenario, UDP, World, expect_renewed, expect_restarted, forget, keep_open, lease_of, map_requests, now, turn,
};
use crate::gateway::{Announces, Faults};

pub(super) fn all<W: World>() -> Vec<(&'static str, Scenario<W>)> {
    vec![
        ("a restart seen in the epoch of an answer brings the mappings back on their ports", epoch),
        ("an announced restart brings the mappings back on their ports", announced),
        ("a restart that the uptime hides, with a PCP announcement, brings the mappings back", hidden),
        ("an announcement that says nothing new costs one question", unchanged),
        ("a mapping dropped without a sign is back after its renewal", dropped),
    ]
}

/// C18, C19
fn epoch<W: World>(world: &mut W) {
    let other = MapRequest::new(Protocol::Tcp, 4_100);
    keep_open(world, &UDP);
    keep_open(world, &other);
    // The ports assigned are others than the ones wished for: they are to be asked for again.
    world.gateway(|gateway, now| gateway.restart(now));
    forget(world);
    let began = now(world);
    assert!(world.external_address().is_ok());
    expect_restarted(world);
    assert_eq!(expect_back(world, 2), [4_000, 4_100]);
    assert_within_six_seconds(world, began);
    assert_eq!(lease_of(world, &UDP), Some(4_000));
    assert_eq!(lease_of(world, &other), Some(4_100));
}

/// C10, C18, C19
fn announced<W: World>(world: &mut W) {
    turn(world, |faults| faults.announces = Announces::NatPmp);
    let taken = MapRequest::new(Protocol::Udp, 4_100).external_port(4_000);
    assert!(world.map(&taken).is_ok());
    assert_eq!(keep_open(world, &UDP).external_port, 4_001);
    forget(world);
    let began = now(world);
    world.gateway(|gateway, now| gateway.restart(now));
    expect_restarted(world);
    assert_eq!(expect_back(world, 1), [4_001]);
    assert_within_six_seconds(world, began);
    assert_eq!(lease_of(world, &UDP), Some(4_001));
    // What was held once is not asked for again.
    assert_eq!(lease_of(world, &taken), None);
}

/// C19
fn hidden<W: World>(world: &mut W) {
    turn(world, |faults| *faults = Faults::miniupnpd());
    keep_open(world, &UDP);
    forget(world);
    let began = now(world);
    world.gateway(|gateway, now| gateway.restart(now));
    assert_eq!(lease_of(world, &UDP), None);
    assert_eq!(expect_renewed(world).external_port, 4_000);
    assert_within_six_seconds(world, began);
    assert_eq!(lease_of(world, &UDP), Some(4_000));
}

/// C10, C18
fn unchanged<W: World>(world: &mut W) {
    keep_open(world, &UDP);
    forget(world);
    turn(world, |faults| faults.announces = Announces::NatPmp);
    world.gateway(|gateway, now| gateway.announce(now));
    if world.scale().is_exact {
        let events = super::pass(world, Duration::from_secs(600));
        assert_eq!(events, []);
        // Ten announcements in two minutes, each worth a question, and at most one in a second.
        let questions = super::requests(world).len();
        assert!((1..=10).contains(&questions), "{questions} questions");
    }
    assert_eq!(map_requests(world), []);
}

/// C12
fn dropped<W: World>(world: &mut W) {
    let request = UDP.lifetime(world.scale().lifetime);
    keep_open(world, &request);
    world.gateway(|gateway, _| gateway.drop_mappings());
    expect_renewed(world);
    assert_eq!(lease_of(world, &request), Some(4_000));
}

/// Waits until so many mappings are open again, and returns their ports in order.
fn expect_back<W: World>(world: &mut W, count: usize) -> Vec<u16> {
    let mut ports: Vec<u16> = (0..count)
        .map(|_| {
            super::expect(world, "a mapping that is back", |event| match *event {
                natpmp_proto::Event::Mapped(mapping) | natpmp_proto::Event::Renewed(mapping) => {
                    Some(mapping.external_port)
                }
                _ => None,
            })
        })
        .collect();
    ports.sort_unstable();
    ports
}

fn assert_within_six_seconds<W: World>(world: &mut W, began: natpmp_proto::Instant) {
    let took = now(world).saturating_since(began);
    assert!(took <= Duration::from_secs(6), "back after {took:?}");
}
