//! What the NAT uses of the kernel: transactions of nftables, what its own table has, and connection tracking.

use std::collections::HashSet;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use natpmp_netlink::{BatchSocket, Refusal, Subscription, netfilter};
use rustix::net::netlink::NETFILTER;

use super::conntrack::{Conntrack, Flow, FlowFilter};
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
    fn news(&self) -> Option<BorrowedFd<'_>>;
    /// Lists the flows of connection tracking: at least those that one of these filters lets through.
    fn flows(&mut self, filters: &[FlowFilter]) -> io::Result<Vec<Flow>>;
    /// Removes one flow; one that is gone already is success.
    fn end_flow(&mut self, flow: &Flow) -> io::Result<()>;
}

/// The kernel of this host, or of the network namespace that the calling thread is in.
#[derive(Debug)]
pub(super) struct Linux {
    rules: BatchSocket,
    news: Subscription,
    /// Whether somebody else has changed the table, as far as news was read.
    is_touched: bool,
    /// The table, sets, chains and rules that were made last, in order.
    made: Vec<Part>,
    conntrack: Option<Conntrack>,
}

impl Linux {
    pub(super) fn open() -> io::Result<Self> {
        let news = Subscription::open(Some(NETFILTER), netfilter::GROUP_NFTABLES)?;
        let rules = BatchSocket::open()?;
        Ok(Self { rules, news, is_touched: false, made: Vec::new(), conntrack: None })
    }

    fn conntrack(&mut self) -> io::Result<&mut Conntrack> {
        let conntrack = match self.conntrack.take() {
            Some(conntrack) => conntrack,
            None => Conntrack::open()?,
        };
        Ok(self.conntrack.insert(conntrack))
    }

    fn read_news(&mut self) {
        let own = self.rules.port();
        let mut is_touched = false;
        let is_whole = self.news.read(|message| is_touched |= message.port != own && is_of_own_table(&message));
        self.is_touched |= is_touched || !is_whole;
    }
}

impl Kernel for Linux {
    fn commit(&mut self, operations: &[Operation]) -> io::Result<()> {
        let batch = operation::batch(operations);
        let mut made = Vec::new();
        let result = self.rules.commit(&batch, |message| made.extend(Part::read(&message)));
        // What was done here is news too.
        self.read_news();
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
        self.read_news();
        std::mem::take(&mut self.is_touched)
    }

    fn contents(&mut self) -> io::Result<Contents> {
        readback::contents(&self.made)
    }

    fn news(&self) -> Option<BorrowedFd<'_>> {
        Some(self.news.as_fd())
    }

    fn flows(&mut self, filters: &[FlowFilter]) -> io::Result<Vec<Flow>> {
        let mut found = HashSet::new();
        // Each list is a walk through all that the kernel tracks, and saves only what the filter keeps from being copied.
        let lists = if filters.len() > MOST_LISTS { vec![None] } else { filters.iter().copied().map(Some).collect() };
        for filter in lists {
            match self.conntrack()?.flows(filter) {
                Ok(flows) => found.extend(flows),
                Err(error) => {
                    // The socket may still hold the rest of this answer, which must not pass for the next one.
                    self.conntrack = None;
                    return Err(error);
                }
            }
        }
        Ok(found.into_iter().collect())
    }

    fn end_flow(&mut self, flow: &Flow) -> io::Result<()> {
        self.conntrack()?.delete(flow)
    }
}

const MOST_LISTS: usize = 4;
