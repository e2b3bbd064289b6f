//! Gateways that refuse, are silent or away, and come back.

use std::time::Duration;

use natpmp_proto::client::{LossCause, RequestError};
use natpmp_proto::wire::Refusal;
use natpmp_proto::{Event, MapRequest, Protocol};

use super::{
    Scenario, UDP, World, expect, expect_failed, expect_mapped, expect_renewed, forget, keep_open, map_requests, now,
    requests, turn,
};
use crate::gateway::{Grant, Reach};

pub(super) fn all<W: World>() -> Vec<(&'static str, Scenario<W>)> {
    vec![
        ("a refused mapping is tried again and heals", refusal),
        ("a refused renewal leaves the mapping open and heals", refused_renewal),
        ("a silent gateway is an error in the time of the schedule", silence),
        ("a kept mapping heals after silence", healing),
        ("port unreachable is an error at once", unreachable),
        ("a kept mapping heals after port unreachable", reopening),
        ("a mapping that cannot be renewed is lost when its lease ends, and comes back", expiry),
        ("a gateway that answers every third request only is enough", lossy),
        ("a grant of nothing is tried again and heals", nothing),
    ]
}

/// C25
fn refusal<W: World>(world: &mut W) {
    turn(world, |faults| faults.refuse_map = Some(2));
    world.keep(&UDP);
    for _ in 0..3 {
        assert_eq!(expect_failed(world), RequestError::Refused(Refusal::NotAuthorized));
    }
    assert_growing_pauses(world);
    turn(world, |faults| faults.refuse_map = None);
    assert_eq!(expect_mapped(world, &UDP).external_port, 4_000);
}

/// C25
fn refused_renewal<W: World>(world: &mut W) {
    keep_open(world, &UDP);
    turn(world, |faults| faults.refuse_map = Some(4));
    world.refresh(Protocol::Udp, 4_000);
    assert_eq!(expect_failed(world), RequestError::Refused(Refusal::OutOfResources));
    assert!(world.kept(Protocol::Udp, 4_000).is_some());
    turn(world, |faults| faults.refuse_map = None);
    assert_eq!(expect_renewed(world).external_port, 4_000);
}

/// C03, C20
fn silence<W: World>(world: &mut W) {
    turn(world, |faults| faults.reach = Reach::Silent);
    let schedule = world.scale().schedule;
    let began = now(world);
    let error = world.external_address().expect_err("there is nobody");
    assert_eq!(error, RequestError::NoAnswer);
    assert!(error.is_unsupported());
    let took = now(world).saturating_since(began);
    assert!(took >= schedule.total(), "gave up after {took:?}");
    let sends = (1..).map_while(|send| schedule.wait_after(send)).count();
    assert_eq!(requests(world).len(), sends);
    if world.scale().is_exact {
        assert_eq!(took, schedule.total());
        assert_eq!(sends, 9);
    }
    super::assert_silence(world, Duration::from_secs(86_400));
}

/// C25
fn healing<W: World>(world: &mut W) {
    turn(world, |faults| faults.reach = Reach::Silent);
    world.keep(&UDP);
    assert_eq!(expect_failed(world), RequestError::NoAnswer);
    turn(world, |faults| faults.reach = Reach::Open);
    assert_eq!(expect_mapped(world, &UDP).external_port, 4_000);
}

/// C04, C20
fn unreachable<W: World>(world: &mut W) {
    turn(world, |faults| faults.reach = Reach::Closed);
    let began = now(world);
    let error = world.external_address().expect_err("there is nobody");
    assert_eq!(error, RequestError::PortUnreachable);
    assert!(error.is_unsupported());
    assert_eq!(world.map(&UDP), Err(RequestError::PortUnreachable));
    assert!(now(world).saturating_since(began) < world.scale().schedule.total());
    if world.scale().is_exact {
        assert_eq!(now(world), began);
    }
    turn(world, |faults| faults.reach = Reach::Open);
    assert!(world.map(&UDP).is_ok());
}

/// C04, C05, C25
fn reopening<W: World>(world: &mut W) {
    turn(world, |faults| faults.reach = Reach::Closed);
    world.keep(&UDP);
    for _ in 0..3 {
        assert_eq!(expect_failed(world), RequestError::PortUnreachable);
    }
    if world.scale().is_exact {
        assert_growing_pauses(world);
    }
    turn(world, |faults| faults.reach = Reach::Open);
    assert_eq!(expect_mapped(world, &UDP).external_port, 4_000);
}

/// C12, C25
fn expiry<W: World>(world: &mut W) {
    let request = UDP.lifetime(world.scale().lifetime);
    keep_open(world, &request);
    let opened = map_requests(world)[0].0;
    turn(world, |faults| faults.refuse_map = Some(4));
    let (external_port, cause) = expect(world, "a loss", |event| match *event {
        Event::Lost { external_port, cause, .. } => Some((external_port, cause)),
        _ => None,
    });
    assert_eq!((external_port, cause), (4_000, LossCause::Expired));
    let lasted = now(world).saturating_since(opened);
    let lifetime = Duration::from_secs(request.requested_lifetime().into());
    assert!(lasted >= lifetime * 9 / 10, "lost after {lasted:?}");
    if world.scale().is_exact {
        assert_eq!(lasted, lifetime);
    }
    assert!(map_requests(world).len() > 2, "tried again before the end");
    turn(world, |faults| faults.refuse_map = None);
    assert_eq!(expect_mapped(world, &request).external_port, 4_000);
}

/// C03
fn lossy<W: World>(world: &mut W) {
    turn(world, |faults| faults.answers_every = 3);
    assert!(world.external_address().is_ok());
    assert!(world.map(&UDP).is_ok());
    assert_eq!(world.unmap(Protocol::Udp, 4_000), Ok(()));
    assert_eq!(requests(world).len(), 9);
    if world.scale().is_exact {
        let began = now(world);
        forget(world);
        assert!(world.map(&MapRequest::new(Protocol::Tcp, 4_000)).is_ok());
        let after: Vec<u128> = requests(world).iter().map(|(at, _)| at.saturating_since(began).as_millis()).collect();
        assert_eq!(after, [0, 250, 750]);
    }
}

/// C25, C26
fn nothing<W: World>(world: &mut W) {
    turn(world, |faults| faults.grant = Grant::Exactly(0));
    world.keep(&UDP);
    for _ in 0..3 {
        assert_eq!(expect_failed(world), RequestError::GrantedNothing);
    }
    assert_growing_pauses(world);
    turn(world, |faults| faults.grant = Grant::Asked);
    expect_mapped(world, &UDP);
}

/// Between attempts there is a pause that grows: at least three quarters of the back-off.
fn assert_growing_pauses<W: World>(world: &mut W) {
    let backoff = world.scale().backoff;
    let times: Vec<_> = map_requests(world).into_iter().map(|(at, _)| at).collect();
    for (failures, pair) in (0u8..).zip(times.windows(2)) {
        let (gap, full) = (pair[1].saturating_since(pair[0]), backoff.pause(failures));
        assert!(gap >= full * 3 / 4, "attempt {failures} after {gap:?}");
        assert!(gap <= full || !world.scale().is_exact, "attempt {failures} after {gap:?}");
    }
}
