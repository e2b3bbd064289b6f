//! **Invariant.** Of any bytes that come to a client, reading makes a response exactly where RFC 6886 has one (sections 3.2, 3.3 and
//! 3.5, and erratum 3618), with the fields at their places. What was read is written in at most 16 bytes, which are read as the same
//! and written as the same again; the bytes that came are not looked at twice. Bytes behind the form change nothing. Every
//! response that can be put together is written, and read as itself where the wire can carry it. Nothing panics.

use std::net::Ipv4Addr;

use natpmp_proto::Protocol;
use natpmp_proto::wire::{DecodeError, Failure, FailureDetail, Refusal, Response};

use crate::reader::Reader;

/// Reads these bytes as a response, and as choices of which to put one together.
///
/// # Panics
/// If the invariant does not hold.
pub fn run(bytes: &[u8]) {
    read(bytes);
    write(bytes);
}

fn read(bytes: &[u8]) {
    let read = Response::decode(bytes);
    assert_eq!(read.ok(), expected(bytes));
    match read {
        Ok(response) => comes_back(response),
        Err(error) => {
            assert!(!error.to_string().is_empty());
            if let DecodeError::Truncated { length, needed } = error {
                assert_eq!(length, bytes.len());
                assert!(needed > length);
                // Nothing is missing but bytes.
                let longer = [bytes, &[0; 16]].concat();
                assert!(bytes.len() < 2 || Response::decode(&longer).is_ok(), "{error:?}");
            }
        }
    }
    if let Some(form) = bytes.get(..16) {
        assert_eq!(Response::decode(form), read);
    }
}

/// The response that the RFC reads in these bytes.
fn expected(bytes: &[u8]) -> Option<Response> {
    let mut fields = Reader::new(bytes);
    let [version, opcode] = fields.array();
    let code = fields.u16();
    if version != 0 || bytes.len() < 4 {
        return None;
    }
    let is_old_version_error = opcode == 0 && code == 1 && bytes.len() >= 8;
    if opcode < 128 && !is_old_version_error {
        return None;
    }
    let opcode = opcode % 128;
    let protocol = match opcode {
        1 => Some(Protocol::Udp),
        2 => Some(Protocol::Tcp),
        _ => None,
    };
    if code != 0 {
        let refusal = Refusal::from_code(code).unwrap();
        let has_epoch = bytes.len() >= 8 && code != 5;
        let epoch = fields.u32();
        let internal_port = (protocol.is_some() && bytes.len() >= 10).then(|| fields.u16());
        let detail = has_epoch.then_some(FailureDetail { epoch, internal_port });
        return Some(Response::Failure(Failure { opcode, refusal, detail }));
    }
    match (opcode, protocol) {
        (0, _) if bytes.len() >= 12 => {
            Some(Response::ExternalAddress { epoch: fields.u32(), address: Ipv4Addr::from(fields.array::<4>()) })
        }
        (_, Some(protocol)) if bytes.len() >= 16 => Some(Response::Map {
            protocol,
            epoch: fields.u32(),
            internal_port: fields.u16(),
            external_port: fields.u16(),
            lifetime: fields.u32(),
        }),
        (3.., _) => Some(Response::UnknownSuccess { opcode }),
        _ => None,
    }
}

fn comes_back(response: Response) {
    let written = response.encode();
    assert!((4..=16).contains(&written.len()));
    let again = Response::decode(&written);
    assert_eq!(again, Ok(response));
    assert_eq!(&again.unwrap().encode()[..], &written[..]);
    let carried = match response {
        Response::Failure(Failure { detail, .. }) => detail.map(|detail| detail.epoch),
        Response::ExternalAddress { epoch, .. } | Response::Map { epoch, .. } => Some(epoch),
        Response::UnknownSuccess { .. } => None,
    };
    assert_eq!(response.epoch(), carried);
}

fn write(bytes: &[u8]) {
    let mut choices = Reader::new(bytes);
    let (kind, opcode, code) = (choices.u8(), choices.u8(), choices.u16());
    let (epoch, internal_port, external_port, lifetime) = (choices.u32(), choices.u16(), choices.u16(), choices.u32());
    let protocol = Protocol::ALL[usize::from(opcode & 1)];
    let response = match kind % 4 {
        0 => Response::ExternalAddress { epoch, address: lifetime.into() },
        1 => Response::Map { protocol, epoch, internal_port, external_port, lifetime },
        2 => Response::UnknownSuccess { opcode },
        _ => {
            // Also a code that has another name, and details that such a failure does not have.
            let refusal = Refusal::from_code(code).unwrap_or(Refusal::Other(external_port));
            let internal_port = (kind & 8 != 0).then_some(internal_port);
            let detail = (kind & 4 != 0).then_some(FailureDetail { epoch, internal_port });
            Response::Failure(Failure { opcode, refusal, detail })
        }
    };
    let written = response.encode();
    assert!((4..=16).contains(&written.len()));
    assert_eq!(written[0], 0);
    assert!(written[1] >= 128);
    let can_be_carried = match response {
        Response::UnknownSuccess { opcode } => (3..128).contains(&opcode),
        Response::Failure(Failure { opcode, refusal, detail }) => {
            let is_mapping = opcode == 1 || opcode == 2;
            let fits =
                detail.is_none_or(|detail| refusal.code() != 5 && (is_mapping || detail.internal_port.is_none()));
            opcode < 128 && Refusal::from_code(refusal.code()) == Some(refusal) && fits
        }
        Response::ExternalAddress { .. } | Response::Map { .. } => true,
    };
    if can_be_carried {
        comes_back(response);
    }
}
