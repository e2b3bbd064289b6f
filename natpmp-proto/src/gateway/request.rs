//! Requests of clients, and the leases' end.

use core::net::SocketAddrV4;

use super::answer::Asked;
use super::event::Event;
use super::output::Service;
use super::table::ReplyTo;
use super::table::{Key, Owner, PendingReply, Phase};
use super::{Gateway, Grants, mapping_of, seconds};
use crate::datagram::{Discard, SocketId};
use crate::time::Instant;
use crate::wire::{DecodeError, Protocol, Refusal, Request};

/// Inputs.
impl<const N: usize> Gateway<N> {
    /// A datagram came from `from` to port 5351 of an internal address, through the socket that the caller gave this number. What
    /// comes from the external side must not be passed in.
    ///
    /// Poll after it, until there is nothing to send: the machine holds one answer, and takes no other datagram before it is
    /// polled. Where the NAT is to be asked first there is none yet; it comes after [`handle_nat`](Self::handle_nat).
    ///
    /// # Errors
    /// The reason why it is not answered.
    pub fn handle_datagram(
        &mut self,
        now: Instant,
        socket: SocketId,
        from: SocketAddrV4,
        bytes: &[u8],
    ) -> Result<(), Discard> {
        if self.service == Service::Off {
            return Err(Discard::SwitchedOff);
        }
        if !self.may_be_client(from) {
            return Err(Discard::NotFromClient);
        }
        if self.outgoing.is_some() {
            return Err(Discard::AnswerNotPolled);
        }
        let mut asked = Asked {
            key: Key { client: *from.ip(), protocol: Protocol::Udp, internal_port: 0 },
            reply_to: ReplyTo { port: from.port(), socket },
            at: now,
            epoch: self.epoch(now),
        };
        match Request::decode(bytes) {
            Ok(Request::ExternalAddress) => self.answer_external_address(&asked),
            Ok(Request::Map { protocol, internal_port, suggested_external_port: suggested, lifetime }) => {
                asked.key = Key { protocol, internal_port, ..asked.key };
                if lifetime != 0 {
                    self.map(&asked, suggested, lifetime);
                } else if internal_port != 0 {
                    self.unmap(&asked);
                } else if suggested != 0 {
                    self.refuse(&asked, Refusal::NotAuthorized);
                } else if !self.unmap_all(&asked) {
                    return Err(Discard::Busy);
                }
            }
            Err(DecodeError::OtherVersion { .. } | DecodeError::Pcp { .. }) => {
                self.fail(&asked, 0, Refusal::UnsupportedVersion, None);
            }
            Err(DecodeError::UnsupportedOpcode { opcode }) if bytes.len() >= RESULT_LENGTH => {
                self.echo(&asked, opcode);
            }
            Err(error) => return Err(Discard::Undecodable(error)),
        }
        Ok(())
    }

    /// Time has come to `now`: leases end. To be called when [`poll_timeout`](Self::poll_timeout) says so, and harmless at any time.
    pub fn handle_timeout(&mut self, now: Instant) {
        let now = seconds(now);
        // Each lease is checked twice at most.
        for _ in 0..N.saturating_mul(2) {
            let Some((index, check)) = self.table.first_check().filter(|&(_, check)| check <= now) else { return };
            let expires = self.table.get(index).map_or(check, |entry| entry.expires);
            if expires > check {
                self.table.move_check(index, expires);
            } else {
                self.mark_for_removal(index);
            }
        }
    }
}

impl<const N: usize> Gateway<N> {
    /// Section 3.3.
    fn map(&mut self, asked: &Asked, suggested: u16, lifetime: u32) {
        if self.grants == Grants::Nothing || asked.key.internal_port == 0 {
            return self.refuse(asked, Refusal::NotAuthorized);
        }
        if self.external_address.is_none() {
            return self.refuse(asked, Refusal::NetworkFailure);
        }
        let lifetime = self.config.granted(lifetime);
        if let Some(index) = self.table.find(&asked.key) {
            return self.map_again(asked, index, lifetime);
        }
        let Some(index) = self.make(&asked.key, suggested) else {
            return self.refuse(asked, Refusal::OutOfResources);
        };
        self.table.enqueue(index, Phase::ToInstall);
        self.reply_when_installed(asked, index, lifetime);
    }

