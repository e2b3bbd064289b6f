//! The mappings of a gateway, found without a scan: by client, protocol and internal port, and by external port.
//!
//! All memory is in the arrays below, 48 bytes a mapping. An index of 16 bits stands for a reference, `NONE` for none.
//!
//! - `entries`: the mappings. Those not in use form a list; beyond `fresh` none was ever used.
//! - `by_key`, `by_port`: hash tables of chains through the entries. `by_client`: the same through `clients`, which has a
//!   record for each client that has mappings: how many, and the first of their list.
//! - `heap`: the entries whose lease runs, the earliest check first. A check may be due before the lease ends: a renewal
//!   moves the end only, and the check finds out and moves to it. So a renewal costs nothing here.
//! - `queue`: the entries that the NAT is to be asked about, first come, first served.

mod clients;
mod due;

use core::net::Ipv4Addr;

use crate::datagram::SocketId;
use crate::random::spread;
use crate::wire::Protocol;

use clients::Client;

#[derive(Debug)]
pub(super) struct Table<const N: usize> {
    entries: [Entry; N],
    by_key: [u16; N],
    by_port: [u16; N],
    free: u16,
    fresh: u16,
    len: u16,
    clients: [Client; N],
    by_client: [u16; N],
    free_client: u16,
    fresh_client: u16,
    heap: [u16; N],
    heap_len: u16,
    queue_first: u16,
    queue_last: u16,
    seed: u32,
}

/// What a mapping is known by (section 3.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) client: Ipv4Addr,
    pub(super) protocol: Protocol,
    pub(super) internal_port: u16,
}

#[derive(Clone, Copy, Debug)]
#[repr(Rust, packed(2))] // 30 bytes; aligned to 4 they would be 32
pub(super) struct Entry {
    /// End of the lease, in seconds on the caller's clock.
    pub(super) expires: u32,
    /// While the lease runs: when that is checked next, in seconds. While the NAT is asked: the lifetime to be granted,
    /// in seconds.
    pub(super) term: u32,
    client: u16,
    pub(super) internal_port: u16,
    pub(super) external_port: u16,
    /// The client's port that the pending reply goes to.
    reply_port: u16,
    /// The socket that it goes through.
    reply_socket: SocketId,
    next_by_key: u16,
    next_by_port: u16,
    next_of_client: u16,
    previous_of_client: u16,
    /// The place in the heap, the next in the queue, or the next that is free.
    link: u16,
    pub(super) phase: Phase,
    /// The protocol, the [`Owner`] and the [`PendingReply`].
    marks: u8,
}

/// Where a mapping stands with the NAT. A phase without a deadline ends with what [`poll_nat`](super::Gateway::poll_nat) or
/// [`handle_nat`](super::Gateway::handle_nat) bring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// The NAT has it. Deadline: `term`, when it is checked whether `expires` has come, which is the end of the lease, or the
    /// next try of a removal that failed. None if the administrator made it.
    Open,
    /// The NAT does not have it, and is to be asked for it. No deadline.
    ToInstall,
    /// The NAT was asked for it. No deadline.
    Installing,
    /// The NAT was asked for it, and the external address has changed since: it is to be asked again. No deadline.
    InstallingOutdated,
    /// The NAT has it, and is to be asked to bring it up to date. No deadline: the lease goes on, and its end is checked when
    /// the NAT is done.
    ToUpdate,
    /// The NAT was asked to bring it up to date. No deadline, as before.
    Updating,
    /// The NAT was asked to bring it up to date, and the external address has changed since: it is to be asked again. No deadline,
    /// as before.
    UpdatingOutdated,
    /// The NAT is to be asked to remove it. No deadline.
    ToRemove,
    /// The NAT was asked to remove it. No deadline.
    Removing,
}

/// Who wants a mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// Nobody any more: the NAT removes it once it has finished what it is doing with it. Deadline: [`Phase::Open`]'s, if the removal failed.
    Nobody,
    /// Its client. Deadline: the end of its lease.
    Client,
    /// The administrator: it has no lease, and its client cannot delete it (section 3.4). No deadline.
    Administrator,
}

/// What its client waits for. No deadline: the NAT's outcome brings the reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PendingReply {
    /// Nothing: nobody waits.
    Nothing,
    /// The answer to a request for it.
    Mapping,
    /// The answer to its deletion.
    Deletion,
    /// Its part in a deletion of all.
    DeletionOfAll,
}

/// The port that a client asked from, and the socket that it asked by: the answer goes back the same way.
#[derive(Clone, Copy, Debug)]
pub(super) struct ReplyTo {
    pub(super) port: u16,
    pub(super) socket: SocketId,
}

