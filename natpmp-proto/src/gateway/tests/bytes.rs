//! Every length, every opcode, every version.

use super::*;
use crate::wire::DecodeError;

/// The bytes of the answer that comes at once, if one does.
fn answer_to(rig: &mut Rig<16>, bytes: &[u8]) -> Option<Vec<u8>> {
    let answer = match rig.ask(client(2), bytes).ok()? {
        Some(answer) => answer,
        None => {
            let request = rig.nat();
            rig.gateway.handle_nat(rig.now, &request, Ok(()));
            rig.answered()?
        }
    };
    let mut buffer = std::vec![0xaa; bytes.len().max(16)];
    Some(answer.write(bytes, &mut buffer).expect("16 bytes or the request's size are enough").to_vec())
}

/// G01, G02, G03, G23, G24
#[test]
fn every_version_opcode_and_length_gets_the_answer_of_its_kind_or_none() {
    for version in 0..=255u8 {
        let mut rig = Rig::new();
        for opcode in 0..=255u8 {
            let lengths = if version < 3 { 0..=64usize } else { 0..=16 };
            for length in lengths {
                // A mapping is to be a new one each time.
                rig.gateway.clear(rig.now);
                let _ = rig.settle();
                let mut bytes = [0x11u8; 64];
                (bytes[0], bytes[1]) = (version, opcode);
                let bytes = &bytes[..length];
                let answer = answer_to(&mut rig, bytes);
                if let Some(answer) = &answer {
                    assert!(answer.len() <= length.max(16), "G24");
                }
                let expected = match (version, opcode) {
                    _ if length < 2 => None,
                    (_, 128..) => None,
                    (1.., _) => Some(8),
                    (0, 0) => Some(12),
                    (0, 1 | 2) => (length >= 12).then_some(16),
                    (0, _) => (length >= 4).then_some(length),
                };
                assert_eq!(answer.map(|answer| answer.len()), expected, "{version} {opcode} {length}");
            }
        }
    }
}

/// G01
#[test]
fn another_version_gets_eight_bytes_with_opcode_128_and_the_epoch() {
    let mut rig = Rig::new();
    rig.pass(0x1234);
    let epoch = rig.epoch().to_be_bytes();
    for bytes in [&[1, 0][..], &[1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], &[255, 127, 7], &[2; 60]] {
        let answer = answer_to(&mut rig, bytes).unwrap();
        assert_eq!(answer[..4], [0, 128, 0, 1]);
        assert_eq!(answer[4..], epoch);
    }
}

/// G02
#[test]
fn a_response_is_never_answered_whatever_its_version() {
    let mut rig = Rig::new();
    for (version, opcode) in [(0, 128), (0, 129), (0, 255), (1, 128), (2, 0x80), (255, 255)] {
        let bytes = [version, opcode, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(rig.ask(client(2), &bytes), Err(Discard::Undecodable(DecodeError::NotARequest { opcode })));
    }
}

/// G03
#[test]
fn an_unknown_opcode_brings_the_whole_request_back_with_result_5() {
    let mut rig = Rig::new();
    let mut request: Vec<u8> = (0..=255).collect();
    (request[0], request[1]) = (0, 3);
    let answer = answer_to(&mut rig, &request).unwrap();
    assert_eq!(answer[..4], [0, 131, 0, 5]);
    assert_eq!(answer[4..], request[4..]);
    assert_eq!(answer_to(&mut rig, &[0, 127, 9, 9]).unwrap(), [0, 255, 0, 5]);
    assert_eq!(answer_to(&mut rig, &[0, 127, 9]), None, "no room for a result");
}

/// G23
#[test]
fn a_mapping_request_too_short_makes_nothing() {
    let mut rig = Rig::new();
    let request = map(UDP, 4000, 4000, 120).encode();
    for length in 0..request.len() {
        assert_eq!(answer_to(&mut rig, &request[..length]), None, "{length}");
    }
    rig.no_trace_is_left();
}

#[test]
fn what_follows_a_request_and_the_reserved_field_are_ignored() {
    let mut rig = Rig::new();
    let mut bytes = map(UDP, 4000, 4001, 120).encode().to_vec();
    bytes.extend([0xff; 40]);
    (bytes[2], bytes[3]) = (0xff, 0xff);
    assert_eq!(rig.ask(client(2), &bytes), Ok(None));
    assert_eq!(rig.nat(), NatRequest::Install(nat_mapping_of(client(2), UDP, 4000, 4001)));
    assert_eq!(answer_to(&mut rig, &[0, 0, 9, 9, 9]).unwrap()[8..], ADDRESS.octets());
}

/// G24
#[test]
fn an_answer_is_not_written_to_a_buffer_too_small_for_it() {
    let mut rig = Rig::new();
    for (request, length) in [(&[0, 0][..], 12), (&[1, 0], 8), (&[0, 9, 0, 0, 1, 2], 6)] {
        let answer = rig.ask(client(2), request).unwrap().unwrap();
        assert_eq!(answer.write(request, &mut std::vec![0; length - 1]), None);
        assert_eq!(answer.write(request, &mut std::vec![0; length]).map(<[u8]>::len), Some(length));
    }
}

/// G11
#[test]
fn a_datagram_that_no_client_can_have_sent_is_not_answered() {
    let mut rig = Rig::new();
    let request = [0, 0];
    for from in ["0.0.0.0:5000", "224.0.0.1:5000", "239.1.2.3:5000", "255.255.255.255:5000", "192.168.1.2:0"] {
        let from = from.parse().unwrap();
        assert_eq!(rig.ask(from, &request), Err(Discard::NotFromClient), "{from}");
    }
    let external = SocketAddrV4::new(ADDRESS, 5000);
    assert_eq!(rig.ask(external, &request), Err(Discard::NotFromClient));
    rig.gateway.set_external_address(rig.now, Some(OTHER_ADDRESS));
    assert!(rig.ask(external, &request).is_ok(), "it is somebody else's now");
}

/// G20
#[test]
fn switched_off_it_answers_nothing_and_says_so() {
    let mut rig = Rig::new();
    rig.gateway.switch(rig.now, false);
    for bytes in [&[0, 0][..], &[1, 0], &[0, 9, 0, 0], &map(UDP, 4000, 0, 120).encode()] {
        assert_eq!(rig.ask(client(2), bytes), Err(Discard::SwitchedOff));
    }
    assert_eq!(rig.gateway.poll_transmit(rig.now), None);
    assert_eq!(rig.gateway.poll_timeout(), None);
    rig.gateway.switch(rig.now, true);
    assert_eq!(
        rig.answer(client(2), &Request::ExternalAddress),
        Response::ExternalAddress { epoch: rig.epoch(), address: ADDRESS }
    );
}

/// G20
#[test]
fn switched_off_it_keeps_back_the_answer_to_a_request_that_came_before() {
    let mut rig = Rig::new();
    rig.waits(client(2), &map(UDP, 4000, 0, 120));
    let asked = rig.nat();
    rig.gateway.switch(rig.now, false);
    assert_eq!(rig.done(&asked), None);
}
