//! All 65,536 result codes.

use super::padded;
use crate::wire::{DecodeError, Failure, FailureDetail, Protocol, Refusal, Response};

const EPOCH: u32 = 0x0102_0304;
const MAPPED: Response = Response::Map {
    protocol: Protocol::Udp,
    epoch: EPOCH,
    internal_port: 0x0fa0,
    external_port: 0x0fa1,
    lifetime: 0x1c20,
};

#[test]
fn every_result_code_is_kept_and_only_zero_is_success() {
    for code in 0..=u16::MAX {
        match Refusal::from_code(code) {
            None => assert_eq!(code, 0),
            Some(refusal) => {
                assert_eq!(refusal.code(), code);
                assert_eq!(matches!(refusal, Refusal::Other(_)), code > 5, "{code}");
            }
        }
    }
}

/// C15: a code that the RFC does not define is a failure of that request, in any length, and never a success.
#[test]
fn every_result_code_is_read_at_four_eight_twelve_and_sixteen_bytes() {
    let mut bytes = padded("0081 0000 01020304 0fa0 0fa1 00001c20");
    for code in 0..=u16::MAX {
        bytes[2..4].copy_from_slice(&code.to_be_bytes());
        for length in [4, 8, 12, 16] {
            let detail = FailureDetail { epoch: EPOCH, internal_port: (length >= 12).then_some(0x0fa0) };
            let has_detail = length >= 8 && code != 5;
            let expected = match Refusal::from_code(code) {
                None if length < 16 => Err(DecodeError::Truncated { length, needed: 16 }),
                None => Ok(MAPPED),
                Some(refusal) => {
                    Ok(Response::Failure(Failure { opcode: 1, refusal, detail: has_detail.then_some(detail) }))
                }
            };
            assert_eq!(Response::decode(&bytes[..length]), expected, "result {code}, {length} bytes");
        }
    }
}

/// C08: what follows the epoch of a failed request for the address is not read.
#[test]
fn every_result_code_but_zero_hides_the_address() {
    let mut bytes = padded("0080 0000 01020304 c6336407");
    for code in 1..=u16::MAX {
        bytes[2..4].copy_from_slice(&code.to_be_bytes());
        let refusal = Refusal::from_code(code).unwrap();
        let detail = (code != 5).then_some(FailureDetail { epoch: EPOCH, internal_port: None });
        let expected = Response::Failure(Failure { opcode: 0, refusal, detail });
        assert_eq!(Response::decode(&bytes[..12]), Ok(expected));
    }
}