impl<const N: usize> Table<N> {
    pub(super) const fn new(seed: u32) -> Self {
        const { assert!(N > 0 && N < NONE as usize, "a gateway holds from 1 to 65,534 mappings") };
        Self {
            entries: [Entry::UNUSED; N],
            by_key: [NONE; N],
            by_port: [NONE; N],
            free: NONE,
            fresh: 0,
            len: 0,
            clients: [Client::UNUSED; N],
            by_client: [NONE; N],
            free_client: NONE,
            fresh_client: 0,
            heap: [NONE; N],
            heap_len: 0,
            queue_first: NONE,
            queue_last: NONE,
            seed,
        }
    }

    pub(super) const fn len(&self) -> usize {
        self.len as usize
    }

    pub(super) fn find(&self, key: &Key) -> Option<u16> {
        let mut index = *self.by_key.get(self.key_bucket(key))?;
        while let Some(entry) = self.get(index) {
            if self.key_of(entry) == Some(*key) {
                return Some(index);
            }
            index = entry.next_by_key;
        }
        None
    }

    /// Whether `port` may be given to `client` for `protocol`: nobody has it, or only the client itself for the other
    /// protocol, for which it is the reserved companion (section 3.3).
    pub(super) fn is_port_free(&self, port: u16, protocol: Protocol, client: Ipv4Addr) -> bool {
        let mut index = self.by_port.get(self.port_bucket(port)).copied().unwrap_or(NONE);
        while let Some(entry) = self.get(index) {
            let is_companion = entry.protocol() != protocol && self.client_of(entry) == Some(client);
            if entry.external_port == port && !is_companion {
                return false;
            }
            index = entry.next_by_port;
        }
        true
    }

    /// Takes on a mapping, whose phase is [`Phase::ToInstall`] but which is in no queue yet; `None` if all are taken.
    pub(super) fn insert(&mut self, key: &Key, external_port: u16) -> Option<u16> {
        let index = self.take_unused()?;
        // There is a record for each: no more clients have mappings than there are mappings.
        let client = self.add_to_client(key.client, index)?;
        let (key_bucket, port_bucket) = (self.key_bucket(key), self.port_bucket(external_port));
        let next_by_key = core::mem::replace(self.by_key.get_mut(key_bucket)?, index);
        let next_by_port = core::mem::replace(self.by_port.get_mut(port_bucket)?, index);
        let entry = self.get_mut(index)?;
        entry.client = client;
        entry.internal_port = key.internal_port;
        entry.external_port = external_port;
        entry.next_by_key = next_by_key;
        entry.next_by_port = next_by_port;
        entry.set_protocol(key.protocol);
        self.len = self.len.saturating_add(1);
        Some(index)
    }

    /// Forgets a mapping that is in no queue.
    pub(super) fn remove(&mut self, index: u16) {
        self.cancel_check(index);
        let Some(&entry) = self.get(index) else { return };
        if let Some(key) = self.key_of(&entry) {
            let bucket = self.key_bucket(&key);
            self.unchain(index, Chain::ByKey, bucket);
        }
        self.unchain(index, Chain::ByPort, self.port_bucket(entry.external_port));
        self.take_from_client(index);
        self.give_back(index);
        self.len = self.len.saturating_sub(1);
    }

    pub(super) fn get(&self, index: u16) -> Option<&Entry> {
        self.entries.get(usize::from(index))
    }

    pub(super) fn get_mut(&mut self, index: u16) -> Option<&mut Entry> {
        self.entries.get_mut(usize::from(index))
    }

    pub(super) fn key_of(&self, entry: &Entry) -> Option<Key> {
        let client = self.client_of(entry)?;
        Some(Key { client, protocol: entry.protocol(), internal_port: entry.internal_port })
    }

