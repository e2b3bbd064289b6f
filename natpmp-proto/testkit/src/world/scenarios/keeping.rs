//! Kept mappings while all goes well.

use std::time::Duration;

use natpmp_proto::wire::Request;
use natpmp_proto::{Event, MapRequest, Protocol};

use super::{
    Scenario, UDP, World, assert_silence, expect, expect_mapped, expect_renewed, forget, keep_open, lease_of,
    map_requests, turn,
};
use crate::gateway::{Faults, Grant, Vpn};

pub(super) fn all<W: World>() -> Vec<(&'static str, Scenario<W>)> {
    vec![
        ("a kept mapping is renewed at half of its lease", renewal),
        ("a kept mapping is renewed at half of the lease granted, whatever was asked", short_grant),
        ("a lease granted for longer than asked is not trusted", long_grant),
        ("a kept mapping is renewed when asked", refresh),
        ("another port at a renewal is an event", port_change),
        ("the port suggested by a renewal is the one assigned", suggestion),
        ("many mappings are kept side by side", many),
        ("UDP and TCP of one port are kept side by side", two_protocols),
        ("a VPN's mapping of internal port 0 is kept", vpn),
    ]
}

/// C12
fn renewal<W: World>(world: &mut W) {
    let lifetime = world.scale().lifetime;
    keep_open(world, &UDP.lifetime(lifetime));
    assert_eq!(expect_renewed(world).external_port, 4_000);
    expect_renewed(world);
    assert_renewals(world, Duration::from_secs(lifetime.into()) / 2);
}

/// C12
fn short_grant<W: World>(world: &mut W) {
    let lifetime = world.scale().lifetime;
    turn(world, |faults| faults.grant = Grant::AtMost(lifetime));
    let mapping = keep_open(world, &UDP.lifetime(lifetime * 10));
    assert_eq!(mapping.lifetime, lifetime);
    expect_renewed(world);
    expect_renewed(world);
    assert_renewals(world, Duration::from_secs(lifetime.into()) / 2);
    // What is asked for does not shrink to what was granted.
    let asked = |request| matches!(request, Request::Map { lifetime: asked, .. } if asked == lifetime * 10);
    assert!(map_requests(world).iter().all(|&(_, request)| asked(request)));
}

/// C26
fn long_grant<W: World>(world: &mut W) {
    let lifetime = world.scale().lifetime;
    turn(world, |faults| faults.grant = Grant::Exactly(u32::MAX));
    let mapping = keep_open(world, &UDP.lifetime(lifetime));
    assert_eq!(mapping.lifetime, lifetime);
    expect_renewed(world);
    assert_renewals(world, Duration::from_secs(lifetime.into()) / 2);
}

fn refresh<W: World>(world: &mut W) {
    let mapping = keep_open(world, &UDP);
    world.refresh(Protocol::Udp, 4_000);
    assert_eq!(expect_renewed(world), mapping);
    assert_eq!(map_requests(world).len(), 2);
    assert_silence(world, Duration::from_secs(3_599));
}

/// C24
fn port_change<W: World>(world: &mut W) {
    keep_open(world, &UDP);
    turn(world, |faults| faults.moves_ports = true);
    world.refresh(Protocol::Udp, 4_000);
    let (mapping, previous) = expect(world, "a change of port", |event| match *event {
        Event::PortChanged { mapping, previous_port } => Some((mapping, previous_port)),
        _ => None,
    });
    assert_eq!((mapping.external_port, previous), (4_001, 4_000));
    assert_eq!(world.kept(Protocol::Udp, 4_000), Some(mapping));
    turn(world, |faults| faults.moves_ports = false);
    world.refresh(Protocol::Udp, 4_000);
    assert_eq!(expect_renewed(world).external_port, 4_001);
}

/// C13
fn suggestion<W: World>(world: &mut W) {
    // Another suggestion would be a second mapping at this gateway.
    turn(world, |faults| *faults = Faults::miniupnpd());
    let other = MapRequest::new(Protocol::Udp, 4_100).external_port(4_000);
    assert!(world.map(&other).is_ok());
    assert_eq!(keep_open(world, &UDP).external_port, 4_001);
    forget(world);
    world.refresh(Protocol::Udp, 4_000);
    assert_eq!(expect_renewed(world).external_port, 4_001);
    let (_, Request::Map { suggested_external_port, .. }) = map_requests(world)[0] else { panic!("a mapping request") };
    assert_eq!(suggested_external_port, 4_001);
    assert_eq!(world.gateway(|gateway, now| gateway.leases(now).len()), 2);
}

/// C02
fn many<W: World>(world: &mut W) {
    let wanted: Vec<MapRequest> = (0..20).map(|index| MapRequest::new(Protocol::Tcp, 5_000 + index)).collect();
    // The answers take their time: one request in flight, the others wait.
    turn(world, |faults| faults.delay = Duration::from_millis(5));
    wanted.iter().for_each(|request| world.keep(request));
    for _ in &wanted {
        expect(world, "a mapping", |event| matches!(event, Event::Mapped(_)).then_some(()));
    }
    for request in &wanted {
        assert_eq!(lease_of(world, request), Some(request.internal_port()));
    }
    // Of each mapping the first: on a busy machine it may have been sent again before it was answered.
    let mut requests = map_requests(world);
    requests.dedup_by_key(|(_, request)| *request);
    let times: Vec<_> = requests.into_iter().map(|(at, _)| at).collect();
    assert!(times.windows(2).all(|pair| pair[1].saturating_since(pair[0]) >= Duration::from_millis(5)));
    assert_silence(world, Duration::from_secs(3_590));
}

fn two_protocols<W: World>(world: &mut W) {
    let tcp = MapRequest::new(Protocol::Tcp, 4_000);
    keep_open(world, &UDP);
    keep_open(world, &tcp);
    assert_eq!(world.stop(Protocol::Udp, 4_000), Ok(()));
    assert_eq!(lease_of(world, &UDP), None);
    assert_eq!(lease_of(world, &tcp), Some(4_000));
    assert!(world.kept(Protocol::Tcp, 4_000).is_some());
}

/// C23
fn vpn<W: World>(world: &mut W) {
    let lifetime = world.scale().lifetime.min(60);
    for answers in [Vpn::AnswersZero, Vpn::AnswersMapped] {
        turn(world, |faults| *faults = Faults { grant: Grant::AtMost(lifetime), ..Faults::vpn(answers) });
        let request = MapRequest::new(Protocol::Udp, 0).external_port(1).lifetime(60);
        world.keep(&request);
        let mapping = expect_mapped(world, &request);
        assert!(mapping.external_port > 1, "a real port: {mapping:?}");
        assert_eq!(expect_renewed(world).external_port, mapping.external_port);
        assert_renewals(world, Duration::from_secs(lifetime.into()) / 2);
        // Its deletion would delete everything.
        assert_eq!(world.stop(Protocol::Udp, 0), Ok(()));
        assert_eq!(super::deletions(world), []);
        assert!(lease_of(world, &request).is_some());
        forget(world);
    }
}

/// The requests to map came one after another at this interval; where time is real, at no shorter one.
fn assert_renewals<W: World>(world: &mut W, interval: Duration) {
    let is_exact = world.scale().is_exact;
    let times: Vec<_> = map_requests(world).into_iter().map(|(at, _)| at).collect();
    for pair in times.windows(2) {
        let gap = pair[1].saturating_since(pair[0]);
        assert!(gap == interval || (!is_exact && gap >= interval * 9 / 10), "{gap:?} instead of {interval:?}");
    }
}
