//! What a datagram says, read by the RFC's tables and not by the crate's own parser.

use std::net::Ipv4Addr;

use natpmp_proto::Protocol;
use natpmp_proto::wire::Refusal;

use super::Ask;

/// What a response says about a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// Something else.
    Other,
    /// Granted with a port and a lifetime of 0: nothing, or the late answer to a deletion.
    NothingOrLate,
    /// Granted with a port or a lifetime of 0.
    Nothing,
    Refused(Refusal),
    Address(Ipv4Addr),
    Granted {
        port: u16,
        lifetime: u32,
    },
    Deleted,
}

/// What `bytes` say about `ask`, and the epoch in them. `is_taken`: this internal port is another mapping's.
pub(super) fn read(bytes: &[u8], ask: Ask, is_taken: impl Fn(Protocol, u16) -> bool) -> (Meaning, Option<u32>) {
    match *bytes {
        // A server of PCP alone says so in PCP.
        [2, 0x80..=0xff, _, 1, ..] => (Meaning::Refused(Refusal::UnsupportedVersion), None),
        // Erratum 3618, C17: told from a request by its length.
        [0, 0, 0, 1, a, b, c, d, ..] => {
            (Meaning::Refused(Refusal::UnsupportedVersion), Some(u32::from_be_bytes([a, b, c, d])))
        }
        [0, 0x80..=0xff, 0, 0, ref rest @ ..] => success(bytes[1] & 0x7f, rest, ask, is_taken),
        [0, 0x80..=0xff, high, low, ref rest @ ..] => {
            failure(bytes[1] & 0x7f, u16::from_be_bytes([high, low]), rest, ask)
        }
        _ => (Meaning::Other, None),
    }
}

fn success(opcode: u8, rest: &[u8], ask: Ask, is_taken: impl Fn(Protocol, u16) -> bool) -> (Meaning, Option<u32>) {
    let other = (Meaning::Other, None);
    match (opcode, rest) {
        (0, &[a, b, c, d, e, f, g, h, ..]) if ask == Ask::Address => {
            (Meaning::Address(Ipv4Addr::new(e, f, g, h)), Some(u32::from_be_bytes([a, b, c, d])))
        }
        (1 | 2, &[a, b, c, d, e, f, g, h, i, j, k, l, ..]) => {
            let protocol = if opcode == 1 { Protocol::Udp } else { Protocol::Tcp };
            let [inside, outside] = [[e, f], [g, h]].map(u16::from_be_bytes);
            let meaning = granted(protocol, inside, outside, u32::from_be_bytes([i, j, k, l]), ask, is_taken);
            (meaning, (meaning != Meaning::Other).then_some(u32::from_be_bytes([a, b, c, d])))
        }
        _ => other,
    }
}

/// C16, C26
fn granted(
    protocol: Protocol,
    inside: u16,
    outside: u16,
    lifetime: u32,
    ask: Ask,
    is_taken: impl Fn(Protocol, u16) -> bool,
) -> Meaning {
    match ask {
        Ask::Map((of, port)) if of == protocol => {
            // A large VPN provider is asked for port 0, and may answer with the mapped port in both places.
            let is_vpn = port == 0 && inside == outside && !is_taken(protocol, inside);
            match (inside == port || is_vpn, outside, lifetime) {
                (false, ..) => Meaning::Other,
                (true, 0, 0) => Meaning::NothingOrLate,
                (true, 0, _) | (true, _, 0) => Meaning::Nothing,
                (true, port, lifetime) => Meaning::Granted { port, lifetime },
            }
        }
        Ask::Delete(key) if key == (protocol, inside) && lifetime == 0 => Meaning::Deleted,
        Ask::DeleteAll(of) if of == protocol && inside == 0 && lifetime == 0 => Meaning::Deleted,
        _ => Meaning::Other,
    }
}

/// C08, C15, C17: with a result other than 0, no field counts but the opcode, the epoch and the internal port.
fn failure(opcode: u8, code: u16, rest: &[u8], ask: Ask) -> (Meaning, Option<u32>) {
    let (asked, port) = match ask {
        Ask::Address => (0, None),
        Ask::Map((protocol, port)) | Ask::Delete((protocol, port)) => (protocol.opcode(), Some(port)),
        Ask::DeleteAll(protocol) => (protocol.opcode(), Some(0)),
    };
    let (epoch, echoed) = match *rest {
        // An unsupported opcode comes back as the request: there is no epoch in it.
        _ if code == 5 => (None, None),
        [a, b, c, d, e, f, ..] if opcode != 0 => {
            (Some(u32::from_be_bytes([a, b, c, d])), Some(u16::from_be_bytes([e, f])))
        }
        [a, b, c, d, ..] => (Some(u32::from_be_bytes([a, b, c, d])), None),
        _ => (None, None),
    };
    let is_about_version = code == 1 && opcode == 0;
    let is_mine = opcode == asked && (echoed.is_none() || port.is_none() || echoed == port);
    if !is_about_version && !is_mine {
        return (Meaning::Other, None);
    }
    (Meaning::Refused(Refusal::from_code(code).expect("0 is success")), epoch)
}

/// An announcement of NAT-PMP: the external address and the epoch (section 3.2.1).
pub(super) fn announcement(bytes: &[u8]) -> Option<(u32, Ipv4Addr)> {
    match *bytes {
        [0, 0x80, 0, 0, a, b, c, d, e, f, g, h, ..] => {
            Some((u32::from_be_bytes([a, b, c, d]), Ipv4Addr::new(e, f, g, h)))
        }
        _ => None,
    }
}

/// The ANNOUNCE of PCP, with which many gateways tell of their start.
pub(super) fn is_pcp_announcement(bytes: &[u8]) -> bool {
    matches!(bytes, [2, 0x80, _, 0, ..])
}
