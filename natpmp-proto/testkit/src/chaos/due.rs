//! What is to happen at a moment.

use std::cmp::Ordering;
use std::net::SocketAddrV4;

use natpmp_proto::Instant;
use natpmp_proto::gateway::NatRequest;

#[derive(Debug)]
pub(super) struct Due {
    pub(super) at: Instant,
    /// What was put in first happens first.
    pub(super) number: u64,
    pub(super) what: What,
}

#[derive(Debug)]
pub(super) enum What {
    /// A datagram comes to the gateway, from this address.
    Request(SocketAddrV4, Vec<u8>),
    /// A datagram comes to a host's socket for requests, from this address.
    Answer(usize, SocketAddrV4, Vec<u8>),
    /// A datagram comes to a host's socket for announcements, from this address.
    Announcement(usize, SocketAddrV4, Vec<u8>),
    /// Port unreachable comes to a host.
    Unreachable(usize),
    /// A host is to be polled.
    Wake(usize),
    /// The NAT of this life has done what it was asked.
    Nat(u64, NatRequest),
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl Eq for Due {}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Due {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}
