//! What the NAT is asked, and what comes of it.

use super::answer::Asked;
use super::event::{CloseCause, Event, NatFailure, NatMapping, NatRequest};
use super::table::{Entry, Key, PendingReply, Phase};
use super::{Gateway, Grants, mapping_of, seconds};
use crate::time::Instant;
use crate::wire::Refusal;

/// Inputs.
impl<const N: usize> Gateway<N> {
    /// The NAT has done what `request` asked for, or has failed. Poll after it: whoever waits for it is answered now, and an
    /// answer that is not polled before the next outcome is lost (its client asks again).
    ///
    /// A mapping that could not be installed is gone; the client gets result 3 or 4. One that could not be removed stays
    /// as it was, is tried again after 10 s, and whoever deleted it gets result 3. An outcome that nobody asked for is
    /// ignored.
    pub fn handle_nat(&mut self, now: Instant, request: &NatRequest, outcome: Result<(), NatFailure>) {
        let NatMapping { protocol, internal, external_port } = *request.mapping();
        let key = Key { client: *internal.ip(), protocol, internal_port: internal.port() };
        let Some(index) = self.table.find(&key) else { return };
        let Some(entry) = self.table.get(index).filter(|entry| entry.external_port == external_port) else { return };
        let (phase, reply_to) = (entry.phase, entry.reply_to());
        let asked = Asked { key, reply_to, at: now, epoch: self.epoch(now) };
        match (request, phase) {
            (
                NatRequest::Install(_),
                Phase::Installing | Phase::InstallingOutdated | Phase::Updating | Phase::UpdatingOutdated,
            ) => match outcome {
                Ok(()) => self.installed(&asked, index),
                Err(failure) => self.not_installed(&asked, index, failure),
            },
            (NatRequest::Remove(_), Phase::Removing) => match outcome {
                Ok(()) => self.removed(&asked, index),
                Err(_) => self.not_removed(&asked, index),
            },
            _ => {}
        }
    }

    fn installed(&mut self, asked: &Asked, index: u16) {
        let Some(entry) = self.table.get_mut(index) else { return };
        let phase = entry.phase;
        if !entry.is_wanted() {
            return self.table.enqueue(index, Phase::ToRemove);
        }
        match phase {
            Phase::InstallingOutdated => return self.table.enqueue(index, Phase::ToInstall),
            Phase::UpdatingOutdated => return self.table.enqueue(index, Phase::ToUpdate),
            _ => {}
        }
        let (is_awaited, lifetime) = (entry.pending_reply() == PendingReply::Mapping, entry.term);
        entry.clear_pending_reply();
        if entry.is_static() {
            entry.phase = Phase::Open;
        } else {
            // What was only brought up to date goes on with the lease it has.
            if is_awaited || phase == Phase::Installing {
                entry.expires = seconds(asked.at).saturating_add(lifetime).saturating_add(1);
            }
            let expires = entry.expires;
            self.table.add_check(index, expires);
        }
        let Some(entry) = self.table.get(index) else { return };
        let mapping = mapping_of(asked.key, entry);
        if phase == Phase::Installing {
            self.push_event(Event::Opened(mapping));
        }
        if is_awaited {
            self.grant(asked, mapping.mapping.external_port, lifetime);
        }
    }

    fn not_installed(&mut self, asked: &Asked, index: u16, failure: NatFailure) {
        let Some(entry) = self.table.get(index) else { return };
        let was_open = matches!(entry.phase, Phase::Updating | Phase::UpdatingOutdated);
        let is_missed =
            entry.is_wanted() && entry.pending_reply() != PendingReply::Mapping && (!entry.is_static() || was_open);
        self.forget(asked, index, Some(failure));
        if is_missed {
            // Its client believes it open: the loss is announced as a loss of state is (section 3.6).
            self.start(asked.at, 0);
        }
    }

    fn removed(&mut self, asked: &Asked, index: u16) {
        if self.table.get(index).is_some_and(Entry::is_wanted) {
            self.table.enqueue(index, Phase::ToInstall);
        } else {
            self.forget(asked, index, None);
        }
    }

    fn not_removed(&mut self, asked: &Asked, index: u16) {
        let Some(entry) = self.table.get_mut(index) else { return };
        if entry.is_wanted() {
            // It is there, but the external address may have changed since: it is brought up to date.
            return self.table.enqueue(index, Phase::ToUpdate);
        }
        let pending = entry.pending_reply();
        entry.clear_pending_reply();
        let retry_at = seconds(asked.at).saturating_add(REMOVAL_RETRY);
        entry.expires = retry_at;
        self.table.add_check(index, retry_at);
        match pending {
            PendingReply::Deletion => self.refuse(asked, Refusal::NetworkFailure),
            PendingReply::DeletionOfAll => self.end_part_of_deletion(asked, true),
            PendingReply::Mapping | PendingReply::Nothing => {}
        }
    }

    /// It is gone: whoever waits for that, or for it, is answered.
    #[inline(never)]
    fn forget(&mut self, asked: &Asked, index: u16, failure: Option<NatFailure>) {
        let Some(entry) = self.table.get(index) else { return };
        let pending = entry.pending_reply();
        let mapping = mapping_of(asked.key, entry);
        self.table.remove(index);
        if self.grants == Grants::CompanionPorts {
            self.grants = Grants::AnyPort;
        }
        let cause = if failure.is_some() { CloseCause::NatFailed } else { CloseCause::Removed };
        self.push_event(Event::Closed { mapping, cause });
        match (pending, failure) {
            (PendingReply::Mapping, Some(failure)) => self.refuse(asked, failure.refusal()),
            (PendingReply::Deletion, _) => self.grant(asked, 0, 0),
            (PendingReply::DeletionOfAll, _) => self.end_part_of_deletion(asked, false),
            (PendingReply::Mapping | PendingReply::Nothing, _) => {}
        }
    }
}

impl NatFailure {
    pub(super) const fn refusal(self) -> Refusal {
        match self {
            Self::Network => Refusal::NetworkFailure,
            Self::Resources => Refusal::OutOfResources,
        }
    }
}

impl core::error::Error for NatFailure {}

/// In seconds.
const REMOVAL_RETRY: u32 = 10;
