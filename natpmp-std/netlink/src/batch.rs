//! Transactions of nfnetlink: messages that take effect all together, or not at all.

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;

use rustix::io::{Errno, retry_on_intr};
use rustix::net::netlink::NETFILTER;
use rustix::net::{RecvFlags, SendFlags, send, sockopt};

use crate::message::{Message, Messages, NLM_F_ACK, array, message_header};
use crate::netfilter::header;
use crate::socket::{self, Buffer, NLMSG_ERROR};
use crate::write::AttributeWriter;

/// Messages to one part of netfilter that are to be one transaction.
#[derive(Clone, Debug)]
pub struct Batch {
    subsystem: u8,
    bytes: Vec<u8>,
    /// Where each message begins.
    starts: Vec<usize>,
}

/// A socket for transactions of netfilter, of the network namespace that it was opened in.
#[derive(Debug)]
pub struct BatchSocket {
    socket: OwnedFd,
    port: u32,
    sequence: u32,
    buffer: Buffer,
}

/// Why a transaction did not take effect.
#[derive(Debug)]
pub struct Refusal {
    /// The first message that the kernel refused, counted from 0, if it named one.
    pub message: Option<usize>,
    /// What the kernel said.
    pub error: io::Error,
}

impl Batch {
    /// A transaction without messages, for the part of netfilter that `subsystem` names.
    #[must_use]
    pub fn new(subsystem: u8) -> Self {
        Self { subsystem, bytes: Vec::new(), starts: Vec::new() }
    }

    /// Adds a message of this kind and family, with the attributes that `write` writes.
    pub fn push(&mut self, kind: u8, flags: u16, family: u8, write: impl FnOnce(&mut AttributeWriter)) {
        let mut body = AttributeWriter::after(&header(family, 0));
        write(&mut body);
        self.starts.push(self.bytes.len());
        self.bytes.extend(message_header(u16::from_be_bytes([self.subsystem, kind]), flags, 0, body.len()));
        self.bytes.extend(body.into_bytes());
    }

    /// How many messages it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.starts.len()
    }

    /// Whether it has no message.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }

    /// All messages between those that begin and end the transaction, numbered from `sequence` on. Only the last one asks
    /// for an answer: refusals come unasked.
    fn framed(&self, sequence: u32) -> Vec<u8> {
        let boundary = |kind, sequence| {
            let body = header(0, u16::from(self.subsystem));
            [&message_header(kind, 0, sequence, body.len())[..], &body].concat()
        };
        let mut all = boundary(BATCH_BEGIN, sequence);
        let first = all.len();
        all.extend(&self.bytes);
        let mut number = sequence;
        for start in &self.starts {
            number = number.wrapping_add(1);
            put(&mut all, first.saturating_add(*start).saturating_add(SEQUENCE_AT), number.to_ne_bytes());
        }
        if let Some(start) = self.starts.last() {
            let at = first.saturating_add(*start).saturating_add(FLAGS_AT);
            let flags = array(&all, at).map_or(0, u16::from_ne_bytes);
            put(&mut all, at, (flags | NLM_F_ACK).to_ne_bytes());
        }
        all.extend(boundary(BATCH_END, number.wrapping_add(1)));
        all
    }
}

impl BatchSocket {
    /// Opens a socket that sends transactions of any size, if the system allows that: without `CAP_NET_ADMIN` in the first
    /// user namespace the kernel takes some 200 KiB at a time.
    pub fn open() -> io::Result<Self> {
        let socket = socket::open_bound(Some(NETFILTER), 0)?;
        let _ = sockopt::set_socket_send_buffer_size_force(&socket, LARGEST);
        let _ = sockopt::set_socket_recv_buffer_size_force(&socket, ROOM_FOR_ANSWERS);
        let port = socket::port(&socket)?;
        Ok(Self { socket, port, sequence: 0, buffer: Buffer::new() })
    }

    /// The port of this socket: the kernel's changes of what was committed here bears it.
    #[must_use]
    pub const fn port(&self) -> u32 {
        self.port
    }

    /// Has the kernel commit the transaction, and hands on what it says of messages with `NLM_F_ECHO`.
    ///
    /// # Errors
    /// - [`io::ErrorKind::InvalidInput`], and no message named: it is too large for one transaction.
    /// - What the kernel refused; nothing of the transaction has taken effect.
    /// - What went wrong on the way: it may have taken effect.
    pub fn commit(&mut self, batch: &Batch, each: impl FnMut(Message<'_>)) -> Result<(), Refusal> {
        if batch.is_empty() {
            return Ok(());
        }
        let sequence = self.sequence;
        let count = u32::try_from(batch.len()).unwrap_or(u32::MAX);
        self.sequence = sequence.wrapping_add(count).wrapping_add(2);
        let bytes = batch.framed(sequence);
        retry_on_intr(|| send(&self.socket, &bytes, SendFlags::empty())).map_err(|error| match error {
            Errno::MSGSIZE => Refusal { message: None, error: io::ErrorKind::InvalidInput.into() },
            error => Refusal { message: None, error: error.into() },
        })?;
        let mut answers = BatchAnswers::new(sequence, count);
        let mut each = each;
        // The kernel answers before `send` returns.
        loop {
            match self.buffer.receive(&self.socket, RecvFlags::DONTWAIT) {
                Ok(bytes) => answers.read(bytes, &mut each),
                Err(Errno::INTR) => {}
                Err(Errno::NOBUFS | Errno::MSGSIZE) => answers.were_lost = true,
                Err(Errno::AGAIN) => return answers.outcome(),
                Err(error) => return Err(Refusal { message: None, error: error.into() }),
            }
        }
    }
}

/// What the kernel has said of a transaction so far.
#[derive(Debug)]
pub struct BatchAnswers {
    sequence: u32,
    count: u32,
    refusal: Option<(Option<usize>, i32)>,
    is_accepted: bool,
    were_lost: bool,
}

impl BatchAnswers {
    /// For a transaction whose beginning has this number, and which has so many messages.
    #[must_use]
    pub const fn new(sequence: u32, count: u32) -> Self {
        Self { sequence, count, refusal: None, is_accepted: false, were_lost: false }
    }

