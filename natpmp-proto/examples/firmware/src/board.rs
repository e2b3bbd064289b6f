//! The board: as much of an LM3S6965 as is needed here. The only file with `unsafe` in it.
//!
//! It takes `unsafe` because a register is a number until somebody says that there is one at that address. What is said here
//! is in the chip's data sheet: a block of 32-bit registers for the Ethernet controller at 0x4004_8000. Reading or writing
//! any of those named below touches no memory that Rust knows of.

#![allow(unsafe_code)]

use core::cell::Cell;
use core::ptr::{read_volatile, write_volatile};
use core::sync::atomic::{AtomicBool, Ordering};

use cortex_m_semihosting::{nr, syscall, syscall1};

/// The Ethernet controller. There is one.
#[derive(Debug)]
pub struct Ethernet(());

impl Ethernet {
    /// Switches it on: it receives what is for this station, for all, and for groups. `None` if it was taken before.
    #[must_use]
    pub fn take() -> Option<Self> {
        static IS_TAKEN: AtomicBool = AtomicBool::new(false);
        // Cortex-M0 has no swap; no interrupt takes the controller.
        if IS_TAKEN.load(Ordering::Relaxed) {
            return None;
        }
        IS_TAKEN.store(true, Ordering::Relaxed);
        let mut ethernet = Self(());
        ethernet.write(Register::InterruptMask, 0);
        ethernet.write(Register::ReceiveControl, ReceiveControl::RESET_FIFO);
        ethernet.write(Register::ReceiveControl, ReceiveControl::ENABLE | ReceiveControl::MULTICAST);
        ethernet
            .write(Register::TransmitControl, TransmitControl::ENABLE | TransmitControl::PAD | TransmitControl::CRC);
        Some(ethernet)
    }

    /// Its hardware address.
    #[must_use]
    pub fn address(&self) -> [u8; 6] {
        let [a, b, c, d] = self.read(Register::Address0).to_le_bytes();
        let [e, f, ..] = self.read(Register::Address1).to_le_bytes();
        [a, b, c, d, e, f]
    }

    /// Whether there is a frame to be received.
    #[must_use]
    pub fn has_frame(&self) -> bool {
        self.read(Register::FramesReceived) & 0x3f != 0
    }

    /// Whether the frame before has left.
    #[must_use]
    pub fn can_send(&self) -> bool {
        self.read(Register::TransmitRequest) & 1 == 0
    }

    /// The next word of the frames received.
    #[must_use]
    pub fn read_data(&mut self) -> u32 {
        self.read(Register::Data)
    }

    /// The next word of the frame to be sent.
    pub fn write_data(&mut self, word: u32) {
        self.write(Register::Data, word);
    }

    /// The frame is complete.
    pub fn send(&mut self) {
        self.write(Register::TransmitRequest, 1);
    }

    fn read(&self, register: Register) -> u32 {
        // SAFETY: the address is that of a register of this controller, aligned, and always readable. Reading `Data` takes a word
        // from a queue, which is why `read_data` wants the controller for itself.
        unsafe { read_volatile((ETHERNET + register as usize) as *const u32) }
    }

    fn write(&mut self, register: Register, value: u32) {
        // SAFETY: the address is that of a register of this controller, aligned, and no register of it makes the
        // controller write to memory: it has no DMA.
        unsafe { write_volatile((ETHERNET + register as usize) as *mut u32, value) }
    }
}

/// A number that is another one at each boot.
///
/// This chip has no source of randomness; under QEMU, or with a debugger, the host's clock serves. Take your chip's random
/// number generator, or a counter of boots in flash together with the serial number: two devices that boot together after a
/// power failure must not draw the same.
#[must_use]
pub fn seed(address: [u8; 6]) -> u64 {
    let elapsed = Cell::new([0_u32; 2]);
    // SAFETY: TIME takes no argument and returns seconds. ELAPSED writes two words to the address given, which is that of
    // a cell of this size, not borrowed meanwhile.
    let seconds = unsafe {
        syscall(nr::ELAPSED, &elapsed);
        syscall1(nr::TIME, 0)
    };
    let [low, high] = elapsed.get();
    let [a, b, c, d, e, f] = address;
    let address = u64::from_le_bytes([a, b, c, d, e, f, 0, 0]);
    [u64::from(low) | u64::from(high) << 32, seconds as u64, address].into_iter().fold(0, mix)
}

/// A round of SplitMix64 for each word: every bit of it counts.
fn mix(state: u64, word: u64) -> u64 {
    let mut z = (state ^ word).wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[derive(Clone, Copy)]
#[repr(usize)]
enum Register {
    InterruptMask = 0x04,
    ReceiveControl = 0x08,
    TransmitControl = 0x0c,
    Data = 0x10,
    Address0 = 0x14,
    Address1 = 0x18,
    FramesReceived = 0x34,
    TransmitRequest = 0x38,
}

struct ReceiveControl;

impl ReceiveControl {
    const ENABLE: u32 = 1;
    const MULTICAST: u32 = 1 << 1;
    const RESET_FIFO: u32 = 1 << 4;
}

struct TransmitControl;

impl TransmitControl {
    const ENABLE: u32 = 1;
    const PAD: u32 = 1 << 1;
    const CRC: u32 = 1 << 2;
}

const ETHERNET: usize = 0x4004_8000;

/// The clock after reset, as QEMU has it.
pub const CORE_HZ: u32 = 12_500_000;
