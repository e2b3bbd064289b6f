//! Packets as RFC 6886 and real gateways have them, each with the value it stands for.

use core::net::Ipv4Addr;

use super::hex;
use crate::wire::{DecodeError, Failure, FailureDetail, Protocol, Refusal, Request, Response};

const EPOCH: u32 = 0x0001_e240;
const ADDRESS: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);

const fn map(protocol: Protocol, internal_port: u16, suggested_external_port: u16, lifetime: u32) -> Request {
    Request::Map { protocol, internal_port, suggested_external_port, lifetime }
}

const fn mapped(protocol: Protocol, internal_port: u16, external_port: u16, lifetime: u32) -> Response {
    Response::Map { protocol, epoch: EPOCH, internal_port, external_port, lifetime }
}

const fn failure(opcode: u8, refusal: Refusal, detail: Option<FailureDetail>) -> Response {
    Response::Failure(Failure { opcode, refusal, detail })
}

const fn at(epoch: u32, internal_port: Option<u16>) -> Option<FailureDetail> {
    Some(FailureDetail { epoch, internal_port })
}

/// C01, C11, C14, C23: every form of a request, in the bytes that go out and that a gateway reads.
const REQUESTS: &[(&str, Request)] = &[
    ("0000", Request::ExternalAddress),
    ("0001 0000 0fa0 0000 00000078", map(Protocol::Udp, 4000, 0, 120)),
    ("0001 0000 0fa0 0fa0 00001c20", map(Protocol::Udp, 4000, 4000, 7200)),
    ("0002 0000 1ae1 1ae2 00000e10", map(Protocol::Tcp, 6881, 6882, 3600)),
    ("0001 0000 1770 0000 00000258", map(Protocol::Udp, 6000, 0, 600)),
    ("0001 0000 0000 0001 0000003c", map(Protocol::Udp, 0, 1, 60)),
    ("0002 0000 ffff fffe fffffffd", map(Protocol::Tcp, 65_535, 65_534, 4_294_967_293)),
    ("0001 0000 0fa0 0000 00000000", Request::delete(Protocol::Udp, 4000)),
    ("0002 0000 0fa0 0000 00000000", Request::delete(Protocol::Tcp, 4000)),
    ("0002 0000 0000 0000 00000000", Request::delete(Protocol::Tcp, 0)),
];

/// Every form of an answer as RFC 6886 gives it: these bytes are written, and read.
const RESPONSES: &[(&str, Response)] = &[
    ("0080 0000 0001e240 c6336407", Response::ExternalAddress { epoch: EPOCH, address: ADDRESS }),
    ("0080 0000 00000000 00000000", Response::ExternalAddress { epoch: 0, address: Ipv4Addr::UNSPECIFIED }),
    ("0081 0000 0001e240 0fa0 0fa0 00000078", mapped(Protocol::Udp, 4000, 4000, 120)),
    ("0082 0000 0001e240 1ae1 c001 00001c20", mapped(Protocol::Tcp, 6881, 49_153, 7200)),
    // Deletions of one and of all (section 3.4).
    ("0081 0000 0001e240 0fa0 0000 00000000", mapped(Protocol::Udp, 4000, 0, 0)),
    ("0082 0000 0001e240 0000 0000 00000000", mapped(Protocol::Tcp, 0, 0, 0)),
    // A large VPN provider: internal port 0, and the mapped port in both places.
    ("0081 0000 0001e240 0000 c001 0000003c", mapped(Protocol::Udp, 0, 49_153, 60)),
    ("0081 0000 0001e240 c001 c001 0000003c", mapped(Protocol::Udp, 49_153, 49_153, 60)),
    // Failures (section 3.5): address, external port and lifetime are 0.
    ("0080 0001 0001e240", failure(0, Refusal::UnsupportedVersion, at(EPOCH, None))),
    ("0080 0003 0001e240 00000000", failure(0, Refusal::NetworkFailure, at(EPOCH, None))),
    ("0081 0002 0001e240 0fa0 0000 00000000", failure(1, Refusal::NotAuthorized, at(EPOCH, Some(4000)))),
    ("0082 0004 0001e240 1ae1 0000 00000000", failure(2, Refusal::OutOfResources, at(EPOCH, Some(6881)))),
    ("0082 ffff 0001e240 1ae1 0000 00000000", failure(2, Refusal::Other(65_535), at(EPOCH, Some(6881)))),
    // A gateway without PCP, asked in another version; a router that answers every error in 8 bytes.
    ("0081 0001 0001e240", failure(1, Refusal::UnsupportedVersion, at(EPOCH, None))),
    ("0082 0002 0001e240", failure(2, Refusal::NotAuthorized, at(EPOCH, None))),
    ("0081 0002", failure(1, Refusal::NotAuthorized, None)),
    ("0083 0005", failure(3, Refusal::UnsupportedOpcode, None)),
    ("00ff 0000", Response::UnknownSuccess { opcode: 127 }),
];

