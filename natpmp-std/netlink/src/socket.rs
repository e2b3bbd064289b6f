//! A question to the kernel, and its answers up to the last one.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::io::{Errno, retry_on_intr};
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, bind, getsockname, recvfrom, send,
    socket_with,
};

use crate::message::{ALIGNMENT, Message, Messages, NLM_F_ACK, array, request};

/// A line to one part of the kernel, of the network namespace that it was opened in.
#[derive(Debug)]
pub struct Socket {
    socket: OwnedFd,
    sequence: u32,
    buffer: Buffer,
}

/// Where a socket reads into: as much as the kernel says at once.
#[derive(Debug)]
pub(crate) struct Buffer(Box<[MaybeUninit<u8>]>);

/// How the kernel took a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Outcome {
    /// All was said.
    Whole,
    /// Something changed while it was listed: the list may have holes.
    Interrupted,
    /// With this error number.
    Refused(i32),
}

impl Outcome {
    /// A refusal as an error.
    pub fn accepted(self) -> io::Result<()> {
        match self {
            Self::Whole | Self::Interrupted => Ok(()),
            Self::Refused(error) => Err(io::Error::from_raw_os_error(error)),
        }
    }
}

impl Socket {
    /// To the part of the kernel that `protocol` names; by default to that of routes and links.
    pub fn open(protocol: Option<Protocol>) -> io::Result<Self> {
        let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, protocol)?;
        // It answers at once, or never.
        set_socket_timeout(&socket, Timeout::Recv, Some(PATIENCE))?;
        Ok(Self { socket, sequence: 0, buffer: Buffer::new() })
    }

    /// Asks, and hands on each answer. `flags` has to make it say which is the last one: with `NLM_F_ACK` or
    /// `NLM_F_DUMP`.
    pub fn ask(
        &mut self,
        kind: u16,
        flags: u16,
        body: &[u8],
        mut each: impl FnMut(Message<'_>),
    ) -> io::Result<Outcome> {
        self.sequence = self.sequence.wrapping_add(1);
        let question = request(kind, flags, self.sequence, body);
        retry_on_intr(|| send(&self.socket, &question, SendFlags::empty()))?;
        let mut was_interrupted = false;
        loop {
            let bytes = match self.buffer.receive(&self.socket, RecvFlags::empty()) {
                Ok(bytes) => bytes,
                Err(Errno::INTR) => continue,
                Err(Errno::AGAIN) => return Err(io::ErrorKind::TimedOut.into()),
                Err(error) => return Err(error.into()),
            };
            if let Some(outcome) = read(bytes, self.sequence, &mut was_interrupted, &mut each) {
                return Ok(outcome);
            }
        }
    }
}

impl Socket {
    /// Sends several requests of this kind in one piece, which saves a call of the system for each, and hands on the error
    /// number of each that the kernel refuses.
    ///
    /// # Errors
    /// What went wrong on the way: some of them may not have been answered.
    pub fn ask_all(
        &mut self,
        kind: u16,
        bodies: impl IntoIterator<Item = Vec<u8>>,
        mut refused: impl FnMut(i32),
    ) -> io::Result<()> {
        let mut bodies = bodies.into_iter().peekable();
        let mut questions = Vec::new();
        while let Some(body) = bodies.next() {
            self.sequence = self.sequence.wrapping_add(1);
            let flags = if bodies.peek().is_some() { 0 } else { NLM_F_ACK };
            questions.extend(request(kind, flags, self.sequence, &body));
            questions.resize(questions.len().next_multiple_of(ALIGNMENT), 0);
        }
        if questions.is_empty() {
            return Ok(());
        }
        retry_on_intr(|| send(&self.socket, &questions, SendFlags::empty()))?;
        loop {
            let bytes = match self.buffer.receive(&self.socket, RecvFlags::empty()) {
                Ok(bytes) => bytes,
                Err(Errno::INTR) => continue,
                Err(Errno::AGAIN) => return Err(io::ErrorKind::TimedOut.into()),
                Err(error) => return Err(error.into()),
            };
            for message in Messages::new(bytes).filter(|message| message.kind == NLMSG_ERROR) {
                match array(message.body, 0).map_or(0, i32::from_ne_bytes) {
                    0 => {}
                    error => refused(error.saturating_neg()),
                }
                if message.sequence == self.sequence {
                    return Ok(());
                }
            }
        }
    }
}

impl Buffer {
    pub(crate) fn new() -> Self {
        Self(Box::new_uninit_slice(BUFFER))
    }

    /// One read: see [`receive`].
    pub(crate) fn receive(&mut self, socket: &OwnedFd, flags: RecvFlags) -> Result<&[u8], Errno> {
        receive_with(socket, &mut self.0, flags)
    }
}

/// A socket with a port of its own, which hears these groups.
pub(crate) fn open_bound(protocol: Option<Protocol>, groups: u32) -> io::Result<OwnedFd> {
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, protocol)?;
    bind(&socket, &SocketAddrNetlink::new(0, groups))?;
    Ok(socket)
}

/// The port that the kernel gave a socket.
pub(crate) fn port(socket: &OwnedFd) -> io::Result<u32> {
    Ok(SocketAddrNetlink::try_from(getsockname(socket)?)?.pid())
}

/// The messages of one read, those that answer the question: how it was taken, if the last one is among them.
pub fn read(
    bytes: &[u8],
    sequence: u32,
    was_interrupted: &mut bool,
    mut each: impl FnMut(Message<'_>),
) -> Option<Outcome> {
    for message in Messages::new(bytes).filter(|message| message.sequence == sequence) {
        *was_interrupted |= message.flags & NLM_F_DUMP_INTR != 0;
        if !matches!(message.kind, NLMSG_ERROR | NLMSG_DONE) {
            each(message);
            continue;
        }
        return Some(match array(message.body, 0).map_or(0, i32::from_ne_bytes) {
            0 if *was_interrupted => Outcome::Interrupted,
            0 => Outcome::Whole,
            error => Outcome::Refused(error.saturating_neg()),
        });
    }
    None
}

/// One read, as long as it comes from the kernel: others can send too, and count for nothing. What does not fit is an
/// error. It may be interrupted.
pub fn receive<'a>(socket: &OwnedFd, buffer: &'a mut [MaybeUninit<u8>]) -> Result<&'a [u8], Errno> {
    receive_with(socket, buffer, RecvFlags::empty())
}

fn receive_with<'a>(socket: &OwnedFd, buffer: &'a mut [MaybeUninit<u8>], flags: RecvFlags) -> Result<&'a [u8], Errno> {
    // The flag makes it return the true length.
    let ((bytes, _), length, from) = recvfrom(socket, buffer, flags | RecvFlags::TRUNC)?;
    let sender = from.and_then(|from| SocketAddrNetlink::try_from(from).ok());
    if sender.is_none_or(|sender| sender.pid() != KERNEL) {
        return Ok(&[]);
    }
    if length == bytes.len() { Ok(bytes) } else { Err(Errno::MSGSIZE) }
}

pub(crate) const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_DUMP_INTR: u16 = 0x10;
/// The port of the kernel.
const KERNEL: u32 = 0;
const PATIENCE: Duration = Duration::from_secs(5);
/// The kernel fills 32 KiB at most.
const BUFFER: usize = 64 * 1024;
