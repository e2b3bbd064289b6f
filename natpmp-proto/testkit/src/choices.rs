//! Choices that can be replayed: drawn from a seed, or read from bytes.

use std::time::Duration;

use natpmp_proto::Protocol;

/// Draws from a seed, as a generator of the splitmix family: the same seed is the same run.
#[derive(Clone, Debug)]
pub struct Random {
    state: u64,
}

impl Random {
    /// Any seed will do.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 to `limit` - 1; 0 for a limit of 0.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.bits().checked_rem(limit).unwrap_or(0)
    }

    /// True `percent` times in a hundred.
    pub fn chance(&mut self, percent: u8) -> bool {
        self.below(100) < percent.into()
    }

    /// From the first duration to the second, both included, in steps of a microsecond.
    pub fn between(&mut self, from: Duration, to: Duration) -> Duration {
        let width = u64::try_from(to.saturating_sub(from).as_micros()).unwrap_or(u64::MAX - 1);
        from + Duration::from_micros(self.below(width + 1))
    }
}

/// Reads from bytes: any bytes will do, and similar bytes are similar choices. At their end everything is 0.
pub(crate) struct Bytes<'a> {
    left: &'a [u8],
}

impl<'a> Bytes<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { left: bytes }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.left.is_empty()
    }

    pub(crate) fn u8(&mut self) -> u8 {
        let [value] = self.array();
        value
    }

    pub(crate) fn u16(&mut self) -> u16 {
        u16::from_be_bytes(self.array())
    }

    pub(crate) fn u32(&mut self) -> u32 {
        u32::from_be_bytes(self.array())
    }

    pub(crate) fn bit(&mut self) -> bool {
        self.u8() & 1 == 1
    }

    /// From 0 to `limit` - 1.
    pub(crate) fn below(&mut self, limit: u8) -> u8 {
        self.u8() % limit
    }

    pub(crate) fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[usize::from(self.u8()) % choices.len()]
    }

    pub(crate) fn protocol(&mut self) -> Protocol {
        self.one_of(&Protocol::ALL)
    }

    /// Up to `most` bytes as they are.
    pub(crate) fn slice(&mut self, most: u8) -> Vec<u8> {
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
