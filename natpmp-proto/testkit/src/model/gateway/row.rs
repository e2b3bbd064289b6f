//! A mapping as the model holds it.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddrV4};

use natpmp_proto::{Instant, Protocol, SocketId};

/// A client, a protocol and the client's port: what a mapping is known by (section 3.3).
pub(super) type Key = (Ipv4Addr, Protocol, u16);

/// A mapping that is wanted, or still on its way out.
#[derive(Clone, Debug)]
pub(super) struct Row {
    /// Unknown until the NAT is asked for it.
    pub(super) external: Option<u16>,
    /// What it must be, if that was clear when it was made.
    pub(super) must_be: Option<u16>,
    pub(super) is_wanted: bool,
    pub(super) is_static: bool,
    /// The NAT has it.
    pub(super) is_held: bool,
    /// The NAT is being asked.
    pub(super) asked: Option<Asked>,
    /// The machine has something to ask the NAT about it.
    pub(super) is_queued: bool,
    /// Who waits for an answer, and for which.
    pub(super) awaiting: Option<(Asker, Awaited)>,
    /// To be granted when the NAT has it, in seconds.
    pub(super) lifetime: u32,
    /// Since when, and for how many seconds.
    pub(super) lease: Option<(Instant, u32)>,
    /// Which external address it was installed for.
    pub(super) made_for: u32,
}

/// Where a request came from, and through which socket.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Asker {
    pub(super) address: SocketAddrV4,
    pub(super) socket: SocketId,
}

impl Asker {
    pub(super) const fn ip(&self) -> &Ipv4Addr {
        self.address.ip()
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Asked {
    pub(super) is_install: bool,
    /// Which external address there was.
    pub(super) address: u32,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Awaited {
    Mapping,
    Deletion,
}

/// A deletion of all mappings of a client and protocol.
#[derive(Clone, Debug)]
pub(super) struct All {
    pub(super) to: Asker,
    pub(super) left: BTreeSet<Key>,
    pub(super) has_static: bool,
    pub(super) has_failed: bool,
}

impl Row {
    pub(super) fn new(lifetime: u32) -> Self {
        Self {
            external: None,
            must_be: None,
            is_wanted: true,
            is_static: false,
            is_held: false,
            asked: None,
            is_queued: false,
            awaiting: None,
            lifetime,
            lease: None,
            made_for: 0,
        }
    }

    pub(super) fn mark_for_removal(&mut self) {
        self.is_wanted = false;
        if self.asked.is_none() {
            self.is_queued = true;
        }
    }
}
