//! What the NAT is asked, and what comes of it.

use core::net::SocketAddrV4;

use super::event::{CloseCause, GatewayEvent, NatFailure, NatMapping, NatRequest};
use super::table::{Key, Owed, Phase};
use super::{Gateway, Moment, mapping_of, nat_mapping};
use crate::datagram::{Transmit, TransmitKind};
use crate::time::Instant;
use crate::wire::{Refusal, Response};

impl<const N: usize> Gateway<N> {
    /// What the NAT is to do next, if there is anything. Its outcome goes to [`handle_nat`](Self::handle_nat); several may be
    /// under way at a time, and come back in any order.
    #[must_use]
    pub fn poll_nat(&mut self) -> Option<NatRequest> {
        let index = self.table.dequeue()?;
        let entry = self.table.get_mut(index)?;
        let is_install = entry.phase == Phase::ToInstall;
        entry.phase = if is_install { Phase::Installing } else { Phase::Removing };
        entry.set_outdated(false);
        let entry = self.table.get(index)?;
        let mapping = nat_mapping(self.table.key_of(entry)?, entry);
        Some(if is_install { NatRequest::Install(mapping) } else { NatRequest::Remove(mapping) })
    }

    /// The NAT has done what `request` asked for, or has failed: the answer to whoever waits for it, if anybody does.
    ///
    /// A mapping that could not be installed is gone; the client is told result 3 or 4. One that could not be removed stays
    /// as it was, is tried again after 10 s, and whoever deleted it is told result 3. An outcome that nobody asked for is
    /// ignored.
    #[must_use]
    pub fn handle_nat(
        &mut self,
        now: Instant,
        request: &NatRequest,
        outcome: Result<(), NatFailure>,
    ) -> Option<Transmit> {
        let NatMapping { protocol, internal, external_port } = *request.mapping();
        let key = Key { client: *internal.ip(), protocol, internal_port: internal.port() };
        let index = self.table.find(&key)?;
        let at = self.moment(now);
        let entry = self.table.get(index).filter(|entry| entry.external_port == external_port)?;
        let answer = match (request, entry.phase, outcome) {
            (NatRequest::Install(_), Phase::Installing, Ok(())) => self.installed(at, &key, index),
            (NatRequest::Install(_), Phase::Installing, Err(failure)) => self.not_installed(now, &key, index, failure),
            (NatRequest::Remove(_), Phase::Removing, Ok(())) => self.removed(at, &key, index),
            (NatRequest::Remove(_), Phase::Removing, Err(_)) => self.not_removed(at, &key, index),
            _ => None,
        };
        // With NAT switched off nothing is answered (section 3.8).
        let (port, response) = answer.as_ref().filter(|_| self.is_on)?;
        let to = SocketAddrV4::new(key.client, *port);
        Some(Transmit { to, kind: TransmitKind::Answer, payload: response.encode() })
    }

    fn installed(&mut self, at: Moment, key: &Key, index: u16) -> Option<(u16, Response)> {
        let entry = self.table.get_mut(index)?;
        if entry.is_wanted() && entry.is_outdated() {
            self.table.enqueue(index, Phase::ToInstall);
            return None;
        }
        let (owed, is_wanted, was_standing) = (entry.owed(), entry.is_wanted(), entry.is_standing());
        let (reply_port, lifetime) = (entry.reply_port, entry.term);
        entry.set_standing(false);
        if !is_wanted {
            self.table.enqueue(index, Phase::ToRemove);
            return None;
        }
        entry.owe(Owed::Nothing, 0);
        if entry.is_static() {
            entry.phase = Phase::Open;
        } else {
            // What was only brought up to date goes on with the lease it has.
            if owed == Owed::Mapping || !was_standing {
                entry.expires = at.seconds.saturating_add(lifetime).saturating_add(1);
            }
            let expires = entry.expires;
            self.table.add_look(index, expires);
        }
        let entry = self.table.get(index)?;
        let mapping = mapping_of(*key, entry);
        if !was_standing {
            self.tell(GatewayEvent::Opened(mapping));
        }
        let external_port = mapping.mapping.external_port;
        let response = self.granted(at, key.protocol, key.internal_port, external_port, lifetime);
        (owed == Owed::Mapping).then_some((reply_port, response))
    }

    fn not_installed(&mut self, now: Instant, key: &Key, index: u16, failure: NatFailure) -> Option<(u16, Response)> {
        let entry = self.table.get(index)?;
        let is_missed =
            entry.is_wanted() && entry.owed() != Owed::Mapping && (!entry.is_static() || entry.is_standing());
        let answer = self.forget(self.moment(now), key, index, Some(failure));
        if is_missed {
            // Its client believes it open: the loss is told as a loss of state is (section 3.6).
            self.start(now, 0);
        }
        answer
    }

    fn removed(&mut self, at: Moment, key: &Key, index: u16) -> Option<(u16, Response)> {
        if self.table.get(index)?.is_wanted() {
            self.table.enqueue(index, Phase::ToInstall);
            return None;
        }
        self.forget(at, key, index, None)
    }

    fn not_removed(&mut self, at: Moment, key: &Key, index: u16) -> Option<(u16, Response)> {
        let entry = self.table.get_mut(index)?;
        let reply_port = entry.reply_port;
        if entry.is_wanted() {
            // It is there, but the external address may have changed since: it is brought up to date.
            entry.set_standing(true);
            self.table.enqueue(index, Phase::ToInstall);
            return None;
        }
        let owed = entry.owed();
        entry.owe(Owed::Nothing, 0);
        let retry_at = at.seconds.saturating_add(REMOVAL_RETRY);
        entry.expires = retry_at;
        self.table.add_look(index, retry_at);
        match owed {
            Owed::Deletion => Some((reply_port, self.refusal(at, key, Refusal::NetworkFailure))),
            Owed::DeletionOfAll => self.settle(at, key.client, index, true),
            Owed::Mapping | Owed::Nothing => None,
        }
    }

    /// It is gone: the answer to whoever waits for that, or for it.
    fn forget(&mut self, at: Moment, key: &Key, index: u16, failure: Option<NatFailure>) -> Option<(u16, Response)> {
        let entry = self.table.get(index)?;
        let (owed, reply_port) = (entry.owed(), entry.reply_port);
        let mapping = mapping_of(*key, entry);
        let settled = if owed == Owed::DeletionOfAll { self.settle(at, key.client, index, false) } else { None };
        self.table.remove(index);
        self.are_ports_used_up = false;
        let cause = if failure.is_some() { CloseCause::NatFailed } else { CloseCause::Removed };
        self.tell(GatewayEvent::Closed { mapping, cause });
        match (owed, failure) {
            (Owed::Mapping, Some(failure)) => Some((reply_port, self.refusal(at, key, failure.refusal()))),
            (Owed::Deletion, _) => Some((reply_port, self.deleted(at, key.protocol, key.internal_port))),
            (Owed::DeletionOfAll, _) => settled,
            (Owed::Mapping | Owed::Nothing, _) => None,
        }
    }
}

/// In seconds.
const REMOVAL_RETRY: u32 = 10;
