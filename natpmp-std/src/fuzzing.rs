//! What the fuzz targets reach: how bytes and text of the kernel are read. Not for others.

use std::net::{Ipv4Addr, SocketAddrV4};

#[cfg(feature = "gateway")]
use natpmp_proto::{Protocol, gateway::NatMapping};

use crate::adapter::Announcement;
use crate::discovery::{self, DiscoverError, FoundGateway, GatewayCandidate};
#[cfg(feature = "gateway")]
use crate::gateway::nat;
use crate::netlink::message::{Attributes, Messages};
use crate::netlink::{self, Link, Route};

/// How much was found in messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Whole messages.
    pub messages: usize,
    /// Whole attributes in their bodies.
    pub attributes: usize,
    /// Links that were understood.
    pub links: usize,
    /// Routes that were understood.
    pub routes: usize,
    /// Where these lead next.
    pub hops: usize,
    /// Messages that answer the first question.
    pub answers: usize,
    /// Whether any of it is news.
    pub is_news: bool,
}

/// Reads messages of netlink in all the ways that there are.
#[must_use]
pub fn netlink(bytes: &[u8]) -> Found {
    let mut found = Found { is_news: netlink::matters(bytes), ..Found::default() };
    for message in Messages::new(bytes) {
        found.messages = found.messages.saturating_add(1);
        found.attributes = found.attributes.saturating_add(Attributes::new(message.body).count());
        found.links = found.links.saturating_add(usize::from(Link::read(message.body).is_some()));
        if let Some(route) = Route::read(message.body) {
            found.routes = found.routes.saturating_add(1);
            found.hops = found.hops.saturating_add(route.hops.len());
        }
    }
    let _ = netlink::read(bytes, 1, &mut false, |_| found.answers = found.answers.saturating_add(1));
    found
}

/// What is chosen by the kernel's answers to the questions for links, for routes, and for the way to each half of the addresses.
pub fn gateways_by_netlink(links: &[u8], routes: &[u8], ways: [&[u8]; 2]) -> Gateways {
    discovery::by_answers(links, routes, ways)
}

/// What is chosen by the texts of `/proc/net/route` and `/proc/net/dev`.
pub fn gateways_by_text(table: &str, devices: &str) -> Gateways {
    discovery::by_text(table, devices)
}

/// The gateways in a routing table, and the one of them that counts.
pub type Gateways = (Vec<GatewayCandidate>, Result<FoundGateway, DiscoverError>);

/// An announcement, as the client hands it on.
#[must_use]
pub fn announcement(gateway: SocketAddrV4, said: Option<(u32, Ipv4Addr)>) -> Announcement {
    Announcement { gateway, epoch: said.map(|(epoch, _)| epoch), external_address: said.map(|(_, address)| address) }
}

/// The flow in a message of connection tracking: its protocol, who began it and with whom; and whether the message that removes
/// it names the same.
#[cfg(feature = "gateway")]
#[must_use]
pub fn flow(body: &[u8]) -> Option<(Protocol, [SocketAddrV4; 2], bool)> {
    nat::read_flow(body)
}

/// The mappings in the listing of an earlier table of nftables.
#[cfg(feature = "gateway")]
#[must_use]
pub fn leftover(listed: &str) -> Vec<(NatMapping, Ipv4Addr)> {
    nat::parse_leftover(listed)
}
