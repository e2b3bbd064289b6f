//! Choices read from bytes: any bytes will do, and similar bytes are similar choices.

use natpmp_proto::Protocol;

/// What is left of them. At their end everything is 0.
pub(super) struct Bytes<'a> {
    left: &'a [u8],
}

impl<'a> Bytes<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { left: bytes }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.left.is_empty()
    }

    pub(super) fn u8(&mut self) -> u8 {
        let [value] = self.array();
        value
    }

    pub(super) fn u16(&mut self) -> u16 {
        u16::from_be_bytes(self.array())
    }

    pub(super) fn u32(&mut self) -> u32 {
        u32::from_be_bytes(self.array())
    }

    pub(super) fn bit(&mut self) -> bool {
        self.u8() & 1 == 1
    }

    /// From 0 to `limit` - 1.
    pub(super) fn below(&mut self, limit: u8) -> u8 {
        self.u8() % limit
    }

    pub(super) fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[usize::from(self.u8()) % choices.len()]
    }

    pub(super) fn protocol(&mut self) -> Protocol {
        self.one_of(&Protocol::ALL)
    }

    /// Up to `most` bytes as they are.
    pub(super) fn slice(&mut self, most: u8) -> Vec<u8> {
        let length = usize::from(self.u8() % (most + 1)).min(self.left.len());
        let (taken, left) = self.left.split_at(length);
        self.left = left;
        taken.to_vec()
    }

    fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut array = [0; N];
        let length = N.min(self.left.len());
        let (taken, left) = self.left.split_at(length);
        array[..length].copy_from_slice(taken);
        self.left = left;
        array
    }
}
