//! Which lease is to be looked at next: a binary heap of indices, ordered by [`Entry::term`](super::Entry::term).

use super::{Phase, Table};

impl<const N: usize> Table<N> {
    /// The mapping that is looked at next, and when, in seconds.
    pub(in super::super) fn first_look(&self) -> Option<(u16, u32)> {
        let index = self.at(0)?;
        self.get(index).map(|entry| (index, entry.term))
    }

    /// The lease runs from now on: it is looked at at `look`, in seconds.
    pub(in super::super) fn add_look(&mut self, index: u16, look: u32) {
        let place = self.heap_len;
        let Some(slot) = self.heap.get_mut(usize::from(place)) else { return };
        *slot = index;
        self.heap_len = place.saturating_add(1);
        if let Some(entry) = self.get_mut(index) {
            entry.phase = Phase::Open;
            entry.term = look;
            entry.link = place;
        }
        self.rise(place);
    }

    /// It is looked at at another time.
    pub(in super::super) fn move_look(&mut self, index: u16, look: u32) {
        if let Some(place) = self.place_of(index) {
            if let Some(entry) = self.get_mut(index) {
                entry.term = look;
            }
            self.rise(place);
            if let Some(place) = self.place_of(index) {
                self.sink(place);
            }
        }
    }

    /// The lease does not run any more.
    pub(in super::super) fn cancel_look(&mut self, index: u16) {
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
            if self.look_at(parent) <= self.look_at(place) {
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
            let smaller = if self.look_at(right) < self.look_at(left) { right } else { left };
            if self.look_at(place) <= self.look_at(smaller) {
                return;
            }
            self.swap(place, smaller);
            place = smaller;
        }
    }

    /// When the entry at a place is looked at; never, beyond the end.
    fn look_at(&self, place: u16) -> u32 {
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
