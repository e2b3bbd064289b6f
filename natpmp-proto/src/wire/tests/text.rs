//! What errors and packets look like to a person.

use std::format;
use std::string::ToString;

use crate::wire::{DecodeError, Protocol, Refusal, Request};

#[test]
fn a_decode_error_names_what_was_wrong_with_the_values() {
    for (error, values) in [
        (DecodeError::Truncated { length: 15, needed: 16 }, ["15", "16"]),
        (DecodeError::Pcp { opcode: 129, result: None }, ["PCP", "129"]),
        (DecodeError::Pcp { opcode: 129, result: Some(8) }, ["opcode byte 129", "result 8"]),
        (DecodeError::OtherVersion { version: 77, opcode: 33 }, ["version 77", "opcode 33"]),
        (DecodeError::NotAResponse { opcode: 99 }, ["request", "99"]),
        (DecodeError::NotARequest { opcode: 199 }, ["response", "199"]),
        (DecodeError::UnsupportedOpcode { opcode: 55 }, ["opcode 55", "not define"]),
    ] {
        let text = error.to_string();
        assert!(values.iter().all(|value| text.contains(value)), "{error:?} reads {text:?}");
    }
}

#[test]
fn a_refusal_says_its_code_and_its_meaning() {
    for (code, meaning) in [
        (1, "version"),
        (2, "not authorized"),
        (3, "no external address"),
        (4, "out of resources"),
        (5, "opcode"),
        (6, "does not define"),
        (65_535, "does not define"),
    ] {
        let text = Refusal::from_code(code).unwrap().to_string();
        assert!(text.contains(&format!("result {code} ")) && text.contains(meaning), "{text}");
    }
}

#[test]
fn a_protocol_reads_udp_or_tcp_and_keeps_to_a_width() {
    assert_eq!(format!("{}/{:>5}", Protocol::Udp, Protocol::Tcp), "udp/  tcp");
}

#[test]
fn the_bytes_of_a_packet_show_in_hexadecimal() {
    assert_eq!(format!("{:?}", Request::delete(Protocol::Tcp, 4000).encode()), "000200000fa0000000000000");
}
