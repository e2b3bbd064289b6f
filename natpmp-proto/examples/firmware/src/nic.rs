//! The Ethernet controller as smoltcp wants it. It is polled: a frame is read from its queue word by word.

use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::time::Instant;

use crate::board::Ethernet;

/// The controller, and room for a frame in each direction.
#[derive(Debug)]
pub struct Nic {
    ethernet: Ethernet,
    received: [u8; FRAME],
    to_send: [u8; FRAME],
}

impl Nic {
    /// For smoltcp.
    #[must_use]
    pub const fn new(ethernet: Ethernet) -> Self {
        Self { ethernet, received: [0; FRAME], to_send: [0; FRAME] }
    }

    /// Whether there is a frame to be received.
    #[must_use]
    pub fn has_frame(&self) -> bool {
        self.ethernet.has_frame()
    }
}

impl Device for Nic {
    type RxToken<'a> = Received<'a>;
    type TxToken<'a> = ToSend<'a>;

    fn receive(&mut self, _: Instant) -> Option<(Received<'_>, ToSend<'_>)> {
        if !self.ethernet.has_frame() || !self.ethernet.can_send() {
            return None;
        }
        let length = read_frame(&mut self.ethernet, &mut self.received);
        let frame = self.received.get(..length)?;
        Some((Received(frame), ToSend { ethernet: &mut self.ethernet, buffer: &mut self.to_send }))
    }

    fn transmit(&mut self, _: Instant) -> Option<ToSend<'_>> {
        self.ethernet.can_send().then_some(ToSend { ethernet: &mut self.ethernet, buffer: &mut self.to_send })
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = FRAME;
        capabilities.max_burst_size = Some(1);
        capabilities
    }
}

/// A frame that was received.
#[derive(Debug)]
pub struct Received<'a>(&'a [u8]);

impl RxToken for Received<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(self.0)
    }
}

/// Room for a frame to be sent.
#[derive(Debug)]
pub struct ToSend<'a> {
    ethernet: &'a mut Ethernet,
    buffer: &'a mut [u8; FRAME],
}

impl TxToken for ToSend<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, f: F) -> R {
        // smoltcp asks for no more than the capabilities say.
        let (frame, _) = self.buffer.split_at_mut(length.min(FRAME));
        let result = f(frame);
        write_frame(self.ethernet, frame);
        result
    }
}

/// In the queue a frame comes after its length in two bytes, and before its checksum in four; the length counts all of them.
fn read_frame(ethernet: &mut Ethernet, buffer: &mut [u8; FRAME]) -> usize {
    let [low, high, first, second] = ethernet.read_data().to_le_bytes();
    let queued = usize::from(u16::from_le_bytes([low, high]));
    let mut bytes = buffer.iter_mut();
    // The queue's side first: a zip that ends takes one more from its left side.
    for (from, to) in [first, second].into_iter().zip(bytes.by_ref()) {
        *to = from;
    }
    for _ in 1..queued.div_ceil(4) {
        // What is longer than a frame may be is taken from the queue all the same.
        for (from, to) in ethernet.read_data().to_le_bytes().into_iter().zip(bytes.by_ref()) {
            *to = from;
        }
    }
    queued.saturating_sub(6).min(FRAME)
}

/// Here the length is that of what follows the Ethernet header, and the controller adds the checksum.
fn write_frame(ethernet: &mut Ethernet, frame: &[u8]) {
    let Some((&[first, second], rest)) = frame.split_first_chunk() else { return };
    let [low, high, ..] = frame.len().saturating_sub(HEADER).to_le_bytes();
    ethernet.write_data(u32::from_le_bytes([low, high, first, second]));
    for chunk in rest.chunks(4) {
        let mut word = [0; 4];
        for (to, from) in word.iter_mut().zip(chunk) {
            *to = *from;
        }
        ethernet.write_data(u32::from_le_bytes(word));
    }
    ethernet.send();
}

const HEADER: usize = 14;
const FRAME: usize = HEADER + 1_500;
