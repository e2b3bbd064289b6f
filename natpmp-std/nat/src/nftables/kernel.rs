//! What the NAT uses of the kernel: transactions of nftables, what its own table has, and the kernel's notifications of what others do to it.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use natpmp_netlink::{BatchSocket, Refusal, Subscription, netfilter};
use rustix::net::netlink::NETFILTER;

use super::operation::{self, Operation};
use super::readback::{self, Contents, Part, is_of_own_table};

/// The calls that the NAT makes to the kernel; tests put a fake one in its place.
pub(super) trait Kernel: Send + fmt::Debug {
    /// Has all of these take effect, or none.
    fn commit(&mut self, operations: &[Operation]) -> io::Result<()>;
    /// Whether somebody else may have changed the table since the last call.
    fn was_touched(&mut self) -> bool;
    /// Reads what the kernel has of the table.
    fn contents(&mut self) -> io::Result<Contents>;
    /// Becomes readable when somebody else may have changed the table.
    fn changes(&self) -> Option<BorrowedFd<'_>>;
}

/// The kernel of this host, or of the network namespace that the calling thread is in.
#[derive(Debug)]
pub(super) struct Linux {
    rules: BatchSocket,
    changes: Subscription,
    /// Whether somebody else has changed the table, as far as the notifications were read.
    is_touched: bool,
    /// The table, sets, chains and rules that were made last, in order.
    made: Vec<Part>,
    /// Of those who change the table for this NAT.
    ports: [u32; 2],
}

impl Linux {
    /// `other` is the port of whoever else changes the table for this NAT.
    pub(super) fn open(other: u32) -> io::Result<Self> {
        let changes = Subscription::open(Some(NETFILTER), netfilter::GROUP_NFTABLES)?;
        let rules = BatchSocket::open()?;
        let ports = [rules.port(), other];
        Ok(Self { rules, changes, is_touched: false, made: Vec::new(), ports })
    }

    fn read_notifications(&mut self) {
        let ports = self.ports;
        let mut is_touched = false;
        let is_whole =
            self.changes.read(|message| is_touched |= !ports.contains(&message.port) && is_of_own_table(&message));
        self.is_touched |= is_touched || !is_whole;
    }
}

impl Kernel for Linux {
    fn commit(&mut self, operations: &[Operation]) -> io::Result<()> {
        let batch = operation::batch(operations);
        let mut made = Vec::new();
        let result = self.rules.commit(&batch, |message| made.extend(Part::read(&message)));
        // The kernel notifies of this process's own commits too.
        self.read_notifications();
        match result {
            Ok(()) => {
                if !made.is_empty() {
                    made.sort();
                    self.made = made;
                }
                Ok(())
            }
            Err(Refusal { message: None, error })
                if error.kind() == io::ErrorKind::InvalidInput && operations.len() > 1 =>
            {
                // The system allows no transaction of this size. In two it is not all at once, but it is.
                let (first, second) = operations.split_at(operations.len() / 2);
                self.commit(first)?;
                self.commit(second)
            }
            Err(refusal) => Err(io::Error::new(refusal.error.kind(), refusal)),
        }
    }

    fn was_touched(&mut self) -> bool {
        self.read_notifications();
        std::mem::take(&mut self.is_touched)
    }

    fn contents(&mut self) -> io::Result<Contents> {
        readback::contents(&self.made)
    }

    fn changes(&self) -> Option<BorrowedFd<'_>> {
        Some(self.changes.as_fd())
    }
}
