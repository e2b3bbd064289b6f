//! **Invariant.** Of any bytes that come to a gateway, reading makes a request exactly where RFC 6886 has one (sections 3.2 and
//! 3.3), with the fields at their places, and else an error that says what is wrong. What was read is written in no more bytes than
//! came, and is read from them as the same. The answer to an opcode that is not defined is the request itself, with the top bit set and
//! result 5 (section 3.5), and only such requests have one. Nothing panics.

use natpmp_proto::Protocol;
use natpmp_proto::wire::{DecodeError, Request, encode_unsupported_opcode};

/// Reads these bytes as a request.
///
/// # Panics
/// If the invariant does not hold.
pub fn run(bytes: &[u8]) {
    let read = Request::decode(bytes);
    assert_eq!(read.ok(), expected(bytes));
    match read {
        Ok(request) => {
            let written = request.encode();
            assert!(written.len() <= bytes.len());
            assert_eq!(Request::decode(&written), Ok(request));
            assert_eq!(written.get(1), Some(&request.opcode()));
            // No fields are left out, and nothing but the reserved ones is added.
            let form: Vec<u8> = (0..written.len())
                .map(|at| if written.len() == 12 && (at == 2 || at == 3) { 0 } else { bytes[at] })
                .collect();
            assert_eq!(&written[..], form);
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            check(bytes, error);
        }
    }
    check_unsupported_opcode(bytes, matches!(read, Err(DecodeError::UnsupportedOpcode { .. })));
}

/// The request that the RFC reads in these bytes.
fn expected(bytes: &[u8]) -> Option<Request> {
    match *bytes {
        [0, 0, ..] => Some(Request::ExternalAddress),
        [0, opcode @ (1 | 2), _, _, internal, in2, suggested, su2, a, b, c, d, ..] => Some(Request::Map {
            protocol: if opcode == 1 { Protocol::Udp } else { Protocol::Tcp },
            internal_port: u16::from_be_bytes([internal, in2]),
            suggested_external_port: u16::from_be_bytes([suggested, su2]),
            lifetime: u32::from_be_bytes([a, b, c, d]),
        }),
        _ => None,
    }
}

fn check(bytes: &[u8], error: DecodeError) {
    let expected = match *bytes {
        [] | [_] => DecodeError::Truncated { length: bytes.len(), needed: 2 },
        [_, opcode @ 128..=255, ..] => DecodeError::NotARequest { opcode },
        [2, opcode, ..] => DecodeError::Pcp { opcode, result: None },
        [0, 1 | 2, ..] => DecodeError::Truncated { length: bytes.len(), needed: 12 },
        [0, opcode, ..] => DecodeError::UnsupportedOpcode { opcode },
        [version, opcode, ..] => DecodeError::OtherVersion { version, opcode },
    };
    assert_eq!(error, expected);
}

fn check_unsupported_opcode(bytes: &[u8], is_unsupported: bool) {
    // A buffer that is one too short, one that fits, and one that is too long.
    for room in [bytes.len().saturating_sub(1), bytes.len(), bytes.len() + 7] {
        let mut buffer = vec![0xa5; room];
        let answer = encode_unsupported_opcode(bytes, &mut buffer);
        assert_eq!(answer.is_some(), is_unsupported && bytes.len() >= 4 && room >= bytes.len());
        if let Some(answer) = answer {
            let expected = [&[0, bytes[1] | 0x80, 0, 5], &bytes[4..]].concat();
            assert_eq!(answer, expected);
            assert!(buffer[bytes.len()..].iter().all(|byte| *byte == 0xa5), "what is behind it is left alone");
        }
    }
}
