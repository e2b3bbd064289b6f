//! Deletions.

use std::time::Duration;

use natpmp_proto::client::RequestError;
use natpmp_proto::wire::Refusal;
use natpmp_proto::{MapRequest, Protocol};

use super::{
    Scenario, UDP, World, assert_silence, deletion_of, deletions, expect, forget, keep_open, lease_of, now, turn,
};
use crate::gateway::{Faults, Reach};

pub(super) fn all<W: World>() -> Vec<(&'static str, Scenario<W>)> {
    vec![
        ("stopping deletes the mapping, and nothing is asked after", stop),
        ("stopping what was never granted is no error", stop_at_once),
        ("stopping at a silent gateway is an error in the end", stop_in_silence),
        ("a deletion that is refused is an error", refused),
        ("deleting what is not there succeeds", missing),
        ("a late answer to a deletion is not taken for a grant", late),
        ("deleting all of one protocol leaves what is kept of the other open, at a gateway that deletes both", both),
    ]
}

/// C06, C14
fn stop<W: World>(world: &mut W) {
    keep_open(world, &UDP);
    assert_eq!(world.stop(Protocol::Udp, 4_000), Ok(()));
    assert_eq!(lease_of(world, &UDP), None);
    assert_eq!(deletions(world), [deletion_of(Protocol::Udp, 4_000)]);
    assert_silence(world, Duration::from_secs(100_000));
}

fn stop_at_once<W: World>(world: &mut W) {
    turn(world, |faults| faults.delay = Duration::from_millis(30));
    world.keep(&UDP);
    assert_eq!(world.stop(Protocol::Udp, 4_000), Ok(()));
    turn(world, |faults| faults.delay = Duration::ZERO);
    assert!(world.external_address().is_ok());
    assert_eq!(lease_of(world, &UDP), None);
}

/// C06
fn stop_in_silence<W: World>(world: &mut W) {
    keep_open(world, &UDP);
    turn(world, |faults| faults.reach = Reach::Silent);
    assert_eq!(world.stop(Protocol::Udp, 4_000), Err(RequestError::NoAnswer));
    assert!(!deletions(world).is_empty());
    assert_silence(world, Duration::from_secs(100_000));
}

/// C08
fn refused<W: World>(world: &mut W) {
    keep_open(world, &UDP);
    turn(world, |faults| {
        *faults =
            Faults { refuse_unmap: Some(2), failure_form: crate::gateway::FailureForm::Echo, ..Faults::default() };
    });
    assert_eq!(world.stop(Protocol::Udp, 4_000), Err(RequestError::Refused(Refusal::NotAuthorized)));
}

fn missing<W: World>(world: &mut W) {
    assert_eq!(world.unmap(Protocol::Tcp, 4_999), Ok(()));
    assert_eq!(deletions(world), [deletion_of(Protocol::Tcp, 4_999)]);
}

/// C16
fn late<W: World>(world: &mut W) {
    keep_open(world, &UDP);
    // The answer to the deletion comes twice, and the second time when the mapping has been asked for again.
    turn(world, |faults| faults.repeats = 1);
    assert_eq!(world.stop(Protocol::Udp, 4_000), Ok(()));
    turn(world, |faults| (faults.repeats, faults.delay) = (0, Duration::from_millis(20)));
    let mapping = keep_open(world, &UDP);
    assert_eq!((mapping.external_port, mapping.lifetime), (4_000, 7_200));
    assert_eq!(lease_of(world, &UDP), Some(4_000));
}

/// C14
fn both<W: World>(world: &mut W) {
    turn(world, |faults| *faults = Faults::miniupnpd());
    let tcp = MapRequest::new(Protocol::Tcp, 4_100);
    keep_open(world, &tcp);
    assert!(world.map(&UDP).is_ok());
    forget(world);
    let began = now(world);
    assert_eq!(world.unmap_all(Protocol::Udp), Ok(()));
    expect(world, "a renewal", |event| matches!(event, natpmp_proto::Event::Renewed(_)).then_some(()));
    assert!(now(world).saturating_since(began) < Duration::from_secs(10), "it was renewed in its own time only");
    assert_eq!(lease_of(world, &tcp), Some(4_100));
    assert_eq!(lease_of(world, &UDP), None);
}
