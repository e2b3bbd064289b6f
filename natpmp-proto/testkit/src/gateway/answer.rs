//! What a gateway answers.

use std::net::Ipv4Addr;

use natpmp_proto::wire::{DecodeError, Failure, FailureDetail, Refusal, Request, Response, encode_unsupported_opcode};
use natpmp_proto::{Instant, Protocol};

use super::table::Wish;
use super::{FailureForm, Gateway, VersionError, Vpn};

impl Gateway {
    /// The answer to a datagram; `None` for silence.
    pub(super) fn answer(&mut self, now: Instant, client: Ipv4Addr, bytes: &[u8]) -> Option<Vec<u8>> {
        match Request::decode(bytes) {
            // Section 3.5: responses are not answered. Too short is no request at all.
            Err(DecodeError::NotARequest { .. } | DecodeError::Truncated { .. }) => None,
            Err(DecodeError::UnsupportedOpcode { .. }) => {
                encode_unsupported_opcode(bytes, &mut vec![0; bytes.len()]).map(<[u8]>::to_vec)
            }
            Err(_) => Some(self.version_error(now, 0, VersionError::Opcode128)),
            Ok(request) => Some(match self.faults.version_error {
                Some(form) => self.version_error(now, request.opcode(), form),
                None => self.serve(now, client, request),
            }),
        }
    }

    fn serve(&mut self, now: Instant, client: Ipv4Addr, request: Request) -> Vec<u8> {
        let result = match request {
            Request::ExternalAddress => self.external_address(now),
            Request::Map { protocol, internal_port, lifetime: 0, .. } => {
                self.unmap(now, client, protocol, internal_port)
            }
            Request::Map { protocol, internal_port, suggested_external_port: suggested, lifetime } => {
                let lifetime = self.faults.grant.lifetime(lifetime);
                self.map(now, &Wish { client, protocol, internal_port, suggested, lifetime })
            }
        };
        match result {
            Ok(response) => response.encode().to_vec(),
            Err(code) => self.failure(now, request, code),
        }
    }

    fn external_address(&self, now: Instant) -> Result<Response, u16> {
        if let Some(code) = self.faults.refuse_address {
            return Err(code);
        }
        let address = self.external.ok_or(NETWORK_FAILURE)?;
        Ok(Response::ExternalAddress { epoch: self.epoch(now), address })
    }

    fn map(&mut self, now: Instant, wish: &Wish) -> Result<Response, u16> {
        if let Some(code) = self.faults.refuse_map {
            return Err(code);
        }
        if self.external.is_none() {
            return Err(NETWORK_FAILURE);
        }
        if wish.internal_port == 0 && self.faults.vpn.is_none() {
            return Err(NOT_AUTHORIZED);
        }
        let external_port = if self.faults.grants_port_zero {
            0
        } else {
            self.table.map(now, wish, self.faults.moves_ports, self.faults.maps_twice).ok_or(OUT_OF_RESOURCES)?
        };
        let internal_port = if wish.internal_port == 0 && self.faults.vpn == Some(Vpn::AnswersMapped) {
            external_port
        } else {
            wish.internal_port
        };
        let Wish { protocol, lifetime, .. } = *wish;
        Ok(Response::Map { protocol, epoch: self.epoch(now), internal_port, external_port, lifetime })
    }

    fn unmap(&mut self, now: Instant, client: Ipv4Addr, protocol: Protocol, port: u16) -> Result<Response, u16> {
        if let Some(code) = self.faults.refuse_unmap {
            return Err(code);
        }
        if port == 0 {
            self.table.unmap_all(client, protocol, self.faults.unmaps_both);
        } else {
            self.table.unmap(client, protocol, port);
        }
        Ok(Response::Map { protocol, epoch: self.epoch(now), internal_port: port, external_port: 0, lifetime: 0 })
    }

    /// Section 3.5: on failure the internal port is echoed, the rest is 0. Not all gateways know.
    fn failure(&self, now: Instant, request: Request, code: u16) -> Vec<u8> {
        let refusal = Refusal::from_code(code).unwrap_or(Refusal::Other(0));
        let (internal_port, echo) = match request {
            Request::ExternalAddress => (None, None),
            Request::Map { internal_port, lifetime, .. } => (Some(internal_port), Some((internal_port, lifetime))),
        };
        let detail = FailureDetail { epoch: self.epoch(now), internal_port };
        let failure = Failure { opcode: request.opcode(), refusal, detail: Some(detail) };
        let mut bytes = Response::Failure(failure).encode().to_vec();
        match (self.faults.failure_form, echo) {
            (FailureForm::Full, _) | (FailureForm::Echo, None) => {}
            (FailureForm::Echo, Some((port, lifetime))) => {
                bytes.truncate(10);
                bytes.extend(port.to_be_bytes());
                bytes.extend(lifetime.to_be_bytes());
            }
            (FailureForm::Short, _) => bytes.truncate(8),
            (FailureForm::Shortest, _) => bytes.truncate(4),
        }
        bytes
    }

    fn version_error(&self, now: Instant, opcode: u8, form: VersionError) -> Vec<u8> {
        let opcode = match form {
            VersionError::Opcode0 => 0,
            VersionError::Opcode128 => 0x80,
            VersionError::Opcode128Plus => 0x80 | opcode,
            VersionError::PcpUnderVersion0 => return pcp_error(0, 0x80, 3),
            VersionError::Pcp => return pcp_error(2, 0x80 | opcode, 1),
        };
        let mut bytes = vec![0, opcode, 0, 1];
        bytes.extend(self.epoch(now).to_be_bytes());
        bytes
    }
}

fn pcp_error(version: u8, opcode: u8, result: u8) -> Vec<u8> {
    let mut bytes = vec![version, opcode, 0, result];
    bytes.resize(24, 0);
    bytes
}

const NOT_AUTHORIZED: u16 = 2;
const NETWORK_FAILURE: u16 = 3;
const OUT_OF_RESOURCES: u16 = 4;
