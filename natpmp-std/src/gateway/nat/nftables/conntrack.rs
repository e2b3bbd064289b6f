//! Connection tracking, over netlink: what flows there are, and the end of one.

mod message;

use std::collections::HashSet;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};

use natpmp_proto::gateway::NatMapping;
use natpmp_proto::wire::Protocol;
use rustix::net::netlink::NETFILTER;

use crate::netlink::Socket;
pub(crate) use message::read_flow;

/// A flow that the kernel remembers, as its first packet had it and as the answers have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Flow {
    pub(super) protocol: Protocol,
    pub(super) original: Ends,
    pub(super) reply: Ends,
    /// Whether any answer was seen.
    pub(super) has_answer: bool,
    /// By this the kernel knows it from one that takes its place.
    pub(super) id: u32,
}

/// Of one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ends {
    pub(super) from: SocketAddrV4,
    pub(super) to: SocketAddrV4,
}

/// A line to connection tracking, of the network namespace that it was opened in.
#[derive(Debug)]
pub(super) struct Conntrack {
    socket: Socket,
}

impl Flow {
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