    /// Takes what one read brought, and hands on what is no answer.
    pub fn read(&mut self, bytes: &[u8], mut each: impl FnMut(Message<'_>)) {
        for message in Messages::new(bytes) {
            let number = message.sequence.wrapping_sub(self.sequence);
            if number > self.count.saturating_add(1) {
                continue;
            }
            if message.kind != NLMSG_ERROR {
                each(message);
                continue;
            }
            match array(message.body, 0).map_or(0, i32::from_ne_bytes) {
                0 => self.is_accepted |= number == self.count,
                error => {
                    let index = number.checked_sub(1).filter(|_| number <= self.count);
                    let index = index.and_then(|index| usize::try_from(index).ok());
                    self.refusal.get_or_insert((index, error.saturating_neg()));
                }
            }
        }
    }

    /// Whether it was committed, once all answers are read. The last message may be accepted although another was refused.
    pub fn outcome(self) -> Result<(), Refusal> {
        match self.refusal {
            Some((message, error)) => Err(Refusal { message, error: io::Error::from_raw_os_error(error) }),
            None if self.is_accepted && !self.were_lost => Ok(()),
            None => Err(Refusal { message: None, error: io::Error::other("the kernel's answer was lost") }),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.message {
            Some(message) => write!(f, "message {message} of the transaction: {}", self.error),
            None => self.error.fmt(f),
        }
    }
}

impl std::error::Error for Refusal {}

fn put<const N: usize>(bytes: &mut [u8], at: usize, value: [u8; N]) {
    if let Some(place) = bytes.get_mut(at..).and_then(|rest| rest.first_chunk_mut()) {
        *place = value;
    }
}

const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
const FLAGS_AT: usize = 6;
const SEQUENCE_AT: usize = 8;
/// The kernel takes what it is sent as one piece of memory: some 650,000 elements.
const LARGEST: usize = 64 << 20;
const ROOM_FOR_ANSWERS: usize = 4 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_numbered_between_begin_and_end_and_the_last_one_asks() {
        let mut batch = Batch::new(10);
        batch.push(0, 0x400, 2, |body| body.name(1, "natpmp"));
        batch.push(12, 0, 2, |_| {});
        let framed = batch.framed(u32::MAX);
        let all: Vec<_> = Messages::new(&framed).map(|each| (each.kind, each.flags, each.sequence)).collect();
        assert_eq!(all, [(0x10, 1, u32::MAX), (0xa00, 0x401, 0), (0xa0c, 5, 1), (0x11, 1, 2)]);
        let begin = Messages::new(&framed).next().unwrap();
        assert_eq!(begin.body, [0, 0, 0, 10]);
    }

    fn answer(sequence: u32, error: i32) -> Vec<u8> {
        crate::request(NLMSG_ERROR, 0, sequence, &(-error).to_ne_bytes())
    }

    fn outcome(answers: &[Vec<u8>]) -> Result<(), Refusal> {
        let mut read = BatchAnswers::new(7, 3);
        for each in answers {
            read.read(each, |_| {});
        }
        read.outcome()
    }

    #[test]
    fn a_refusal_names_its_message_and_outweighs_the_acceptance_of_the_last_one() {
        outcome(&[answer(10, 0)]).unwrap();
        let refusal = outcome(&[answer(8, 17), answer(9, 2), answer(10, 0)]).unwrap_err();
        assert_eq!((refusal.message, refusal.error.raw_os_error()), (Some(0), Some(17)));
        let refusal = outcome(&[answer(7, 1)]).unwrap_err();
        assert_eq!((refusal.message, refusal.error.raw_os_error()), (None, Some(1)), "the beginning");
        for silent in [&[][..], &[answer(6, 17)], &[answer(10, 0)[..18].to_vec()], &[answer(9, 0)]] {
            assert!(outcome(silent).is_err(), "nothing says that it was committed");
        }
        let mut lost = BatchAnswers::new(7, 3);
        lost.read(&answer(10, 0), |_| {});
        lost.were_lost = true;
        assert!(lost.outcome().is_err());
    }
}
