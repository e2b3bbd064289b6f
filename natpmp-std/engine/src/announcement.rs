use std::net::{Ipv4Addr, SocketAddrV4};

/// An announcement of the gateway (RFC 6886, section 3.2.1). Anybody on the link can forge one: the client believes none
/// of it, and asks the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Announcement {
    /// Where it came from.
    pub gateway: SocketAddrV4,
    /// Seconds since the gateway's table was last empty by accident, as announced; `None` for an announcement of PCP,
    /// by which some gateways tell of a restart.
    pub epoch: Option<u32>,
    /// The external address, as announced; `None` for an announcement of PCP.
    pub external_address: Option<Ipv4Addr>,
}

impl Announcement {
    /// An announcement of this gateway that says this.
    #[must_use]
    pub const fn new(gateway: SocketAddrV4, epoch: Option<u32>, external_address: Option<Ipv4Addr>) -> Self {
        Self { gateway, epoch, external_address }
    }
}
