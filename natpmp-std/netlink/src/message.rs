//! Messages and their attributes: all numbers in the byte order of the machine.

/// A message without its header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// What it is, by the number of its part of the kernel.
    pub kind: u16,
    /// The `NLM_F_` flags.
    pub flags: u16,
    /// That of the request which it answers; 0 if nobody asked.
    pub sequence: u32,
    /// The port of whoever caused it; 0 is the kernel.
    pub port: u32,
    /// What follows the header, attributes among it.
    pub body: &'a [u8],
}

/// The messages of one read, as far as they are whole.
#[derive(Clone, Debug)]
pub struct Messages<'a> {
    rest: &'a [u8],
}

/// The attributes at the end of a message, or of another attribute, as far as they are whole: kind and value.
#[derive(Clone, Debug)]
pub struct Attributes<'a> {
    rest: &'a [u8],
}

impl<'a> Messages<'a> {
    /// Reads the messages in what one read brought.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }
}

impl<'a> Iterator for Messages<'a> {
    type Item = Message<'a>;

    fn next(&mut self) -> Option<Message<'a>> {
        let length = usize::try_from(u32::from_ne_bytes(array(self.rest, 0)?)).ok()?;
        let body = self.rest.get(HEADER..length)?;
        let kind = u16::from_ne_bytes(array(self.rest, 4)?);
        let flags = u16::from_ne_bytes(array(self.rest, 6)?);
        let sequence = u32::from_ne_bytes(array(self.rest, 8)?);
        let port = u32::from_ne_bytes(array(self.rest, 12)?);
        self.rest = after(self.rest, length);
        Some(Message { kind, flags, sequence, port, body })
    }
}

impl<'a> Attributes<'a> {
    /// Reads the attributes in these bytes, which begin with the first one.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<(u16, &'a [u8])> {
        let length = usize::from(u16::from_ne_bytes(array(self.rest, 0)?));
        let value = self.rest.get(ATTRIBUTE_HEADER..length)?;
        let kind = u16::from_ne_bytes(array(self.rest, 2)?) & !ATTRIBUTE_FLAGS;
        self.rest = after(self.rest, length);
        Some((kind, value))
    }
}

/// The value of the first attribute of this kind.
#[must_use]
pub fn find(attributes: &[u8], kind: u16) -> Option<&[u8]> {
    Attributes::new(attributes).find(|(of, _)| *of == kind).map(|(_, value)| value)
}

/// A whole message to the kernel.
#[must_use]
pub fn request(kind: u16, flags: u16, sequence: u32, body: &[u8]) -> Vec<u8> {
    [&message_header(kind, flags, sequence, body.len())[..], body].concat()
}

/// A whole attribute, with what fills it up.
#[must_use]
pub fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut attribute = [&attribute_header(kind, value.len())[..], value].concat();
    attribute.resize(attribute.len().next_multiple_of(ALIGNMENT), 0);
    attribute
}

/// The header of a message to the kernel whose body has this length.
pub(crate) fn message_header(kind: u16, flags: u16, sequence: u32, length: usize) -> [u8; HEADER] {
    let length = u32::try_from(HEADER.saturating_add(length)).unwrap_or(u32::MAX).to_ne_bytes();
    let ([a, b, c, d], [e, f], [g, h], [i, j, k, l]) =
        (length, kind.to_ne_bytes(), (flags | NLM_F_REQUEST).to_ne_bytes(), sequence.to_ne_bytes());
    // The kernel gives the sender its port.
    [a, b, c, d, e, f, g, h, i, j, k, l, 0, 0, 0, 0]
}

/// The header of an attribute whose value has this length.
pub(crate) fn attribute_header(kind: u16, length: usize) -> [u8; ATTRIBUTE_HEADER] {
    let length = u16::try_from(ATTRIBUTE_HEADER.saturating_add(length)).unwrap_or(u16::MAX);
    let ([a, b], [c, d]) = (length.to_ne_bytes(), kind.to_ne_bytes());
    [a, b, c, d]
}

/// The bytes from `from` on, if there are that many.
#[must_use]
pub fn array<const N: usize>(bytes: &[u8], from: usize) -> Option<[u8; N]> {
    bytes.get(from..)?.first_chunk().copied()
}

/// What comes after something of this length. The last one may not be filled up.
#[must_use]
pub fn after(bytes: &[u8], length: usize) -> &[u8] {
    bytes.get(length.next_multiple_of(ALIGNMENT)..).unwrap_or_default()
}

/// Every answer comes with one of these, and this is the last one.
pub const NLM_F_ACK: u16 = 0x4;
/// Asks for all there is.
pub const NLM_F_DUMP: u16 = 0x300;
/// Asks to be told of the change as others are.
pub const NLM_F_ECHO: u16 = 0x8;
/// Makes it if it is not there.
pub const NLM_F_CREATE: u16 = 0x400;
/// Puts it behind what is there.
pub const NLM_F_APPEND: u16 = 0x800;

const HEADER: usize = 16;
const ATTRIBUTE_HEADER: usize = 4;
pub(crate) const ALIGNMENT: usize = 4;
const NLM_F_REQUEST: u16 = 0x1;
/// Nested, and in the byte order of the network.
const ATTRIBUTE_FLAGS: u16 = 0xc000;