/// Other forms that are met: read, and never written.
const ALSO_READ: &[(&str, Response)] = &[
    // C17 and erratum 3618: old gateways answer another version with opcode 0, and miniupnpd with the opcode asked.
    ("0000 0001 0001e240", failure(0, Refusal::UnsupportedVersion, at(EPOCH, None))),
    ("0000 0001 0001e240 00000000", failure(0, Refusal::UnsupportedVersion, at(EPOCH, None))),
    ("0080 0001 0001e240 c6336407", failure(0, Refusal::UnsupportedVersion, at(EPOCH, None))),
    // C08: an address, a port and a lifetime that mean nothing in a failure.
    ("0080 0003 0001e240 c6336407", failure(0, Refusal::NetworkFailure, at(EPOCH, None))),
    ("0081 0002 0001e240 1770 1770 00000258", failure(1, Refusal::NotAuthorized, at(EPOCH, Some(6000)))),
    // miniupnpd: 8 bytes for an opcode that it does not know; a PCP error under the version byte of NAT-PMP.
    ("0083 0005 0001e240", failure(3, Refusal::UnsupportedOpcode, None)),
    ("0080 0003 00000000 00000000 00000000 00000000 00000000", failure(0, Refusal::NetworkFailure, at(0, None))),
    // The whole request sent back (section 3.5): an internal port stands where the epoch would be.
    ("0081 0005 0fa0 0000 00000078", failure(1, Refusal::UnsupportedOpcode, None)),
    // C15: shorter than their form, and long enough for a result.
    ("0081 0002 0001", failure(1, Refusal::NotAuthorized, None)),
    ("0080 0003 0001", failure(0, Refusal::NetworkFailure, None)),
    ("0082 0004 0001e240 1a", failure(2, Refusal::OutOfResources, at(EPOCH, None))),
    ("0082 0004 0001e240 1ae1", failure(2, Refusal::OutOfResources, at(EPOCH, Some(6881)))),
    // Longer than its form.
    ("0080 0000 0001e240 c6336407 ffff", Response::ExternalAddress { epoch: EPOCH, address: ADDRESS }),
    ("0081 0000 0001e240 0fa0 0fa0 00000078 ffffffff", mapped(Protocol::Udp, 4000, 4000, 120)),
];

#[test]
fn every_known_request_is_written_and_read_as_its_bytes() {
    for (digits, request) in REQUESTS {
        assert_eq!(request.encode()[..], hex(digits), "{request:?}");
        assert_eq!(Request::decode(&hex(digits)), Ok(*request), "{digits}");
    }
}

#[test]
fn every_known_response_is_written_and_read_as_its_bytes() {
    for (digits, response) in RESPONSES {
        assert_eq!(response.encode()[..], hex(digits), "{response:?}");
        assert_eq!(Response::decode(&hex(digits)), Ok(*response), "{digits}");
    }
}

/// C08, C15, C17.
#[test]
fn other_forms_that_gateways_send_are_read_as_what_they_mean() {
    for (digits, response) in ALSO_READ {
        assert_eq!(Response::decode(&hex(digits)), Ok(*response), "{digits}");
        let written = response.encode();
        assert_ne!(written[..], hex(digits), "belongs to the packets that are written: {digits}");
        assert_eq!(Response::decode(&written), Ok(*response), "{digits}");
    }
}

/// C01: bytes 2 and 3 of a request are sent as zero and not looked at.
#[test]
fn the_reserved_field_of_a_request_is_ignored() {
    let request = map(Protocol::Udp, 4000, 0, 120);
    for reserved in ["0000", "0001", "8000", "ffff"] {
        let bytes = [&hex("0001")[..], &hex(reserved), &hex("0fa0 0000 00000078")].concat();
        assert_eq!(Request::decode(&bytes), Ok(request), "{reserved}");
        assert_eq!(request.encode()[2..4], [0, 0]);
    }
}

#[test]
fn the_packets_of_pcp_are_recognised_and_not_parsed() {
    let announcement = hex("0280 0000 00000000 00000000 00000000 00000000 00000000");
    assert_eq!(Response::decode(&announcement), Err(DecodeError::Pcp { opcode: 0x80, result: Some(0) }));
    let unsupported_version = hex("0280 0001 00000000 0001e240 00000000 00000000 00000000");
    assert_eq!(Response::decode(&unsupported_version), Err(DecodeError::Pcp { opcode: 0x80, result: Some(1) }));
    let map_request = hex("0201 0000 00001c20 00000000 00000000 0000ffff c0a80102");
    assert_eq!(Request::decode(&map_request), Err(DecodeError::Pcp { opcode: 1, result: None }));
    // The third byte is reserved in PCP: the result is the fourth alone.
    assert_eq!(Response::decode(&hex("0281 ff08")), Err(DecodeError::Pcp { opcode: 0x81, result: Some(8) }));
    assert_eq!(Response::decode(&hex("0281 00")), Err(DecodeError::Pcp { opcode: 0x81, result: None }));
}

#[test]
fn the_epoch_is_told_for_every_answer_that_carries_one() {
    for (digits, response) in RESPONSES.iter().chain(ALSO_READ) {
        let expected = match response {
            Response::Failure(Failure { detail: None, .. }) | Response::UnknownSuccess { .. } => None,
            // The two packets above that carry another epoch.
            _ if digits.contains("00000000 00000000") => Some(0),
            _ => Some(EPOCH),
        };
        assert_eq!(response.epoch(), expected, "{digits}");
    }
}
