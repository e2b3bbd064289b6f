//! The deletion of all mappings of a client and protocol (section 3.4): one request, one answer, which waits for the NAT to remove
//! the last of them.

use core::net::Ipv4Addr;

use super::Gateway;
use super::answer::Asked;
use super::table::ReplyTo;
use super::table::{Key, PendingReply};
use crate::wire::{Protocol, Refusal};

/// A deletion of all that waits for the NAT. It has no deadline: the NAT's outcomes end it.
#[derive(Clone, Copy, Debug)]
#[repr(align(4))] // is moved by words
pub(super) struct DeletionOfAll {
    client: Ipv4Addr,
    protocol: Protocol,
    reply_to: ReplyTo,
    /// Mappings to be removed yet.
    left: u16,
    result: DeletionResult,
}

/// What is answered when the last mapping has had its part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum DeletionResult {
    /// All are gone.
    Deleted,
    /// One that the administrator made stays: result 2 (section 3.4).
    StaticLeft,
    /// The NAT could not remove one: result 3.
    Failed,
}

impl<const N: usize> Gateway<N> {
    /// Marks all mappings of this client and protocol for removal. `false` if too many such deletions are under way.
    pub(super) fn unmap_all(&mut self, asked: &Asked) -> bool {
        let Key { client, protocol, .. } = asked.key;
        // The one that is under way goes on, and the last who asked is answered.
        let place = match self.deletion(&asked.key) {
            Some(place) => place,
            None => match self.deletions.iter().position(Option::is_none) {
                Some(place) => place,
                None => return false,
            },
        };
        let Some(pending) = self.deletions.get(place).copied() else { return false };
        let (mut left, mut has_static) = (pending.map_or(0, |deletion| deletion.left), false);
        let mut next = self.table.first_of(client);
        while let Some(index) = next {
            next = self.table.next_of(index);
            let Some(entry) = self.table.get_mut(index).filter(|entry| entry.protocol() == protocol) else { continue };
            if entry.is_static() {
                has_static = true;
            } else {
                if entry.pending_reply() != PendingReply::DeletionOfAll {
                    entry.set_pending_reply(PendingReply::DeletionOfAll, asked.reply_to);
                    left = left.saturating_add(1);
                }
                self.mark_for_removal(index);
            }
        }
        let result = match pending {
            Some(DeletionOfAll { result: DeletionResult::Failed, .. }) => DeletionResult::Failed,
            _ if has_static => DeletionResult::StaticLeft,
            _ => DeletionResult::Deleted,
        };
        if left == 0 {
            self.answer_deletion_of_all(asked, result);
        } else if let Some(place) = self.deletions.get_mut(place) {
            *place = Some(DeletionOfAll { client, protocol, reply_to: asked.reply_to, left, result });
        }
        true
    }

    /// One mapping has had its part in a deletion of all, which is answered if it was the last.
    #[inline(never)]
    pub(super) fn end_part_of_deletion(&mut self, part: &Asked, has_failed: bool) {
        if let Some(DeletionOfAll { reply_to, result, .. }) = self.leave_deletion_of_all(&part.key, has_failed) {
            let key = Key { internal_port: 0, ..part.key };
            self.answer_deletion_of_all(&Asked { key, reply_to, ..*part }, result);
        }
    }

    /// One mapping has no more part in a deletion of all: that deletion, if it was the last.
    #[inline(never)] // many call it, and firmware has more time than flash
    pub(super) fn leave_deletion_of_all(&mut self, key: &Key, has_failed: bool) -> Option<DeletionOfAll> {
        let place = self.deletion(key)?;
        let pending = self.deletions.get_mut(place)?;
        let deletion = pending.as_mut()?;
        deletion.left = deletion.left.saturating_sub(1);
        if has_failed {
            deletion.result = DeletionResult::Failed;
        }
        if deletion.left > 0 { None } else { pending.take() }
    }

    /// Where the deletion of all mappings of this client and protocol is, if one is under way.
    #[inline(never)]
    fn deletion(&self, key: &Key) -> Option<usize> {
        let is_it = |deletion: &DeletionOfAll| deletion.client == key.client && deletion.protocol == key.protocol;
        self.deletions.iter().position(|place| place.as_ref().is_some_and(is_it))
    }

    #[inline(never)]
    fn answer_deletion_of_all(&mut self, asked: &Asked, result: DeletionResult) {
        let refusal = match result {
            DeletionResult::Deleted => return self.grant(asked, 0, 0),
            DeletionResult::StaticLeft => Refusal::NotAuthorized,
            DeletionResult::Failed => Refusal::NetworkFailure,
        };
        self.fail(asked, asked.key.protocol.opcode(), refusal, Some(0));
    }
}

/// How many can be under way at a time.
pub(super) const MOST_DELETIONS: usize = 8;
