//! Messages of connection tracking.
#![allow(clippy::cast_possible_truncation, reason = "small numbers")]

use super::*;

/// TCP from 11.22.33.1:7000 to 11.22.33.44:5000, which leads to 192.168.1.11:4000.
#[test]
fn a_flow_is_understood_and_named_in_its_removal() {
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
    let found = flow(&body()).unwrap();
    assert_eq!(found, expected);

    let (kind, _, removal) = delete(&found);
    assert_eq!(kind, 0x102);
    assert_eq!(removal[..56], body()[..56], "the same tuple");
    assert_eq!(&removal[56..], attribute(12, &0x0102_0304u32.to_be_bytes()), "and the same flow");
}

#[test]
fn other_protocols_are_passed_over() {
    assert_eq!(flow(&body_of(1)), None);
    assert_eq!(flow(&[2, 0, 0, 0]), None);
    assert_eq!(flow(&[]), None);
}

#[test]
fn a_flow_that_is_cut_off_or_damaged_does_no_harm() {
    let bytes = body();
    for end in 0..bytes.len() {
        assert_eq!(flow(&bytes[..end]), None);
    }
    for place in 0..bytes.len() {
        for value in 0..=u8::MAX {
            let mut damaged = bytes.clone();
            damaged[place] = value;
            let _ = flow(&damaged);
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
        vec![2, 0, 0, 0],
        tuple(1, (PEER, 7000), (EXTERNAL, 5000)),
        tuple(2, (CLIENT, 4000), (PEER, 7000)),
        attribute(3, &0x1aeu32.to_be_bytes()),
        attribute(7, &[0, 0, 0, 9]),
        attribute(12, &0x0102_0304u32.to_be_bytes()),
    ]
    .concat()
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
