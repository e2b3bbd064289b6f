//! Every packet of the protocol.

use std::net::Ipv4Addr;

use natpmp_proto::Protocol;
use natpmp_proto::wire::{Failure, FailureDetail, Refusal, Request, Response};

pub(crate) const REQUESTS: [(&str, Request); 3] = [
    ("external address", Request::ExternalAddress),
    (
        "mapping",
        Request::Map { protocol: Protocol::Udp, internal_port: 4_000, suggested_external_port: 4_001, lifetime: 7_200 },
    ),
    ("deletion", Request::delete(Protocol::Tcp, 4_000)),
];

pub(crate) const RESPONSES: [(&str, Response); 4] = [
    // Also the announcement.
    ("external address", Response::ExternalAddress { epoch: 9, address: Ipv4Addr::new(11, 22, 33, 44) }),
    (
        "mapping",
        Response::Map {
            protocol: Protocol::Udp,
            epoch: 9,
            internal_port: 4_000,
            external_port: 4_001,
            lifetime: 7_200,
        },
    ),
    (
        "deletion",
        Response::Map { protocol: Protocol::Tcp, epoch: 9, internal_port: 4_000, external_port: 0, lifetime: 0 },
    ),
    (
        "failure",
        Response::Failure(Failure {
            opcode: 1,
            refusal: Refusal::NotAuthorized,
            detail: Some(FailureDetail { epoch: 9, internal_port: Some(4_000) }),
        }),
    ),
];

/// Of PCP, on the same port: it is recognised, and not parsed.
pub(crate) const OF_PCP: [u8; 24] = {
    let mut bytes = [0; 24];
    bytes[0] = 2;
    bytes[1] = 0x80;
    bytes
};