    /// All mappings, in no particular order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Key, &Entry)> {
        // What is not in use has no client, and so no key.
        self.entries.iter().filter_map(|entry| Some((self.key_of(entry)?, entry)))
    }

    /// The indices of all mappings, and of what is not in use any more: that is never [`Phase::Open`], and what is marked on it
    /// is forgotten when it is used again.
    pub(super) const fn indices(&self) -> core::ops::Range<u16> {
        0..self.fresh
    }

    fn take_unused(&mut self) -> Option<u16> {
        let index = if self.free == NONE { self.fresh } else { self.free };
        let entry = self.entries.get_mut(usize::from(index))?;
        if self.free == NONE {
            self.fresh = self.fresh.saturating_add(1);
        } else {
            self.free = entry.link;
        }
        *entry = Entry { marks: WANTED, ..Entry::UNUSED };
        Some(index)
    }

    fn give_back(&mut self, index: u16) {
        let free = self.free;
        if let Some(entry) = self.get_mut(index) {
            *entry = Entry { link: free, ..Entry::UNUSED };
            self.free = index;
        }
    }

    #[inline(never)] // many call it, and firmware has more time than flash
    fn unchain(&mut self, index: u16, chain: Chain, bucket: usize) {
        let Some(next) = self.get_mut(index).map(|entry| *entry.next(chain)) else { return };
        let head = match chain {
            Chain::ByKey => self.by_key.get_mut(bucket),
            Chain::ByPort => self.by_port.get_mut(bucket),
        };
        let Some(head) = head else { return };
        if *head == index {
            *head = next;
            return;
        }
        let mut before = *head;
        while let Some(entry) = self.get_mut(before) {
            let link = entry.next(chain);
            if *link == index {
                *link = next;
                return;
            }
            before = *link;
        }
    }

    #[inline(never)]
    fn key_bucket(&self, key: &Key) -> usize {
        let port = u32::from(key.internal_port) << 8 | u32::from(key.protocol.opcode());
        self.bucket(self.hash(key.client.to_bits()).wrapping_add(port))
    }

    fn port_bucket(&self, port: u16) -> usize {
        self.bucket(port.into())
    }

    /// One of `N` buckets, evenly, in a way that depends on the seed: clients cannot choose to collide.
    #[inline(never)]
    fn bucket(&self, value: u32) -> usize {
        let scaled = u64::from(self.hash(value)).wrapping_mul(N as u64) >> 32;
        usize::try_from(scaled).unwrap_or(0)
    }

    #[inline(never)]
    fn hash(&self, value: u32) -> u32 {
        spread(value, self.seed)
    }
}

impl Entry {
    const UNUSED: Self = Self {
        expires: 0,
        term: 0,
        client: NONE,
        internal_port: 0,
        external_port: 0,
        reply_port: 0,
        reply_socket: SocketId(0),
        next_by_key: NONE,
        next_by_port: NONE,
        next_of_client: NONE,
        previous_of_client: NONE,
        link: NONE,
        phase: Phase::ToInstall,
        marks: 0,
    };

    pub(super) const fn protocol(&self) -> Protocol {
        if self.marks & TCP == 0 { Protocol::Udp } else { Protocol::Tcp }
    }

    pub(super) const fn set_owner(&mut self, owner: Owner) {
        self.set_marks(
            OWNER,
            match owner {
                Owner::Nobody => 0,
                Owner::Client => WANTED,
                Owner::Administrator => OWNER,
            },
        );
    }

    /// The administrator made it.
    pub(super) const fn is_static(&self) -> bool {
        self.marks & STATIC != 0
    }

    /// Whether somebody wants it. If nobody does, the NAT removes it.
    pub(super) const fn is_wanted(&self) -> bool {
        self.marks & WANTED != 0
    }

    pub(super) const fn pending_reply(&self) -> PendingReply {
        match self.marks & REPLY {
            REPLY_MAPPING => PendingReply::Mapping,
            REPLY_DELETION => PendingReply::Deletion,
            REPLY => PendingReply::DeletionOfAll,
            _ => PendingReply::Nothing,
        }
    }

    /// Where the reply that is pending goes.
    pub(super) const fn reply_to(&self) -> ReplyTo {
        ReplyTo { port: self.reply_port, socket: self.reply_socket }
    }

    pub(super) const fn set_pending_reply(&mut self, reply: PendingReply, to: ReplyTo) {
        self.set_marks(
            REPLY,
            match reply {
                PendingReply::Nothing => 0,
                PendingReply::Mapping => REPLY_MAPPING,
                PendingReply::Deletion => REPLY_DELETION,
                PendingReply::DeletionOfAll => REPLY,
            },
        );
        self.reply_port = to.port;
        self.reply_socket = to.socket;
    }

    /// Nobody waits for a reply any more.
    pub(super) const fn clear_pending_reply(&mut self) {
        self.marks &= !REPLY;
    }

    const fn set_protocol(&mut self, protocol: Protocol) {
        self.set_marks(TCP, if matches!(protocol, Protocol::Tcp) { TCP } else { 0 });
    }

    /// Sets the bits of one field.
    const fn set_marks(&mut self, field: u8, bits: u8) {
        self.marks = self.marks & !field | bits;
    }

    fn next(&mut self, chain: Chain) -> &mut u16 {
        match chain {
            Chain::ByKey => &mut self.next_by_key,
            Chain::ByPort => &mut self.next_by_port,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Chain {
    ByKey,
    ByPort,
}

/// Stands for no index.
const NONE: u16 = u16::MAX;

/// The fields of [`Entry::marks`], and their bits. They are enums behind accessors: a byte for each is what firmware has not.
const TCP: u8 = 1;
const OWNER: u8 = WANTED | STATIC;
const WANTED: u8 = 2;
const STATIC: u8 = 4;
const REPLY: u8 = REPLY_MAPPING | REPLY_DELETION;
const REPLY_MAPPING: u8 = 8;
const REPLY_DELETION: u8 = 16;

#[cfg(test)]
mod tests;
