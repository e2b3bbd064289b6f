//! The packets.

use natpmp_proto::Protocol;
use natpmp_proto::wire::{DecodeError, Encoded, Refusal, Request, Response, encode_unsupported_opcode};

use crate::exports;

exports! { "wire":
    fn request_decode(bytes: &[u8]) -> Result<Request, DecodeError> { Request::decode(bytes) }
    fn request_encode(request: &Request) -> Encoded { request.encode() }
    fn request_delete(protocol: Protocol, internal_port: u16) -> Request { Request::delete(protocol, internal_port) }
    fn request_opcode(request: &Request) -> u8 { request.opcode() }
    fn response_decode(bytes: &[u8]) -> Result<Response, DecodeError> { Response::decode(bytes) }
    fn response_encode(response: &Response) -> Encoded { response.encode() }
    fn response_epoch(response: &Response) -> Option<u32> { response.epoch() }
    fn unsupported_opcode<'b>(request: &[u8], buffer: &'b mut [u8]) -> Option<&'b [u8]> {
        encode_unsupported_opcode(request, buffer)
    }
    fn refusal_from_code(code: u16) -> Option<Refusal> { Refusal::from_code(code) }
    fn refusal_code(refusal: Refusal) -> u16 { refusal.code() }
    fn protocol_opcode(protocol: Protocol) -> u8 { protocol.opcode() }
}
