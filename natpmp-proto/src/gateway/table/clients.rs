//! Which mappings a client has, and how many.

use core::net::Ipv4Addr;

use super::{Entry, NONE, Table};

/// A client that has mappings.
#[derive(Clone, Copy, Debug)]
pub(super) struct Client {
    address: Ipv4Addr,
    count: u16,
    /// The first of its mappings; the next unused record, if it is one.
    first: u16,
    next_by_client: u16,
}

impl Client {
    pub(super) const UNUSED: Self =
        Self { address: Ipv4Addr::UNSPECIFIED, count: 0, first: NONE, next_by_client: NONE };
}

impl<const N: usize> Table<N> {
    /// How many mappings a client has.
    pub(in super::super) fn count_of(&self, client: Ipv4Addr) -> u16 {
        self.find_client(client).and_then(|record| self.client(record)).map_or(0, |client| client.count)
    }

    /// The first of a client's mappings.
    pub(in super::super) fn first_of(&self, client: Ipv4Addr) -> Option<u16> {
        let record = self.find_client(client)?;
        self.client(record).map(|client| client.first).filter(|&first| first != NONE)
    }

    /// The mapping after this one in its client's list.
    pub(in super::super) fn next_of(&self, index: u16) -> Option<u16> {
        self.get(index).map(|entry| entry.next_of_client).filter(|&next| next != NONE)
    }

    #[inline(never)] // many call it, and firmware has more time than flash
    pub(super) fn client_of(&self, entry: &Entry) -> Option<Ipv4Addr> {
        self.client(entry.client).map(|client| client.address)
    }

    /// Puts an entry first in its client's list, and returns the client's record.
    pub(super) fn add_to_client(&mut self, address: Ipv4Addr, index: u16) -> Option<u16> {
        let record = match self.find_client(address) {
            Some(record) => record,
            None => self.new_client(address)?,
        };
        let client = self.clients.get_mut(usize::from(record))?;
        client.count = client.count.saturating_add(1);
        let next = core::mem::replace(&mut client.first, index);
        if let Some(entry) = self.get_mut(index) {
            entry.next_of_client = next;
            entry.previous_of_client = NONE;
        }
        if let Some(entry) = self.get_mut(next) {
            entry.previous_of_client = index;
        }
        Some(record)
    }

    pub(super) fn take_from_client(&mut self, index: u16) {
        let Some(&Entry { client: record, next_of_client: next, previous_of_client: previous, .. }) = self.get(index)
        else {
            return;
        };
        if let Some(entry) = self.get_mut(next) {
            entry.previous_of_client = previous;
        }
        if let Some(entry) = self.get_mut(previous) {
            entry.next_of_client = next;
        }
        let Some(client) = self.clients.get_mut(usize::from(record)) else { return };
        if client.first == index {
            client.first = next;
        }
        client.count = client.count.saturating_sub(1);
        if client.count == 0 {
            self.drop_client(record);
        }
    }

    fn client(&self, record: u16) -> Option<&Client> {
        self.clients.get(usize::from(record))
    }

    #[inline(never)]
    fn find_client(&self, address: Ipv4Addr) -> Option<u16> {
        let mut record = *self.by_client.get(self.bucket(address.to_bits()))?;
        while let Some(client) = self.client(record) {
            if client.address == address {
                return Some(record);
            }
            record = client.next_by_client;
        }
        None
    }

    fn new_client(&mut self, address: Ipv4Addr) -> Option<u16> {
        let record = if self.free_client == NONE { self.fresh_client } else { self.free_client };
        let bucket = self.bucket(address.to_bits());
        let client = self.clients.get_mut(usize::from(record))?;
        if self.free_client == NONE {
            self.fresh_client = self.fresh_client.saturating_add(1);
        } else {
            self.free_client = client.first;
        }
        let next_by_client = core::mem::replace(self.by_client.get_mut(bucket)?, record);
        *client = Client { address, next_by_client, ..Client::UNUSED };
        Some(record)
    }

    fn drop_client(&mut self, record: u16) {
        let Some(&Client { address, next_by_client: next, .. }) = self.client(record) else { return };
        let bucket = self.bucket(address.to_bits());
        let Some(head) = self.by_client.get_mut(bucket) else { return };
        if *head == record {
            *head = next;
        } else {
            let mut before = *head;
            while let Some(client) = self.clients.get_mut(usize::from(before)) {
                if client.next_by_client == record {
                    client.next_by_client = next;
                    break;
                }
                before = client.next_by_client;
            }
        }
        if let Some(client) = self.clients.get_mut(usize::from(record)) {
            *client = Client { first: self.free_client, ..Client::UNUSED };
            self.free_client = record;
        }
    }
}
