//! Every length from 0 to 64 of every kind of packet, for both decoders.

use core::net::Ipv4Addr;

use super::{hex, padded};
use crate::wire::{DecodeError, Failure, FailureDetail, Protocol, Refusal, Request, Response};

const EPOCH: u32 = 0x0102_0304;

/// What a decoder makes of the first 0 to 64 bytes: `expected` says it for each length.
fn sweep<T: PartialEq + core::fmt::Debug>(
    digits: &str,
    decode: impl Fn(&[u8]) -> Result<T, DecodeError>,
    expected: impl Fn(usize) -> Result<T, DecodeError>,
) {
    let bytes = padded(digits);
    for length in 0..=64 {
        assert_eq!(decode(&bytes[..length]), expected(length), "{length} bytes of {digits}");
    }
}

/// `value` from its `full` length on, and before that: truncated, where the header itself has `header` bytes.
fn needs<T: Copy>(value: T, header: usize, full: usize) -> impl Fn(usize) -> Result<T, DecodeError> {
    move |length| match length {
        0 | 1 => Err(DecodeError::Truncated { length, needed: header }),
        _ if length < full => Err(DecodeError::Truncated { length, needed: full }),
        _ => Ok(value),
    }
}

#[test]
fn an_external_address_request_needs_two_bytes() {
    sweep("0000", Request::decode, needs(Request::ExternalAddress, 2, 2));
    // Any zero bytes count as this request.
    for length in 2..=11 {
        assert_eq!(Request::decode(&[0; 11][..length]), Ok(Request::ExternalAddress));
    }
}

/// G23: what is too short for its opcode is an error, and never half a request.
#[test]
fn a_mapping_request_needs_twelve_bytes() {
    for protocol in Protocol::ALL {
        let request = Request::Map { protocol, internal_port: 4000, suggested_external_port: 4001, lifetime: 7200 };
        let digits = match protocol {
            Protocol::Udp => "0001 0000 0fa0 0fa1 00001c20",
            Protocol::Tcp => "0002 0000 0fa0 0fa1 00001c20",
        };
        sweep(digits, Request::decode, needs(request, 2, 12));
    }
}

#[test]
fn a_success_shorter_than_its_form_is_refused_with_the_lengths_and_a_longer_one_is_fine() {
    let address = Ipv4Addr::new(198, 51, 100, 7);
    let external = Response::ExternalAddress { epoch: EPOCH, address };
    let success = |value, full| {
        move |length| match length {
            0..=3 => Err(DecodeError::Truncated { length, needed: 4 }),
            _ => needs(value, 4, full)(length),
        }
    };
    sweep("0080 0000 01020304 c6336407", Response::decode, success(external, 12));
    for protocol in Protocol::ALL {
        let digits = match protocol {
            Protocol::Udp => "0081 0000 01020304 0fa0 0fa1 00001c20",
            Protocol::Tcp => "0082 0000 01020304 0fa0 0fa1 00001c20",
        };
        let mapped = Response::Map { protocol, epoch: EPOCH, internal_port: 4000, external_port: 4001, lifetime: 7200 };
        sweep(digits, Response::decode, success(mapped, 16));
    }
}

/// C15: an answer that is long enough for a result is understood as that result.
#[test]
fn a_failure_of_four_bytes_or_more_is_understood_with_all_that_it_carries() {
    for opcode in 0..=127 {
        for code in [1_u16, 2, 3, 4, 6, 255, 65_535] {
            let header = [0, 0x80 | opcode, code.to_be_bytes()[0], code.to_be_bytes()[1]];
            let mut bytes = padded("00000000 01020304 0fa0 0fa1 00001c20");
            bytes[..4].copy_from_slice(&header);
            let refusal = Refusal::from_code(code).unwrap();
            for length in 0..=64 {
                let internal_port = (length >= 10 && (opcode == 1 || opcode == 2)).then_some(4000);
                let detail = (length >= 8).then_some(FailureDetail { epoch: EPOCH, internal_port });
                let expected = match length {
                    0..=3 => Err(DecodeError::Truncated { length, needed: 4 }),
                    _ => Ok(Response::Failure(Failure { opcode, refusal, detail })),
                };
                assert_eq!(Response::decode(&bytes[..length]), expected, "{length} bytes, opcode {opcode}, {refusal}");
            }
        }
    }
}

#[test]
fn an_unsupported_opcode_of_any_length_has_no_detail() {
    for opcode in 0..=127 {
        let mut bytes = padded("0000 0005 01020304 0fa0 0fa1 00001c20");
        bytes[1] = 0x80 | opcode;
        let failure = Failure { opcode, refusal: Refusal::UnsupportedOpcode, detail: None };
        for length in 4..=64 {
            assert_eq!(Response::decode(&bytes[..length]), Ok(Response::Failure(failure)), "{length}");
        }
    }
}

#[test]
fn a_success_for_an_opcode_that_nobody_defined_needs_its_result_only() {
    for opcode in 3..=127 {
        let mut bytes = padded("0000 0000");
        bytes[1] = 0x80 | opcode;
        for length in 4..=64 {
            assert_eq!(Response::decode(&bytes[..length]), Ok(Response::UnknownSuccess { opcode }));
        }
        assert_eq!(Response::decode(&bytes[..3]), Err(DecodeError::Truncated { length: 3, needed: 4 }));
    }
}

/// C17 (erratum 3618): eight bytes tell the old form of an unsupported version from a request.
#[test]
fn the_old_form_of_an_unsupported_version_needs_eight_bytes() {
    sweep("0000 0001 01020304", Response::decode, |length| match length {
        0 | 1 => Err(DecodeError::Truncated { length, needed: 4 }),
        2..=7 => Err(DecodeError::NotAResponse { opcode: 0 }),
        _ => Ok(Response::Failure(Failure {
            opcode: 0,
            refusal: Refusal::UnsupportedVersion,
            detail: Some(FailureDetail { epoch: EPOCH, internal_port: None }),
        })),
    });
    // Its opcode and result are exactly those of the erratum.
    for near in ["0000 0000 01020304", "0000 0002 01020304", "0000 0101 01020304", "0001 0001 01020304"] {
        let opcode = hex(near)[1];
        assert_eq!(Response::decode(&hex(near)), Err(DecodeError::NotAResponse { opcode }), "{near}");
    }
}

#[test]
fn pcp_packets_are_recognised_from_two_bytes_on() {
    sweep("0280 0001 00000000", Response::decode, |length| match length {
        0 | 1 => Err(DecodeError::Truncated { length, needed: 4 }),
        2 | 3 => Err(DecodeError::Pcp { opcode: 0x80, result: None }),
        _ => Err(DecodeError::Pcp { opcode: 0x80, result: Some(1) }),
    });
    sweep("0201 0000 00001c20", Request::decode, |length| match length {
        0 | 1 => Err(DecodeError::Truncated { length, needed: 2 }),
        _ => Err(DecodeError::Pcp { opcode: 1, result: None }),
    });
}

#[test]
fn a_request_is_no_response_and_a_response_no_request_at_any_length() {
    for (request, response, opcode) in [("0000", "0080 0000", 0), ("0001 0000", "0081 0000", 1)] {
        for length in 2..=64 {
            let result = Response::decode(&padded(request)[..length]);
            assert_eq!(result, Err(DecodeError::NotAResponse { opcode }));
            let result = Request::decode(&padded(response)[..length]);
            assert_eq!(result, Err(DecodeError::NotARequest { opcode: 0x80 | opcode }));
        }
    }
}
