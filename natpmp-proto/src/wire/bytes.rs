use core::ops::Deref;

/// A packet ready to be sent: at most 16 bytes, held in place.
#[derive(Clone, Default, PartialEq, Eq)]
#[repr(align(4))] // is moved by words
pub struct Encoded {
    /// Those beyond the length are 0.
    bytes: [u8; LONGEST],
    length: u8,
}

impl Encoded {
    /// The first `length` bytes of four big-endian words, the rest of which is 0.
    pub(super) const fn new(words: [u32; 4], length: u8) -> Self {
        let [a, b, c, d] = words;
        // One number, whose bytes are in order on any machine.
        let number = (a as u128) << 96 | (b as u128) << 64 | (c as u128) << 32 | d as u128;
        Self { bytes: number.to_be_bytes(), length }
    }
}

impl Deref for Encoded {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.length)).unwrap_or_default()
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

/// A word of two fields of 16 bits.
pub(super) const fn word(high: u16, low: u16) -> u32 {
    (high as u32) << 16 | low as u32
}

const LONGEST: usize = 16;
