//! Connection tracking, over netlink: what flows there are, and the end of one.

mod message;

use std::collections::HashSet;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};

use natpmp_proto::gateway::NatMapping;
use natpmp_proto::wire::Protocol;
use rustix::net::netlink::NETFILTER;

use natpmp_netlink::Socket;

pub use message::flow_named_in;

/// A flow that the kernel remembers, as its first packet had it and as the answers have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flow {
    /// Its protocol.
    pub protocol: Protocol,
    /// The first packet's.
    pub original: Ends,
    /// The answers'.
    pub reply: Ends,
    /// Whether any answer was seen.
    pub has_answer: bool,
    /// By this the kernel knows it from one that takes its place.
    pub id: u32,
}

/// Sender and receiver of one direction of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    /// The sender.
    pub from: SocketAddrV4,
    /// The receiver.
    pub to: SocketAddrV4,
}

/// A line to connection tracking, of the network namespace that it was opened in.
#[derive(Debug)]
pub(super) struct Conntrack {
    socket: Socket,
}

impl Flow {
    /// Reads the flow that a message of connection tracking tells of, if it is one of UDP or TCP over IPv4 and is understood.
    #[must_use]
    pub fn from_message(body: &[u8]) -> Option<Self> {
        message::flow(body)
    }

    /// The body of the message that removes this flow, and no other that has taken its place.
    #[must_use]
    pub fn removal(&self) -> Vec<u8> {
        message::delete(self).2
    }

    /// The mappings that it may belong to, each with the external address: as one that came in by it, and as one that
    /// its client began. A flow between two clients can belong to one of each.
    pub(super) fn mappings(&self) -> [(NatMapping, Ipv4Addr); 2] {
        let of = |internal, external: SocketAddrV4| {
            (NatMapping { protocol: self.protocol, internal, external_port: external.port() }, *external.ip())
        };
        [of(self.reply.from, self.original.to), of(self.original.from, self.reply.to)]
    }

    /// Whether somebody sends to one of these ports from before it was mapped, and nobody answers: as long as that goes
    /// on, the kernel does not look at the mapping.
    pub(super) fn is_blocked(&self, external: Ipv4Addr, ports: &HashSet<u16>) -> bool {
        let to = self.original.to;
        let is_here = *to.ip() == external && self.reply.from == to;
        is_here && !self.has_answer && self.protocol == Protocol::Udp && ports.contains(&to.port())
    }
}

impl Conntrack {
    pub(super) fn open() -> io::Result<Self> {
        Ok(Self { socket: Socket::open(Some(NETFILTER))? })
    }

    /// All flows of UDP and TCP over IPv4, or at least those of UDP whose first packet went to this address.
    pub(super) fn flows(&mut self, first_to: Option<Ipv4Addr>) -> io::Result<Vec<Flow>> {
        let (kind, flags, body) = message::list(first_to);
        let mut flows = Vec::new();
        self.socket.ask(kind, flags, &body, |answer| flows.extend(message::flow(answer.body)))?.accepted()?;
        Ok(flows)
    }

    pub(super) fn delete(&mut self, flow: &Flow) -> io::Result<()> {
        let (kind, flags, body) = message::delete(flow);
        match self.socket.ask(kind, flags, &body, |_| {})?.accepted() {
            // Gone by itself.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result,
        }
    }
}
