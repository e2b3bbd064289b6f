//! Requests of clients, and the leases' end.

use core::net::{Ipv4Addr, SocketAddrV4};

use super::event::{Answer, GatewayEvent, Reply};
use super::table::{Key, Owed, Phase};
use super::{DeletionOfAll, Gateway, Moment, mapping_of, seconds};
use crate::datagram::Discard;
use crate::time::Instant;
use crate::wire::{DecodeError, Failure, FailureDetail, Protocol, Refusal, Request, Response};

/// Inputs.
impl<const N: usize> Gateway<N> {
    /// A datagram came from `from` to port 5351 of an internal address. What comes from the external side must not be passed in.
    ///
    /// # Errors
    /// The reason why it is not answered.
    pub fn handle_datagram<'a>(
        &mut self,
        now: Instant,
        from: SocketAddrV4,
        bytes: &'a [u8],
    ) -> Result<Reply<'a>, Discard> {
        if !self.is_on {
            return Err(Discard::SwitchedOff);
        }
        if !self.may_be_client(from) {
            return Err(Discard::NotFromClient);
        }
        let at = self.moment(now);
        match Request::decode(bytes) {
            Ok(Request::ExternalAddress) => Ok(now_reply(self.answer_external_address(at))),
            Ok(Request::Map { protocol, internal_port, suggested_external_port, lifetime }) => {
                let key = Key { client: *from.ip(), protocol, internal_port };
                if lifetime != 0 {
                    Ok(self.map(at, from, key, suggested_external_port, lifetime))
                } else if internal_port != 0 {
                    Ok(self.unmap(at, from, key))
                } else if suggested_external_port == 0 {
                    self.unmap_all(at, from, protocol)
                } else {
                    Ok(self.refuse(at, &key, Refusal::NotAuthorized))
                }
            }
            Err(DecodeError::OtherVersion { .. } | DecodeError::Pcp { .. }) => {
                Ok(now_reply(self.failure(at, 0, Refusal::UnsupportedVersion, None)))
            }
            Err(DecodeError::UnsupportedOpcode { .. }) if bytes.len() >= RESULT_LENGTH => {
                Ok(Reply::Now(Answer::echo(bytes)))
            }
            Err(error) => Err(Discard::Undecodable(error)),
        }
    }

    /// Time has come to `now`: leases end. To be called when [`poll_timeout`](Self::poll_timeout) says so, and harmless at any time.
    pub fn handle_timeout(&mut self, now: Instant) {
        let now = seconds(now);
        // Each mapping is looked at twice at most.
        for _ in 0..N.saturating_mul(2) {
            let Some((index, look)) = self.table.first_look().filter(|&(_, look)| look <= now) else { return };
            let expires = self.table.get(index).map_or(look, |entry| entry.expires);
            if expires > look {
                self.table.move_look(index, expires);
            } else {
                self.doom(index);
            }
        }
    }
}

impl<const N: usize> Gateway<N> {
    /// Sections 3.2, 3.3 and 3.5.
    fn answer_external_address(&self, at: Moment) -> Response {
        match self.external_address {
            Some(address) => Response::ExternalAddress { epoch: at.epoch, address },
            None => self.failure(at, 0, Refusal::NetworkFailure, None),
        }
    }

