//! Messages of connection tracking.
#![allow(clippy::cast_possible_truncation, reason = "small numbers")]

use super::*;

/// TCP from 11.22.33.1:7000 to 11.22.33.44:5000, which leads to 192.168.1.11:4000.
#[test]
fn a_flow_is_understood_and_named_in_its_removal() {
    let message = answer(NEW, 9, &body());
    let ends = |from: (Ipv4Addr, u16), to: (Ipv4Addr, u16)| Ends {
        from: SocketAddrV4::new(from.0, from.1),
        to: SocketAddrV4::new(to.0, to.1),
    };
    let expected = Flow {
        protocol: Protocol::Tcp,
        original: ends((PEER, 7000), (EXTERNAL, 5000)),
        reply: ends((CLIENT, 4000), (PEER, 7000)),
        has_answer: true,
        id: 0x0102_0304,
    };
    let [Answer::Flow(found)] = &Answers::new(&message, 9).collect::<Vec<_>>()[..] else { panic!() };
    assert_eq!(*found, expected);

    let removal = delete(3, found);
    assert_eq!(removal.len() as u32, u32::from_ne_bytes(removal[..4].try_into().unwrap()));
    let original = &body()[..52];
    assert_eq!(&removal[20..72], original, "the same tuple");
    assert_eq!(&removal[72..], attribute(12, &0x0102_0304u32.to_be_bytes()), "and the same flow");
}

#[test]
fn answers_to_other_requests_and_other_protocols_are_passed_over() {
    let mut bytes = answer(NEW, 8, &body());
    bytes.extend(answer(NEW, 9, &body_of(1)));
    bytes.extend(answer(NEW, 9, &[]));
    bytes.extend(message(DONE, 9, &[0; 4]));
    let answers: Vec<_> = Answers::new(&bytes, 9).collect();
    assert_eq!(answers, [Answer::Other, Answer::Other, Answer::Done(0)]);
    assert_eq!(list(1).len(), 20);
}

#[test]
fn errors_are_told() {
    let bytes = message(ERROR, 9, &(-2i32).to_ne_bytes());
    assert_eq!(Answers::new(&bytes, 9).collect::<Vec<_>>(), [Answer::Done(2)]);
}

#[test]
fn a_message_that_is_cut_off_or_damaged_does_no_harm() {
    let bytes = answer(NEW, 9, &body());
    for end in 0..bytes.len() {
        assert_eq!(Answers::new(&bytes[..end], 9).next(), None);
    }
    for place in 0..bytes.len() {
        for value in [0, 1, 3, 127, 255] {
            let mut damaged = bytes.clone();
            damaged[place] = value;
            assert!(Answers::new(&damaged, 9).count() <= bytes.len());
        }
    }
}

fn body() -> Vec<u8> {
    body_of(6)
}

fn body_of(protocol: u8) -> Vec<u8> {
    let tuple = |kind, from: (Ipv4Addr, u16), to: (Ipv4Addr, u16)| {
        let ip = [attribute(1, &from.0.octets()), attribute(2, &to.0.octets())].concat();
        let ports = [attribute(1, &[protocol]), attribute(2, &from.1.to_be_bytes()), attribute(3, &to.1.to_be_bytes())];
        attribute(kind | NESTED, &[attribute(1 | NESTED, &ip), attribute(2 | NESTED, &ports.concat())].concat())
    };
    [
        tuple(1, (PEER, 7000), (EXTERNAL, 5000)),
        tuple(2, (CLIENT, 4000), (PEER, 7000)),
        attribute(3, &0x1aeu32.to_be_bytes()),
        attribute(7, &[0, 0, 0, 9]),
        attribute(12, &0x0102_0304u32.to_be_bytes()),
    ]
    .concat()
}

fn answer(kind: u16, sequence: u32, body: &[u8]) -> Vec<u8> {
    message(kind, sequence, &[&[2, 0, 0, 0][..], body].concat())
}

fn message(kind: u16, sequence: u32, body: &[u8]) -> Vec<u8> {
    let length = 16 + body.len() as u32;
    let mut bytes = [length.to_ne_bytes(), (u32::from(kind) | 2 << 16).to_ne_bytes()].concat();
    if cfg!(target_endian = "big") {
        bytes[4..8].copy_from_slice(&[kind.to_ne_bytes(), 2u16.to_ne_bytes()].concat());
    }
    bytes.extend(sequence.to_ne_bytes());
    bytes.extend(0u32.to_ne_bytes());
    bytes.extend(body);
    bytes
}

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut bytes = [(4 + value.len() as u16).to_ne_bytes(), kind.to_ne_bytes()].concat();
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

const EXTERNAL: Ipv4Addr = Ipv4Addr::new(11, 22, 33, 44);
const CLIENT: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 11);
const PEER: Ipv4Addr = Ipv4Addr::new(11, 22, 33, 1);
const NEW: u16 = 0x100;
const ERROR: u16 = 2;
const DONE: u16 = 3;
