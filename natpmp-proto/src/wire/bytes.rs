use core::ops::Deref;

/// A packet ready to be sent: at most 16 bytes, held in place.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Encoded {
    bytes: heapless::Vec<u8, LONGEST>,
}

impl Encoded {
    pub(super) fn with(mut self, bytes: &[u8]) -> Self {
        // Every packet's form fits: the longest has 16 bytes.
        let _ = self.bytes.extend_from_slice(bytes);
        self
    }
}

impl Deref for Encoded {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl AsRef<[u8]> for Encoded {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

/// The bytes in hexadecimal.
impl core::fmt::Debug for Encoded {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(feature = "defmt")]
impl defmt::Format for Encoded {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "{=[u8]:02x}", self);
    }
}

/// Reads big-endian fields from the front of a packet; `None` where it ends too early.
#[derive(Clone, Copy)]
pub(super) struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_be_bytes)
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(*field)
    }
}

const LONGEST: usize = 16;
