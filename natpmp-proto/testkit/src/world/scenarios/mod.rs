//! What every adapter must do, whatever it is made of.

mod asking;
mod deleting;
mod failing;
mod keeping;
mod restarting;

use std::time::Duration;

use natpmp_proto::client::RequestError;
use natpmp_proto::wire::Request;
use natpmp_proto::{Event, Instant, MapRequest, Mapping, Protocol};

use super::World;
use crate::gateway::Faults;

/// A scenario, to be run on a fresh world.
pub type Scenario<W> = fn(&mut W);

/// All scenarios with their names.
#[must_use]
pub fn all<W: World>() -> Vec<(&'static str, Scenario<W>)> {
    [asking::all::<W>(), keeping::all::<W>(), failing::all::<W>(), restarting::all::<W>(), deleting::all::<W>()]
        .concat()
}

/// Waits for an event of a kind, and lets others pass.
fn expect<W: World, T>(world: &mut W, what: &str, kind: impl Fn(&Event) -> Option<T>) -> T {
    let end = now(world) + world.scale().patience;
    let mut passed = Vec::new();
    loop {
        let left = end.saturating_since(now(world));
        match world.next_event(left) {
            Some(event) => match kind(&event) {
                Some(found) => return found,
                None => passed.push(event),
            },
            None => panic!("waited for {what} in vain; these came: {passed:?}"),
        }
    }
}

fn expect_mapped<W: World>(world: &mut W, request: &MapRequest) -> Mapping {
    let key = (request.protocol(), request.internal_port());
    expect(world, "a mapping", |event| match *event {
        Event::Mapped(mapping) if (mapping.protocol, mapping.internal_port) == key => Some(mapping),
        _ => None,
    })
}

fn expect_renewed<W: World>(world: &mut W) -> Mapping {
    expect(world, "a renewal", |event| match *event {
        Event::Renewed(mapping) => Some(mapping),
        _ => None,
    })
}

fn expect_failed<W: World>(world: &mut W) -> RequestError {
    expect(world, "a failure", |event| match *event {
        Event::Failed { error, .. } => Some(error),
        _ => None,
    })
}

fn expect_restarted<W: World>(world: &mut W) {
    expect(world, "a restart", |event| (*event == Event::GatewayRestarted).then_some(()));
}

/// Keeps a mapping, and waits until it is open.
fn keep_open<W: World>(world: &mut W, request: &MapRequest) -> Mapping {
    world.keep(request);
    expect_mapped(world, request)
}

/// In virtual time: lets time pass, and returns the events.
fn pass<W: World>(world: &mut W, duration: Duration) -> Vec<Event> {
    assert!(world.scale().is_exact, "real time is not to be wasted");
    let end = now(world) + duration;
    let mut events = Vec::new();
    while now(world) < end {
        let left = end.saturating_since(now(world));
        events.extend(world.next_event(left));
    }
    events
}

/// In virtual time: asserts that the gateway is asked nothing for so long.
fn assert_silence<W: World>(world: &mut W, duration: Duration) {
    if world.scale().is_exact {
        let before = requests(world).len();
        pass(world, duration);
        assert_eq!(requests(world).len(), before, "something was sent when nothing was due");
    }
}

/// All requests that the gateway received, and when.
fn requests<W: World>(world: &mut W) -> Vec<(Instant, Request)> {
    world.gateway(|gateway, _| {
        let received = gateway.received().iter();
        received.map(|received| (received.at, received.request.expect("clients send requests"))).collect()
    })
}

/// The requests to map and to renew, of those.
fn map_requests<W: World>(world: &mut W) -> Vec<(Instant, Request)> {
    let mut requests = requests(world);
    requests.retain(|(_, request)| matches!(request, Request::Map { lifetime: 1.., .. }));
    requests
}

/// The deletions, of those.
fn deletions<W: World>(world: &mut W) -> Vec<Request> {
    let all = requests(world).into_iter().map(|(_, request)| request);
    all.filter(|request| matches!(request, Request::Map { lifetime: 0, .. })).collect()
}

/// The form of a deletion, spelled out (section 3.4).
fn deletion_of(protocol: Protocol, internal_port: u16) -> Request {
    Request::Map { protocol, internal_port, suggested_external_port: 0, lifetime: 0 }
}

fn forget<W: World>(world: &mut W) {
    world.gateway(|gateway, _| gateway.forget_received());
}

fn turn<W: World>(world: &mut W, change: impl FnOnce(&mut Faults)) {
    world.gateway(|gateway, _| change(&mut gateway.faults));
}

fn now<W: World>(world: &mut W) -> Instant {
    world.gateway(|_, now| now)
}

fn lease_of<W: World>(world: &mut W, request: &MapRequest) -> Option<u16> {
    let (protocol, internal_port) = (request.protocol(), request.internal_port());
    world.gateway(|gateway, now| gateway.lease(now, protocol, internal_port).map(|lease| lease.external_port))
}

const UDP: MapRequest = MapRequest::new(Protocol::Udp, 4_000);
