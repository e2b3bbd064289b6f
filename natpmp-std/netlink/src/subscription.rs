//! The kernel's changes, of whatever groups a socket has subscribed to.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{Protocol, RecvFlags, sockopt};

use crate::message::{Message, Messages};
use crate::socket::{self, Buffer};

/// Becomes readable when the kernel has changes, of the network namespace that it was opened in.
#[derive(Debug)]
pub struct Subscription {
    socket: OwnedFd,
    buffer: Buffer,
}

impl Subscription {
    /// Subscribes to these groups, one bit each.
    ///
    /// # Errors
    /// Where the system allows no netlink socket, or not this group.
    pub fn open(protocol: Option<Protocol>, groups: u32) -> io::Result<Self> {
        let socket = socket::open_bound(protocol, groups)?;
        // Without privilege there is room for less.
        let _ = sockopt::set_socket_recv_buffer_size_force(&socket, ROOM);
        Ok(Self { socket, buffer: Buffer::new() })
    }

    /// Reads all that came, without waiting for more, and says whether it was everything: what the kernel had no room to keep
    /// is lost.
    #[must_use]
    pub fn read(&mut self, mut each: impl FnMut(Message<'_>)) -> bool {
        let mut is_whole = true;
        loop {
            match self.buffer.receive(&self.socket, RecvFlags::DONTWAIT) {
                Ok(bytes) => Messages::new(bytes).for_each(&mut each),
                Err(Errno::INTR) => {}
                Err(Errno::NOBUFS | Errno::MSGSIZE) => is_whole = false,
                Err(_) => return is_whole,
            }
        }
    }
}

impl AsFd for Subscription {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Some 60,000 messages; only what has come takes memory.
const ROOM: usize = 32 << 20;
