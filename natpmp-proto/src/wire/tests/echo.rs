//! The answer to an opcode that is not defined: the request itself, with result 5.

use super::padded;
use crate::wire::{DecodeError, Failure, Refusal, Request, Response, encode_unsupported_opcode};

/// G02, G03, G23: only opcodes 3 to 127 of version 0 come back, and only where there is room for a result.
#[test]
fn every_opcode_and_length_is_echoed_or_left_alone() {
    for opcode in 0..=255 {
        let mut request = padded("0000 1234 01020304");
        request[1] = opcode;
        for length in 0..=64 {
            let mut buffer = [0xaa; 70];
            let answer = encode_unsupported_opcode(&request[..length], &mut buffer);
            if length < 4 || !(3..=127).contains(&opcode) {
                assert_eq!(answer, None, "opcode {opcode}, {length} bytes");
                assert_eq!(buffer, [0xaa; 70], "nothing is written where there is no answer");
                continue;
            }
            let answer = answer.unwrap();
            assert_eq!(answer.len(), length);
            assert_eq!(answer[..4], [0, 0x80 | opcode, 0, 5]);
            assert_eq!(answer[4..], request[4..length]);
            let failure = Failure { opcode, refusal: Refusal::UnsupportedOpcode, detail: None };
            assert_eq!(Response::decode(answer), Ok(Response::Failure(failure)));
            assert_eq!(buffer[length..], [0xaa; 70][length..], "nothing is written behind the answer");
            let is_known = matches!(Request::decode(&request[..length]), Err(DecodeError::UnsupportedOpcode { .. }));
            assert!(is_known, "what is echoed is what was refused as unsupported");
        }
    }
}

#[test]
fn a_request_of_another_version_is_not_echoed() {
    for version in 1..=255 {
        let mut request = padded("0003 0000");
        request[0] = version;
        assert_eq!(encode_unsupported_opcode(&request, &mut [0; 64]), None);
    }
}

#[test]
fn a_buffer_shorter_than_the_request_gets_no_answer() {
    let request = padded("0003 0000");
    for length in 4..=64 {
        for room in 0..length {
            let mut buffer = [0xaa; 64];
            assert_eq!(encode_unsupported_opcode(&request[..length], &mut buffer[..room]), None);
            assert_eq!(buffer, [0xaa; 64]);
        }
        assert!(encode_unsupported_opcode(&request[..length], &mut [0; 64][..length]).is_some());
    }
}

/// Whatever a caller puts together: it is not to be read as a request.
#[test]
fn an_answer_is_a_response_whatever_its_opcode() {
    for opcode in 0..=255 {
        let failure = Failure { opcode, refusal: Refusal::NotAuthorized, detail: None };
        for response in [Response::Failure(failure), Response::UnknownSuccess { opcode }] {
            assert_eq!(response.encode()[..2], [0, 0x80 | opcode], "{response:?}");
        }
    }
}
