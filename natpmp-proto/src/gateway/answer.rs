//! Answers: what a client gets to know, and where its answer waits to be sent.
//!
//! Every input brings one answer at most, so that one place is enough for them.

use core::net::SocketAddrV4;

use super::Gateway;
use super::event::Event;
use super::output::Service;
use super::table::{Key, ReplyTo};
use crate::datagram::{Transmit, TransmitKind};
use crate::time::Instant;
use crate::wire::{Failure, FailureDetail, Refusal, Response};

/// What a client asked for and when, and where its answer goes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    /// The mapping, whose client is the one to be answered.
    pub(super) key: Key,
    pub(super) reply_to: ReplyTo,
    pub(super) at: Instant,
    /// At that time.
    pub(super) epoch: u32,
}

impl<const N: usize> Gateway<N> {
    /// Sections 3.2 and 3.5.
    pub(super) fn answer_external_address(&mut self, asked: &Asked) {
        match self.external_address {
            Some(address) => self.answer(asked, &Response::ExternalAddress { epoch: asked.epoch, address }),
            None => self.fail(asked, 0, Refusal::NetworkFailure, None),
        }
    }

    /// The client has the mapping, on this external port; with 0 and 0 it has it no more.
    #[inline(never)] // many call these, and firmware has more time than flash
    pub(super) fn grant(&mut self, asked: &Asked, external_port: u16, lifetime: u32) {
        let Key { protocol, internal_port, .. } = asked.key;
        self.answer(asked, &Response::Map { protocol, epoch: asked.epoch, internal_port, external_port, lifetime });
    }

    /// The client does not get what it asked for, which is an event as well.
    #[inline(never)]
    pub(super) fn refuse(&mut self, asked: &Asked, refusal: Refusal) {
        let Key { client, protocol, internal_port } = asked.key;
        self.push_event(Event::Refused { client, protocol, internal_port, refusal });
        self.fail(asked, protocol.opcode(), refusal, Some(internal_port));
    }

    #[inline(never)]
    pub(super) fn fail(&mut self, asked: &Asked, opcode: u8, refusal: Refusal, internal_port: Option<u16>) {
        let detail = Some(FailureDetail { epoch: asked.epoch, internal_port });
        self.answer(asked, &Response::Failure(Failure { opcode, refusal, detail }));
    }

    /// The opcode is not defined: the whole request comes back (section 3.5).
    pub(super) fn echo(&mut self, asked: &Asked, opcode: u8) {
        self.answer(asked, &Response::Failure(Failure { opcode, refusal: Refusal::UnsupportedOpcode, detail: None }));
        if let Some(answer) = &mut self.outgoing {
            answer.kind = TransmitKind::Echo { socket: asked.reply_to.socket };
        }
    }

    #[inline(never)]
    fn answer(&mut self, asked: &Asked, response: &Response) {
        let ReplyTo { port, socket } = asked.reply_to;
        self.put(SocketAddrV4::new(asked.key.client, port), TransmitKind::Answer { socket }, response);
    }

    /// It waits to be sent. With NAT switched off nothing is (section 3.8).
    #[inline(never)]
    pub(super) fn put(&mut self, to: SocketAddrV4, kind: TransmitKind, response: &Response) {
        if self.service != Service::Off {
            self.outgoing = Some(Transmit { to, kind, payload: response.encode() });
        }
    }
}
