//! What a response means for a request: every combination.

use super::super::exchange::Meaning;
use super::*;

const KEY: Key = Key { protocol: UDP, internal_port: 4000 };
const PORTLESS: Key = Key { protocol: UDP, internal_port: 0 };
const NO: Refusal = Refusal::NotAuthorized;

/// In the columns of the tables below.
const ASKS: [Ask; 6] =
    [Ask::ExternalAddress, Ask::Map(KEY), Ask::Unmap(KEY), Ask::Map(PORTLESS), Ask::UnmapAll(UDP), Ask::UnmapAll(TCP)];

/// Port 6000 is that of another mapping, for UDP.
fn meanings(response: &Response) -> [Meaning; 6] {
    ASKS.map(|ask| ask.meaning(response, |protocol, port| (protocol, port) == (UDP, 6000)))
}

use Meaning::{Nothing as N, NothingOrLate as L, Other as O, Refused as R, Success as S};

/// C16.
#[test]
fn a_success_answers_what_it_names_and_nothing_else() {
    let map = |protocol, internal, external, lifetime| mapped(9, protocol, internal, external, lifetime);
    for (response, expected) in [
        (Response::ExternalAddress { epoch: 9, address: ADDRESS }, [S, O, O, O, O, O]),
        (Response::UnknownSuccess { opcode: 3 }, [O; 6]),
        // Granted: only a request to map is answered with a lifetime.
        (map(UDP, 4000, 4000, 60), [O, S, O, S, O, O]),
        (map(UDP, 4000, 5000, 60), [O, S, O, O, O, O]),
        (map(UDP, 4000, 5000, u32::MAX), [O, S, O, O, O, O]),
        // Another port, another protocol.
        (map(UDP, 4001, 5000, 60), [O; 6]),
        (map(TCP, 4000, 4000, 60), [O; 6]),
        (map(TCP, 0, 4000, 60), [O; 6]),
        // Internal port 0 was asked for: the answer names it, or the mapped port in both places.
        (map(UDP, 0, 5000, 60), [O, O, O, S, O, O]),
        (map(UDP, 5000, 5000, 60), [O, O, O, S, O, O]),
        (map(UDP, 5000, 5000, 0), [O, O, O, N, O, O]),
        // Unless that port is another mapping's own.
        (map(UDP, 6000, 6000, 60), [O; 6]),
        // Deleted; or nothing granted; or the late answer to a deletion.
        (map(UDP, 4000, 0, 0), [O, L, S, O, O, O]),
        (map(UDP, 0, 0, 0), [O, O, O, L, S, O]),
        (map(TCP, 0, 0, 0), [O, O, O, O, O, S]),
        (map(TCP, 4000, 0, 0), [O; 6]),
        // Granted without a port, or for no time: C26. A deletion may be answered with a port all the same.
        (map(UDP, 4000, 0, 60), [O, N, O, O, O, O]),
        (map(UDP, 4000, 5000, 0), [O, N, S, O, O, O]),
        (map(UDP, 0, 0, 60), [O, O, O, N, O, O]),
        (map(UDP, 0, 5000, 0), [O, O, O, N, S, O]),
    ] {
        assert_eq!(meanings(&response), expected, "{response:?}");
    }
}

/// C08, C15, C16.
#[test]
fn a_failure_answers_its_opcode_and_its_port_if_it_names_one() {
    for (opcode, port, expected) in [
        (0, None, [R(NO), O, O, O, O, O]),
        (1, None, [O, R(NO), R(NO), R(NO), R(NO), O]),
        (2, None, [O, O, O, O, O, R(NO)]),
        (3, None, [O; 6]),
        (127, None, [O; 6]),
        (1, Some(4000), [O, R(NO), R(NO), O, O, O]),
        (1, Some(4001), [O; 6]),
        (1, Some(0), [O, O, O, R(NO), R(NO), O]),
        (2, Some(4000), [O; 6]),
        (2, Some(0), [O, O, O, O, O, R(NO)]),
    ] {
        assert_eq!(meanings(&failure(opcode, NO, port)), expected, "opcode {opcode}, port {port:?}");
    }
}

/// C17: opcode 0 (or 128 on the wire) answers whatever was asked; the opcode that was asked answers that.
#[test]
fn an_unsupported_version_with_opcode_0_answers_every_request() {
    let version = Refusal::UnsupportedVersion;
    assert_eq!(meanings(&failure(0, version, None)), [R(version); 6]);
    assert_eq!(meanings(&failure(1, version, None)), [O, R(version), R(version), R(version), R(version), O]);
    assert_eq!(meanings(&failure(2, version, None)), [O, O, O, O, O, R(version)]);
    assert_eq!(meanings(&failure(3, version, None)), [O; 6]);
}

#[test]
fn every_result_code_is_a_refusal_with_that_code() {
    for code in 1..=u16::MAX {
        let refusal = Refusal::from_code(code).unwrap();
        let response = failure(1, refusal, None);
        assert_eq!(Ask::Map(KEY).meaning(&response, |_, _| false), R(refusal));
    }
}
