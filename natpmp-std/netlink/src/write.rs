//! Attributes on their way to the kernel.

use crate::message::attribute_header;

/// The attributes of a message, written one after the other into one buffer.
///
/// The kernel takes a value of 65,531 bytes at most, nested attributes included: whoever writes a list bounds it.
#[derive(Clone, Debug, Default)]
pub struct AttributeWriter {
    bytes: Vec<u8>,
}

impl AttributeWriter {
    /// Begins with these bytes, which come ahead of the attributes.
    #[must_use]
    pub fn after(header: &[u8]) -> Self {
        Self { bytes: header.to_vec() }
    }

    /// Writes an attribute of any bytes.
    pub fn bytes(&mut self, kind: u16, value: &[u8]) {
        self.bytes.extend(attribute_header(kind, value.len()));
        self.bytes.extend(value);
        self.align();
    }

    /// Writes a number in the byte order of the network, as nfnetlink has all its numbers.
    pub fn number(&mut self, kind: u16, value: u32) {
        self.bytes(kind, &value.to_be_bytes());
    }

    /// Writes a name, which ends with a zero.
    pub fn name(&mut self, kind: u16, value: &str) {
        self.bytes.extend(attribute_header(kind, value.len().saturating_add(1)));
        self.bytes.extend(value.as_bytes());
        self.bytes.push(0);
        self.align();
    }

    /// Writes an attribute whose value is what `write` writes.
    pub fn nested(&mut self, kind: u16, write: impl FnOnce(&mut Self)) {
        let start = self.bytes.len();
        self.bytes.extend(attribute_header(kind | NESTED, 0));
        write(self);
        let length = u16::try_from(self.bytes.len().saturating_sub(start)).unwrap_or(u16::MAX);
        if let Some(place) = self.bytes.get_mut(start..).and_then(|rest| rest.first_chunk_mut()) {
            *place = length.to_ne_bytes();
        }
    }

    /// What was written.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// How many bytes were written.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether nothing was written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    fn align(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

/// Says that the value consists of attributes.
const NESTED: u16 = 0x8000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Attributes, find};

    #[test]
    fn what_is_written_is_read_again() {
        let mut writer = AttributeWriter::default();
        writer.name(1, "natpmp");
        writer.nested(3, |list| {
            list.nested(1, |first| first.bytes(1, &[1, 2, 3]));
            list.number(4, 0x0102_0304);
        });
        writer.bytes(5, &[]);
        assert_eq!(writer.len() % 4, 0);
        let bytes = writer.into_bytes();
        assert_eq!(find(&bytes, 1), Some(&b"natpmp\0"[..]));
        let list = find(&bytes, 3).unwrap();
        assert_eq!(find(find(list, 1).unwrap(), 1), Some(&[1, 2, 3][..]));
        assert_eq!(find(list, 4), Some(&[1, 2, 3, 4][..]));
        assert_eq!(Attributes::new(&bytes).count(), 3);
    }

    #[test]
    fn what_is_too_long_harms_nothing() {
        let mut writer = AttributeWriter::default();
        writer.nested(1, |list| list.bytes(1, &vec![0; 70_000]));
        assert_eq!(Attributes::new(&writer.into_bytes()).count(), 1);
    }
}
