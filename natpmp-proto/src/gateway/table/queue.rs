//! Which mappings the NAT is to be asked about, first come, first served.

use super::{NONE, Phase, Table};

impl<const N: usize> Table<N> {
    /// The NAT is to be asked for it, or to change or remove it.
    pub(in super::super) fn enqueue(&mut self, index: u16, phase: Phase) {
        self.cancel_look(index);
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