    /// A mapping that exists is granted again, on the port it has (section 3.3).
    fn map_again(&mut self, asked: &Asked, index: u16, lifetime: u32) {
        let Some(entry) = self.table.get_mut(index) else { return };
        if entry.phase == Phase::Open && entry.is_wanted() {
            let external_port = entry.external_port;
            if !entry.is_static() {
                self.renew(asked.at, index, lifetime);
            }
            return self.grant(asked, external_port, lifetime);
        }
        if !entry.is_static() {
            entry.set_owner(Owner::Client);
        }
        let was_to_go = entry.pending_reply() == PendingReply::DeletionOfAll;
        if entry.phase == Phase::Open {
            // Its removal failed, and the external address may have changed since: it is brought up to date.
            self.table.enqueue(index, Phase::ToUpdate);
        }
        self.reply_when_installed(asked, index, lifetime);
        if was_to_go {
            // If it was the last, whoever deleted all asks again, and is answered then.
            let _ = self.leave_deletion_of_all(&asked.key, false);
        }
    }

    fn reply_when_installed(&mut self, asked: &Asked, index: u16, lifetime: u32) {
        if let Some(entry) = self.table.get_mut(index) {
            entry.term = lifetime;
            entry.set_pending_reply(PendingReply::Mapping, asked.reply_to);
        }
    }

    /// The lease begins anew.
    fn renew(&mut self, at: Instant, index: u16, lifetime: u32) {
        let expires = seconds(at).saturating_add(lifetime).saturating_add(1);
        let Some(entry) = self.table.get_mut(index) else { return };
        entry.expires = expires;
        // A later end is found at the next check; an earlier one must not be missed.
        if expires < entry.term {
            self.table.move_check(index, expires);
        }
        let renewed = self.table.get(index).and_then(|entry| Some(mapping_of(self.table.key_of(entry)?, entry)));
        if let Some(mapping) = renewed {
            self.push_event(Event::Renewed(mapping));
        }
    }

    /// A new mapping, on the suggested port if that can be.
    fn make(&mut self, key: &Key, suggested: u16) -> Option<u16> {
        if self.table.count_of(key.client) >= self.config.limit(N) || self.table.len() >= N {
            return None;
        }
        let port = if self.is_free(key, suggested) {
            suggested
        } else if self.is_free(key, key.internal_port) {
            key.internal_port
        } else {
            self.any_port(key)?
        };
        self.table.insert(key, port)
    }

    /// Any port that is allowed and free, from a random one on.
    fn any_port(&mut self, key: &Key) -> Option<u16> {
        if self.grants == Grants::CompanionPorts {
            return self.companion_port(key);
        }
        let (low, high) = (self.config.ports.low(), self.config.ports.high());
        for _ in 0..RANDOM_TRIES {
            let port = self.random.between(low, high);
            if self.is_free(key, port) {
                return Some(port);
            }
        }
        // Nearly all are taken: only a look at each of them can tell. That there is none is remembered, so that nobody
        // can have them all looked at again and again.
        let start = self.random.between(low, high);
        let mut port = start;
        loop {
            if self.is_free(key, port) {
                return Some(port);
            }
            port = if port < high { port.saturating_add(1) } else { low };
            if port == start {
                self.grants = Grants::CompanionPorts;
                return None;
            }
        }
    }

    /// A port that the client has for the other protocol, and that is reserved for it (section 3.3).
    fn companion_port(&self, key: &Key) -> Option<u16> {
        let mine = core::iter::successors(self.table.first_of(key.client), |&index| self.table.next_of(index));
        let mut ports = mine.filter_map(|index| self.table.get(index).map(|entry| entry.external_port));
        ports.find(|&port| self.is_free(key, port))
    }

    /// Whether the port is allowed, and may be given to this client.
    #[inline(never)] // many call it, and firmware has more time than flash
    fn is_free(&self, key: &Key, port: u16) -> bool {
        self.config.allows(port) && self.table.is_port_free(port, key.protocol, key.client)
    }

    /// Section 3.4.
    fn unmap(&mut self, asked: &Asked) {
        let Some(index) = self.table.find(&asked.key) else { return self.grant(asked, 0, 0) };
        let Some(entry) = self.table.get_mut(index) else { return };
        if entry.is_static() {
            return self.refuse(asked, Refusal::NotAuthorized);
        }
        if entry.pending_reply() != PendingReply::DeletionOfAll {
            entry.set_pending_reply(PendingReply::Deletion, asked.reply_to);
        }
        self.mark_for_removal(index);
    }

    /// Section 3.3: not from the external side, and from somebody to whom an answer can be sent.
    fn may_be_client(&self, from: SocketAddrV4) -> bool {
        let ip = *from.ip();
        let is_host = !ip.is_unspecified() && !ip.is_multicast() && !ip.is_broadcast();
        is_host && from.port() != 0 && self.external_address != Some(ip)
    }
}

/// Enough to find a free port nine times out of ten while one of sixteen is free.
const RANDOM_TRIES: u8 = 32;

/// Where a result ends in an answer.
const RESULT_LENGTH: usize = 4;
