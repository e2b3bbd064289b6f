//! The external address, and mappings held once.

use natpmp_proto::client::RequestError;
use natpmp_proto::wire::Refusal;
use natpmp_proto::{MapRequest, Mapping, Protocol};

use super::{Scenario, UDP, World, assert_silence, deletion_of, deletions, lease_of, requests, turn};
use crate::gateway::{FailureForm, Gateway, VersionError};
use std::time::Duration;

pub(super) fn all<W: World>() -> Vec<(&'static str, Scenario<W>)> {
    vec![
        ("the external address is asked for and told", external_address),
        ("a mapping is made, is not renewed, and is deleted", mapping),
        ("UDP and TCP of one port are two mappings", two_protocols),
        ("all mappings of one protocol are deleted, and no other", unmap_all),
        ("every result code has its own error", result_codes),
        ("an error answer too short for its form is understood", short_errors),
        ("an answer in another version is understood", version_errors),
        ("a lifetime or a port of 0 is no mapping", granted_nothing),
        ("a foreign sender is ignored", foreign_sender),
        ("repeated answers do no harm", repeated_answers),
    ]
}

/// C11
fn external_address<W: World>(world: &mut W) {
    assert_eq!(world.external_address(), Ok(Gateway::EXTERNAL));
    world.gateway(|gateway, now| gateway.change_address(now, None));
    assert_eq!(world.external_address(), Err(RequestError::Refused(Refusal::NetworkFailure)));
}

/// C11, C14
fn mapping<W: World>(world: &mut W) {
    let granted = world.map(&UDP);
    let expected = Mapping { protocol: Protocol::Udp, internal_port: 4_000, external_port: 4_000, lifetime: 7_200 };
    assert_eq!(granted, Ok(expected));
    assert_eq!(requests(world).len(), 1);
    assert_silence(world, Duration::from_secs(7_000));
    assert_eq!(world.unmap(Protocol::Udp, 4_000), Ok(()));
    assert_eq!(lease_of(world, &UDP), None);
    assert_eq!(deletions(world), [deletion_of(Protocol::Udp, 4_000)]);
    assert_silence(world, Duration::from_secs(7_200));
}

fn two_protocols<W: World>(world: &mut W) {
    for protocol in Protocol::ALL {
        let granted = world.map(&MapRequest::new(protocol, 4_000)).map(|mapping| mapping.external_port);
        assert_eq!(granted, Ok(4_000));
    }
    assert_eq!(world.unmap(Protocol::Udp, 4_000), Ok(()));
    assert_eq!(lease_of(world, &UDP), None);
    assert_eq!(lease_of(world, &MapRequest::new(Protocol::Tcp, 4_000)), Some(4_000));
}

/// C14
fn unmap_all<W: World>(world: &mut W) {
    let tcp = MapRequest::new(Protocol::Tcp, 4_002);
    for request in [UDP, MapRequest::new(Protocol::Udp, 4_001), tcp] {
        assert!(world.map(&request).is_ok());
    }
    assert_eq!(world.unmap_all(Protocol::Udp), Ok(()));
    assert_eq!(world.gateway(|gateway, now| gateway.leases(now).len()), 1);
    assert_eq!(lease_of(world, &tcp), Some(4_002));
    assert_eq!(deletions(world), [deletion_of(Protocol::Udp, 0)]);
}

/// C15
fn result_codes<W: World>(world: &mut W) {
    for code in [1, 2, 3, 4, 5, 6, 0xffff] {
        turn(world, |faults| faults.refuse_map = Some(code));
        let refusal = Refusal::from_code(code).expect("these are refusals");
        assert_eq!(world.map(&UDP), Err(RequestError::Refused(refusal)));
    }
}

/// C08, C17
fn short_errors<W: World>(world: &mut W) {
    for form in [FailureForm::Full, FailureForm::Echo, FailureForm::Short, FailureForm::Shortest] {
        turn(world, |faults| {
            faults.failure_form = form;
            (faults.refuse_map, faults.refuse_unmap, faults.refuse_address) = (Some(2), Some(2), Some(3));
        });
        let refused = RequestError::Refused(Refusal::NotAuthorized);
        assert_eq!(world.map(&UDP), Err(refused), "{form:?}");
        assert_eq!(world.unmap(Protocol::Tcp, 5_000), Err(refused), "{form:?}");
        assert_eq!(world.external_address(), Err(RequestError::Refused(Refusal::NetworkFailure)), "{form:?}");
    }
}

/// C17, C20
fn version_errors<W: World>(world: &mut W) {
    let forms = [VersionError::Opcode128, VersionError::Opcode0, VersionError::Opcode128Plus, VersionError::Pcp];
    for form in forms {
        turn(world, |faults| faults.version_error = Some(form));
        let error = RequestError::Refused(Refusal::UnsupportedVersion);
        assert!(error.is_unsupported());
        assert_eq!(world.external_address(), Err(error), "{form:?}");
        assert_eq!(world.map(&UDP), Err(error), "{form:?}");
    }
}

/// C26
fn granted_nothing<W: World>(world: &mut W) {
    turn(world, |faults| faults.grant = crate::gateway::Grant::Exactly(0));
    assert_eq!(world.map(&UDP), Err(RequestError::GrantedNothing));
    turn(world, |faults| faults.grants_port_zero = true);
    assert_eq!(world.map(&UDP), Err(RequestError::GrantedNothing));
    turn(world, |faults| faults.grant = crate::gateway::Grant::Asked);
    assert_eq!(world.map(&UDP), Err(RequestError::GrantedNothing));
}

/// C07, C16
fn foreign_sender<W: World>(world: &mut W) {
    assert!(world.external_address().is_ok());
    turn(world, |faults| faults.delay = Duration::from_millis(20));
    world.keep(&UDP);
    // The answer as somebody else would like it.
    world.forge(&[0, 129, 0, 0, 0, 0, 4, 0, 0x0f, 0xa0, 0x0b, 0xad, 0, 0, 0x1c, 0x20]);
    world.forge(&[0, 129, 0, 2, 0, 0, 4, 0, 0x0f, 0xa0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(super::expect_mapped(world, &UDP).external_port, 4_000);
}

/// C16
fn repeated_answers<W: World>(world: &mut W) {
    turn(world, |faults| faults.repeats = 2);
    assert!(world.external_address().is_ok());
    for port in 4_000..4_010 {
        let granted = world.map(&MapRequest::new(Protocol::Udp, port)).map(|mapping| mapping.external_port);
        assert_eq!(granted, Ok(port));
    }
    assert_eq!(requests(world).len(), 11);
}
