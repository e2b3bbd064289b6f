//! What a gateway is told about every version and every opcode.

use super::padded;
use crate::wire::{DecodeError, Protocol, Request, Response};

fn packet(version: u8, opcode: u8) -> std::vec::Vec<u8> {
    let mut bytes = padded("0000 0000 01020304 0fa0 0fa1 00001c20");
    bytes[..2].copy_from_slice(&[version, opcode]);
    bytes
}

/// G02: an opcode of 128 or above is never to be answered, whatever its version.
#[test]
fn every_opcode_with_the_top_bit_is_no_request_in_any_version() {
    for version in 0..=255 {
        for opcode in 128..=255 {
            for length in [2, 4, 12, 64] {
                let result = Request::decode(&packet(version, opcode)[..length]);
                assert_eq!(result, Err(DecodeError::NotARequest { opcode }), "version {version}, {length} bytes");
            }
        }
    }
}

/// G01: a request of another version is told apart, so that it can be answered as such.
#[test]
fn every_other_version_is_named() {
    for version in 1..=255 {
        for opcode in [0, 1, 2, 3, 127] {
            for length in [2, 11, 12, 24, 64] {
                let expected = match version {
                    2 => DecodeError::Pcp { opcode, result: None },
                    _ => DecodeError::OtherVersion { version, opcode },
                };
                assert_eq!(Request::decode(&packet(version, opcode)[..length]), Err(expected));
            }
        }
    }
}

/// G03: an opcode that is not defined is told apart, so that it can be sent back.
#[test]
fn every_opcode_of_a_request_is_known_or_named() {
    for opcode in 0..=127 {
        let map = |protocol| Request::Map {
            protocol,
            internal_port: 0x0102,
            suggested_external_port: 0x0304,
            lifetime: 0x0fa0_0fa1,
        };
        let expected = match opcode {
            0 => Ok(Request::ExternalAddress),
            1 => Ok(map(Protocol::Udp)),
            2 => Ok(map(Protocol::Tcp)),
            _ => Err(DecodeError::UnsupportedOpcode { opcode }),
        };
        for length in [12, 13, 64] {
            assert_eq!(Request::decode(&packet(0, opcode)[..length]), expected, "opcode {opcode}");
        }
        if let Ok(request) = expected {
            assert_eq!(request.opcode(), opcode);
        }
    }
}

#[test]
fn every_other_version_of_a_response_is_named() {
    for version in 1..=255 {
        for opcode in 0..=255 {
            let expected = match version {
                2 => DecodeError::Pcp { opcode, result: Some(0) },
                _ => DecodeError::OtherVersion { version, opcode },
            };
            for length in [4, 8, 12, 16, 64] {
                assert_eq!(Response::decode(&packet(version, opcode)[..length]), Err(expected));
            }
        }
    }
}

#[test]
fn every_opcode_without_the_top_bit_is_no_response() {
    for opcode in 0..=127 {
        for length in [2, 4, 8, 12, 16, 64] {
            let result = Response::decode(&packet(0, opcode)[..length]);
            assert_eq!(result, Err(DecodeError::NotAResponse { opcode }), "{length} bytes");
        }
    }
}

/// C14: a deletion has lifetime 0 and suggested port 0, and its protocol's own opcode.
#[test]
fn a_deletion_asks_for_nothing_else() {
    for protocol in Protocol::ALL {
        let bytes = Request::delete(protocol, 4000).encode();
        assert_eq!(bytes[..], [0, protocol.opcode(), 0, 0, 0x0f, 0xa0, 0, 0, 0, 0, 0, 0]);
    }
}
