//! Connection tracking, over netlink: what flows there are, and the end of one.

mod message;

use std::collections::HashSet;
use std::io::{self, Read};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use natpmp_proto::gateway::NatMapping;
use natpmp_proto::wire::Protocol;
use socket2::{Domain, Socket, Type};

use message::{Answer, Answers};

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
    sequence: u32,
    buffer: Box<[u8]>,
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
        let socket = Socket::new(Domain::from(AF_NETLINK), Type::RAW, Some(NETLINK_NETFILTER.into()))?;
        // It answers at once, or never.
        socket.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { socket, sequence: 0, buffer: vec![0; BUFFER].into_boxed_slice() })
    }

    /// All flows of UDP and TCP over IPv4.
    pub(super) fn flows(&mut self) -> io::Result<Vec<Flow>> {
        let mut flows = Vec::new();
        self.ask(message::list, |flow| flows.push(flow))?;
        Ok(flows)
    }

    pub(super) fn delete(&mut self, flow: &Flow) -> io::Result<()> {
        match self.ask(|sequence| message::delete(sequence, flow), |_| {}) {
            // Gone by itself.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result,
        }
    }

    fn ask(&mut self, request: impl FnOnce(u32) -> Vec<u8>, mut each: impl FnMut(Flow)) -> io::Result<()> {
        self.sequence = self.sequence.wrapping_add(1);
        self.socket.send(&request(self.sequence))?;
        loop {
            let length = (&self.socket).read(&mut self.buffer)?;
            for answer in Answers::new(self.buffer.get(..length).unwrap_or_default(), self.sequence) {
                match answer {
                    Answer::Flow(flow) => each(flow),
                    Answer::Other => {}
                    Answer::Done(0) => return Ok(()),
                    Answer::Done(error) => return Err(io::Error::from_raw_os_error(error)),
                }
            }
        }
    }
}

const AF_NETLINK: i32 = 16;
const NETLINK_NETFILTER: i32 = 12;
const PATIENCE: Duration = Duration::from_secs(5);
/// The kernel fills 32 KiB at most.
const BUFFER: usize = 64 * 1024;