    fn map(&mut self, at: Moment, from: SocketAddrV4, key: Key, suggested: u16, lifetime: u32) -> Reply<'static> {
        if !self.is_mapping_allowed || key.internal_port == 0 {
            return self.refuse(at, &key, Refusal::NotAuthorized);
        }
        if self.external_address.is_none() {
            return self.refuse(at, &key, Refusal::NetworkFailure);
        }
        let lifetime = self.config.granted(lifetime);
        if let Some(index) = self.table.find(&key) {
            return self.map_again(at, from, index, lifetime);
        }
        let Some(index) = self.make(&key, suggested) else {
            return self.refuse(at, &key, Refusal::OutOfResources);
        };
        self.table.enqueue(index, Phase::ToInstall);
        if let Some(entry) = self.table.get_mut(index) {
            entry.term = lifetime;
            entry.owe(Owed::Mapping, from.port());
        }
        Reply::AfterNat
    }

    /// A mapping that exists is granted again, on the port it has (section 3.3).
    fn map_again(&mut self, at: Moment, from: SocketAddrV4, index: u16, lifetime: u32) -> Reply<'static> {
        let settled = self.table.get(index).is_some_and(|entry| entry.owed() == Owed::DeletionOfAll);
        let Some(entry) = self.table.get_mut(index) else { return Reply::AfterNat };
        let was_wanted = entry.is_wanted();
        entry.set_wanted(true);
        if entry.phase == Phase::Open && was_wanted {
            if !entry.is_static() {
                self.renew(at, index, lifetime);
            }
            return self.table.get(index).map_or(Reply::AfterNat, |entry| {
                now_reply(self.granted(at, entry.protocol(), entry.internal_port, entry.external_port, lifetime))
            });
        }
        if entry.phase == Phase::Open {
            // Its removal failed, and the external address may have changed since: it is brought up to date.
            entry.set_standing(true);
            self.table.enqueue(index, Phase::ToInstall);
        }
        if let Some(entry) = self.table.get_mut(index) {
            entry.term = lifetime;
            entry.owe(Owed::Mapping, from.port());
        }
        if settled {
            self.settle(at, *from.ip(), index, false);
        }
        Reply::AfterNat
    }

    /// The lease begins anew.
    fn renew(&mut self, at: Moment, index: u16, lifetime: u32) {
        let expires = at.seconds.saturating_add(lifetime).saturating_add(1);
        let Some(entry) = self.table.get_mut(index) else { return };
        entry.expires = expires;
        // A later end is found when the heap looks next; an earlier one must not be missed. `<=` would move a look to where it is.
        if expires < entry.term {
            self.table.move_look(index, expires);
        }
        let told = self.table.get(index).and_then(|entry| Some(mapping_of(self.table.key_of(entry)?, entry)));
        if let Some(mapping) = told {
            self.tell(GatewayEvent::Renewed(mapping));
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
        if self.are_ports_used_up {
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
                self.are_ports_used_up = true;
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
    fn unmap(&mut self, at: Moment, from: SocketAddrV4, key: Key) -> Reply<'static> {
        let Some(index) = self.table.find(&key) else {
            return now_reply(self.deleted(at, key.protocol, key.internal_port));
        };
        let Some(entry) = self.table.get_mut(index) else { return Reply::AfterNat };
        if entry.is_static() {
            return self.refuse(at, &key, Refusal::NotAuthorized);
        }
        if entry.owed() != Owed::DeletionOfAll {
            entry.owe(Owed::Deletion, from.port());
        }
        self.doom(index);
        Reply::AfterNat
    }

    fn unmap_all(&mut self, at: Moment, from: SocketAddrV4, protocol: Protocol) -> Result<Reply<'static>, Discard> {
        let client = *from.ip();
        let pending = self.deletion(client, protocol).map(|deletion| *deletion);
        if pending.is_none() && self.deletions.iter().all(DeletionOfAll::is_pending) {
            return Err(Discard::Busy);
        }
        let (mut left, mut has_static) = (pending.map_or(0, |deletion| deletion.left), false);
        let mut next = self.table.first_of(client);
        while let Some(index) = next {
            next = self.table.next_of(index);
            let Some(entry) = self.table.get_mut(index).filter(|entry| entry.protocol() == protocol) else { continue };
            if entry.is_static() {
                has_static = true;
            } else {
                if entry.owed() != Owed::DeletionOfAll {
                    entry.owe(Owed::DeletionOfAll, from.port());
                    left = left.saturating_add(1);
                }
                self.doom(index);
            }
        }
        let has_failed = pending.is_some_and(|deletion| deletion.has_failed);
        let deletion = DeletionOfAll { client: from, protocol, left, has_static, has_failed };
        if left == 0 {
            return Ok(now_reply(self.deleted_all(at, &deletion)));
        }
        // There is room: that was seen to above.
        let place = match pending {
            Some(_) => self.deletion(client, protocol),
            None => self.deletions.iter_mut().find(|deletion| !deletion.is_pending()),
        };
        if let Some(place) = place {
            *place = deletion;
        }
        Ok(Reply::AfterNat)
    }

    /// One mapping has had its part in a deletion of all: the answer, if it was the last.
    pub(super) fn settle(
        &mut self,
        at: Moment,
        client: Ipv4Addr,
        index: u16,
        has_failed: bool,
    ) -> Option<(u16, Response)> {
        let protocol = self.table.get(index)?.protocol();
        let deletion = self.deletion(client, protocol)?;
        deletion.left = deletion.left.saturating_sub(1);
        deletion.has_failed |= has_failed;
        if deletion.left > 0 {
            return None;
        }
        let done = *deletion;
        Some((done.client.port(), self.deleted_all(at, &done)))
    }

    #[inline(never)]
    fn deletion(&mut self, client: Ipv4Addr, protocol: Protocol) -> Option<&mut DeletionOfAll> {
        self.deletions
            .iter_mut()
            .find(|deletion| deletion.is_pending() && *deletion.client.ip() == client && deletion.protocol == protocol)
    }

    fn deleted_all(&self, at: Moment, deletion: &DeletionOfAll) -> Response {
        let opcode = deletion.protocol.opcode();
        if deletion.has_failed {
            self.failure(at, opcode, Refusal::NetworkFailure, Some(0))
        } else if deletion.has_static {
            self.failure(at, opcode, Refusal::NotAuthorized, Some(0))
        } else {
            self.deleted(at, deletion.protocol, 0)
        }
    }

    pub(super) fn deleted(&self, at: Moment, protocol: Protocol, internal_port: u16) -> Response {
        self.granted(at, protocol, internal_port, 0, 0)
    }

    pub(super) fn granted(
        &self,
        at: Moment,
        protocol: Protocol,
        internal_port: u16,
        external_port: u16,
        lifetime: u32,
    ) -> Response {
        Response::Map { protocol, epoch: at.epoch, internal_port, external_port, lifetime }
    }

    pub(super) fn failure(&self, at: Moment, opcode: u8, refusal: Refusal, internal_port: Option<u16>) -> Response {
        let detail = Some(FailureDetail { epoch: at.epoch, internal_port });
        Response::Failure(Failure { opcode, refusal, detail })
    }

    pub(super) fn refusal(&mut self, at: Moment, key: &Key, refusal: Refusal) -> Response {
        let Key { client, protocol, internal_port } = *key;
        self.tell(GatewayEvent::Refused { client, protocol, internal_port, refusal });
        self.failure(at, protocol.opcode(), refusal, Some(internal_port))
    }

    fn refuse(&mut self, at: Moment, key: &Key, refusal: Refusal) -> Reply<'static> {
        now_reply(self.refusal(at, key, refusal))
    }

    /// Section 3.3: not from the external side, and from somebody to whom an answer can be sent.
    fn may_be_client(&self, from: SocketAddrV4) -> bool {
        let ip = *from.ip();
        let is_host = !ip.is_unspecified() && !ip.is_multicast() && !ip.is_broadcast();
        is_host && from.port() != 0 && self.external_address != Some(ip)
    }
}

fn now_reply(response: Response) -> Reply<'static> {
    Reply::Now(Answer::new(response))
}

/// Enough to find a free port nine times out of ten while one of sixteen is free.
const RANDOM_TRIES: u8 = 32;

/// Where a result ends in an answer.
const RESULT_LENGTH: usize = 4;
