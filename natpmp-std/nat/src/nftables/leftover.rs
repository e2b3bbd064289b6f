//! What an earlier process left in the kernel.

use std::net::{Ipv4Addr, SocketAddrV4};

use natpmp_proto::gateway::NatMapping;
use natpmp_proto::wire::Protocol;

use super::kernel::nft;

/// The mappings of the table that is there, with their external address; none if there is no table.
pub(super) fn read() -> Vec<(NatMapping, Ipv4Addr)> {
    nft(&["-nn", "list", "table", "ip", "natpmp"], "")
        .map_or_else(|_| Vec::new(), |listed| mappings_in_listing(&listed))
}

/// Reads the mappings, each with its external address, in a listing of the table by `nft -nn list table ip natpmp`. What cannot
/// be understood is passed over.
#[must_use]
pub fn mappings_in_listing(listed: &str) -> Vec<(NatMapping, Ipv4Addr)> {
    let Some(external) = elements(listed, "set external").next().and_then(|text| text.parse().ok()) else {
        return Vec::new();
    };
    let of = |protocol, name| {
        elements(listed, name).filter_map(move |text| Some((mapping(protocol, text)?, external))).collect::<Vec<_>>()
    };
    let mut all = of(Protocol::Udp, "map udp_in");
    all.extend(of(Protocol::Tcp, "map tcp_in"));
    all
}

/// What stands between the braces after `elements =` in the block that begins so.
fn elements<'a>(listed: &'a str, block: &str) -> impl Iterator<Item = &'a str> {
    let block = listed.split_once(&format!("{block} {{")).map_or("", |(_, rest)| rest);
    // A block ends with a line of its own.
    let block = block.split_once("\n\t}").map_or("", |(block, _)| block);
    let list = block.split_once("elements = {").map_or("", |(_, rest)| rest);
    list.trim_end().trim_end_matches('}').split(',').map(str::trim)
}

/// `EXTERNAL : ADDRESS . PORT`
fn mapping(protocol: Protocol, text: &str) -> Option<NatMapping> {
    let (external_port, internal) = text.split_once(" : ")?;
    let (address, port) = internal.split_once(" . ")?;
    let internal = SocketAddrV4::new(address.trim().parse().ok()?, port.trim().parse().ok()?);
    Some(NatMapping { protocol, internal, external_port: external_port.trim().parse().ok()? })
}
