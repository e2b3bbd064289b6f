//! What comes next: the lease that is to be checked, and the mapping that the NAT is to be asked about.
//!
//! The leases are in a binary heap of indices, ordered by [`Entry::term`](super::Entry::term); the mappings for the NAT in a list
//! through the entries, first come, first served. A mapping is in one of them at most.

use super::{NONE, Phase, Table};

/// The heap of leases.
impl<const N: usize> Table<N> {
    /// The mapping whose lease is checked next, and when, in seconds.
    pub(in super::super) fn first_check(&self) -> Option<(u16, u32)> {
        let index = self.at(0)?;
        self.get(index).map(|entry| (index, entry.term))
    }

    /// The lease runs from now on: it is checked at `check`, in seconds.
    pub(in super::super) fn add_check(&mut self, index: u16, check: u32) {
        let place = self.heap_len;
        let Some(slot) = self.heap.get_mut(usize::from(place)) else { return };
        *slot = index;
        self.heap_len = place.saturating_add(1);
        if let Some(entry) = self.get_mut(index) {
            entry.phase = Phase::Open;
            entry.term = check;
            entry.link = place;
        }
        self.rise(place);
    }

    /// The lease is checked at another time.
    pub(in super::super) fn move_check(&mut self, index: u16, check: u32) {
        if let Some(place) = self.place_of(index) {
            if let Some(entry) = self.get_mut(index) {
                entry.term = check;
            }
            self.rise(place);
            if let Some(place) = self.place_of(index) {
                self.sink(place);
            }
        }
    }

    /// The lease does not run any more.
    pub(in super::super) fn cancel_check(&mut self, index: u16) {
        let Some(place) = self.place_of(index) else { return };
        let last = self.heap_len.saturating_sub(1);
        self.swap(place, last);
        self.heap_len = last;
        // If it was the last itself, its place is beyond the end now, where nothing rises or sinks.
        self.rise(place);
        self.sink(place);
    }

    fn rise(&mut self, mut place: u16) {
        loop {
            // The first is its own parent, and goes no further.
            let parent = place.saturating_sub(1) / 2;
            if self.check_at(parent) <= self.check_at(place) {
                return;
            }
            self.swap(parent, place);
            place = parent;
        }
    }

    fn sink(&mut self, mut place: u16) {
        loop {
            let left = place.saturating_mul(2).saturating_add(1);
            let right = left.saturating_add(1);
            let smaller = if self.check_at(right) < self.check_at(left) { right } else { left };
            if self.check_at(place) <= self.check_at(smaller) {
                return;
            }
            self.swap(place, smaller);
            place = smaller;
        }
    }

    /// When the entry at a place is checked; never, beyond the end.
    fn check_at(&self, place: u16) -> u32 {
        self.at(place).and_then(|index| self.get(index)).map_or(u32::MAX, |entry| entry.term)
    }

    fn swap(&mut self, a: u16, b: u16) {
        if let (Some(at_a), Some(at_b)) = (self.at(a), self.at(b)) {
            self.put(a, at_b);
            self.put(b, at_a);
        }
    }

    fn put(&mut self, place: u16, index: u16) {
        if let Some(slot) = self.heap.get_mut(usize::from(place)) {
            *slot = index;
        }
        if let Some(entry) = self.get_mut(index) {
            entry.link = place;
        }
    }

    fn at(&self, place: u16) -> Option<u16> {
        self.heap.get(usize::from(place)).copied().filter(|_| place < self.heap_len)
    }

    /// Where the heap has this entry, if it has it.
    fn place_of(&self, index: u16) -> Option<u16> {
        let entry = self.get(index).filter(|entry| entry.phase == Phase::Open)?;
        Some(entry.link).filter(|&place| self.at(place) == Some(index))
    }
}

/// The queue for the NAT.
impl<const N: usize> Table<N> {
    /// The NAT is to be asked for it, or to change or remove it.
    pub(in super::super) fn enqueue(&mut self, index: u16, phase: Phase) {
        self.cancel_check(index);
        let Some(entry) = self.get_mut(index) else { return };
        entry.phase = phase;
        entry.link = NONE;
        let last = core::mem::replace(&mut self.queue_last, index);
        match self.get_mut(last) {
            Some(last) => last.link = index,
            None => self.queue_first = index,
        }
    }

    /// The next that the NAT is to be asked about.
    pub(in super::super) fn dequeue(&mut self) -> Option<u16> {
        let index = self.queue_first;
        let entry = self.get_mut(index)?;
        let next = core::mem::replace(&mut entry.link, NONE);
        self.queue_first = next;
        if next == NONE {
            self.queue_last = NONE;
        }
        Some(index)
    }
}
