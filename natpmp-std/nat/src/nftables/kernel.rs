//! What the NAT uses of the kernel: transactions of nftables, what its own table has, and connection tracking.

use std::fmt;
use std::io;
use std::net::Ipv4Addr;

use natpmp_netlink::{BatchSocket, Refusal};

use super::conntrack::{Conntrack, Flow};
use super::operation::{self, Operation};

/// The calls that the NAT makes to the kernel; tests put a fake one in its place.
pub(super) trait Kernel: Send + fmt::Debug {
    /// Has all of these take effect, or none.
    fn commit(&mut self, operations: &[Operation]) -> io::Result<()>;
    /// Lists the flows of connection tracking. With an address, the list may leave out all but the UDP flows whose first
    /// packet went there.
    fn flows(&mut self, first_to: Option<Ipv4Addr>) -> io::Result<Vec<Flow>>;
    /// Removes one flow; one that is gone already is success.
    fn end_flow(&mut self, flow: &Flow) -> io::Result<()>;
}

/// The kernel of this host, or of the network namespace that the calling thread is in.
#[derive(Debug, Default)]
pub(super) struct Linux {
    rules: Option<BatchSocket>,
    conntrack: Option<Conntrack>,
}

impl Linux {
    fn rules(&mut self) -> io::Result<&mut BatchSocket> {
        let socket = match self.rules.take() {
            Some(socket) => socket,
            None => BatchSocket::open()?,
        };
        Ok(self.rules.insert(socket))
    }

    fn conntrack(&mut self) -> io::Result<&mut Conntrack> {
        let conntrack = match self.conntrack.take() {
            Some(conntrack) => conntrack,
            None => Conntrack::open()?,
        };
        Ok(self.conntrack.insert(conntrack))
    }
}

impl Kernel for Linux {
    fn commit(&mut self, operations: &[Operation]) -> io::Result<()> {
        let batch = operation::batch(operations);
        match self.rules()?.commit(&batch, |_| {}) {
            Ok(()) => Ok(()),
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

    fn flows(&mut self, first_to: Option<Ipv4Addr>) -> io::Result<Vec<Flow>> {
        let flows = self.conntrack()?.flows(first_to);
        if flows.is_err() {
            // The socket may still hold the rest of this answer, which must not pass for the next one.
            self.conntrack = None;
        }
        flows
    }

    fn end_flow(&mut self, flow: &Flow) -> io::Result<()> {
        self.conntrack()?.delete(flow)
    }
}
