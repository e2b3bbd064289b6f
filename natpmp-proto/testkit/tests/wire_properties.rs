//! Properties of the wire: any bytes can be read without harm, and what is written is read as what it was.

use std::net::Ipv4Addr;

use natpmp_proto::Protocol;
use natpmp_proto::wire::{DecodeError, Failure, FailureDetail, Refusal, Request, Response, encode_unsupported_opcode};
use proptest::prelude::*;

fn protocol() -> impl Strategy<Value = Protocol> {
    prop_oneof![Just(Protocol::Udp), Just(Protocol::Tcp)]
}

fn request() -> impl Strategy<Value = Request> {
    let map = (protocol(), any::<[u16; 2]>(), any::<u32>()).prop_map(|(protocol, [internal, suggested], lifetime)| {
        Request::Map { protocol, internal_port: internal, suggested_external_port: suggested, lifetime }
    });
    prop_oneof![1 => Just(Request::ExternalAddress), 9 => map]
}

/// Failures with every detail that their kind can carry on the wire, and no other.
fn failure() -> impl Strategy<Value = Failure> {
    let code = prop_oneof![3 => 1..=6_u16, 1 => 1..=u16::MAX];
    let opcode = prop_oneof![3 => 0..=3_u8, 1 => 0..=127_u8];
    let detail = any::<Option<(u32, Option<u16>)>>();
    (opcode, code, detail).prop_map(|(opcode, code, detail)| {
        let refusal = Refusal::from_code(code).expect("0 is not drawn");
        let detail = detail
            .filter(|_| refusal != Refusal::UnsupportedOpcode)
            .map(|(epoch, port)| FailureDetail { epoch, internal_port: port.filter(|_| opcode == 1 || opcode == 2) });
        Failure { opcode, refusal, detail }
    })
}

fn response() -> impl Strategy<Value = Response> {
    let external = any::<(u32, u32)>()
        .prop_map(|(epoch, bits)| Response::ExternalAddress { epoch, address: Ipv4Addr::from_bits(bits) });
    let map = (protocol(), any::<[u16; 2]>(), any::<[u32; 2]>()).prop_map(
        |(protocol, [internal_port, external_port], [epoch, lifetime])| Response::Map {
            protocol,
            epoch,
            internal_port,
            external_port,
            lifetime,
        },
    );
    prop_oneof![
        external,
        map,
        failure().prop_map(Response::Failure),
        (3..=127_u8).prop_map(|opcode| Response::UnknownSuccess { opcode }),
    ]
}

/// Bytes of any length, most of which have a header that means something.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let version = prop_oneof![6 => Just(0_u8), 1 => Just(2), 1 => any::<u8>()];
    let opcode = prop_oneof![2 => 0..=3_u8, 4 => 128..=131_u8, 1 => any::<u8>()];
    let result = prop_oneof![4 => 0..=6_u16, 1 => any::<u16>()].prop_map(u16::to_be_bytes);
    let likely = (version, opcode, result, prop::collection::vec(any::<u8>(), 0..=60), 0..=64_usize).prop_map(
        |(version, opcode, result, tail, length)| {
            let mut bytes = [&[version, opcode][..], &result, &tail].concat();
            bytes.truncate(length);
            bytes
        },
    );
    prop_oneof![4 => likely, 1 => prop::collection::vec(any::<u8>(), 0..=1100)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_request_that_is_written_is_read_as_itself_and_written_the_same_again(request in request()) {
        let written = request.encode();
        let read = Request::decode(&written);
        prop_assert_eq!(read, Ok(request));
        prop_assert_eq!(&read.unwrap().encode()[..], &written[..]);
    }

    #[test]
    fn a_response_that_is_written_is_read_as_itself_and_written_the_same_again(response in response()) {
        let written = response.encode();
        let read = Response::decode(&written);
        prop_assert_eq!(read, Ok(response));
        prop_assert_eq!(&read.unwrap().encode()[..], &written[..]);
        // G24: no more bytes than a form has.
        prop_assert!(written.len() <= 16);
    }

    /// What is compared is what was written again, not what came in.
    #[test]
    fn what_can_be_read_as_a_request_can_be_written_and_read_again(bytes in bytes()) {
        if let Ok(request) = Request::decode(&bytes) {
            let written = request.encode();
            prop_assert!(written.len() <= bytes.len());
            prop_assert_eq!(Request::decode(&written), Ok(request));
        }
    }

    #[test]
    fn what_can_be_read_as_a_response_can_be_written_and_read_again(bytes in bytes()) {
        if let Ok(response) = Response::decode(&bytes) {
            let written = response.encode();
            prop_assert!(written.len() <= 16);
            prop_assert_eq!(Response::decode(&written), Ok(response));
        }
    }

    #[test]
    fn bytes_behind_the_longest_form_change_nothing(bytes in prop::collection::vec(any::<u8>(), 16..=64)) {
        prop_assert_eq!(Response::decode(&bytes), Response::decode(&bytes[..16]));
        prop_assert_eq!(Request::decode(&bytes), Request::decode(&bytes[..12]));
    }

    /// No bytes are both: whoever hears its own kind of packet does not take it for the other side's.
    #[test]
    fn no_bytes_are_a_request_and_a_success_at_once(bytes in bytes()) {
        let is_request = Request::decode(&bytes).is_ok();
        // The old form of an unsupported version has the opcode of a request (erratum 3618).
        let is_success = Response::decode(&bytes).is_ok_and(|response| !matches!(response, Response::Failure(_)));
        prop_assert!(!(is_request && is_success));
    }

    #[test]
    fn what_is_truncated_needs_more_bytes_than_it_has(bytes in bytes()) {
        let errors = [Request::decode(&bytes).err(), Response::decode(&bytes).err()];
        for error in errors.into_iter().flatten() {
            if let DecodeError::Truncated { length, needed } = error {
                prop_assert_eq!(length, bytes.len());
                prop_assert!(needed > length);
            }
        }
    }

    /// G03, G24: the answer is as long as the request, and given to unsupported opcodes only.
    #[test]
    fn an_unsupported_opcode_is_sent_back_as_it_came(bytes in bytes(), room in 0..=1200_usize) {
        let is_unsupported = matches!(Request::decode(&bytes), Err(DecodeError::UnsupportedOpcode { .. }));
        let mut buffer = vec![0; room];
        let answer = encode_unsupported_opcode(&bytes, &mut buffer);
        prop_assert_eq!(answer.is_some(), is_unsupported && bytes.len() >= 4 && room >= bytes.len());
        if let Some(answer) = answer {
            prop_assert_eq!(&answer[4..], &bytes[4..]);
            prop_assert_eq!(&answer[..4], &[0, bytes[1] | 0x80, 0, 5][..]);
        }
    }

    /// Every variant and every number that a caller can build, also those that no gateway should send.
    #[test]
    fn writing_never_fails(opcode in any::<u8>(), code in any::<u16>(), detail in any::<Option<(u32, Option<u16>)>>()) {
        let detail = detail.map(|(epoch, internal_port)| FailureDetail { epoch, internal_port });
        let failure = Response::Failure(Failure { opcode, refusal: Refusal::Other(code), detail });
        for response in [failure, Response::UnknownSuccess { opcode }] {
            let written = response.encode();
            prop_assert!((4..=16).contains(&written.len()));
            prop_assert!(written[1] & 0x80 != 0);
        }
    }
}
