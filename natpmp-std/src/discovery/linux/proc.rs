//! Linux: the kernel's main routing table, as text.

use std::fs;
use std::net::Ipv4Addr;

use super::DiscoverError;
use super::routes::{DefaultRoute, Routes};

pub(super) fn read() -> Result<Routes, DiscoverError> {
    let table = fs::read_to_string("/proc/net/route").map_err(DiscoverError::Unreadable)?;
    // Only needed to tell a wrong name from a missing route.
    let devices = fs::read_to_string("/proc/net/dev").unwrap_or_default();
    Ok(Routes { default: default_routes(&table), interfaces: interfaces(&devices) })
}

/// The default routes in the text of `/proc/net/route`. Lines that are none are passed over.
pub(super) fn default_routes(table: &str) -> Vec<DefaultRoute> {
    table.lines().filter_map(default_route).collect()
}

fn default_route(line: &str) -> Option<DefaultRoute> {
    let mut fields = line.split_ascii_whitespace();
    let interface = fields.next()?;
    let destination = address(fields.next()?)?;
    let gateway = address(fields.next()?)?;
    let flags = u32::from_str_radix(fields.next()?, 16).ok()?;
    // RefCnt and Use come between the flags and the metric.
    let metric = fields.nth(2)?.parse().ok()?;
    let mask = address(fields.next()?)?;

    // The mask decides: 0.0.0.0 with 128.0.0.0 is half of the addresses, not the default route.
    let is_default = destination.is_unspecified() && mask.is_unspecified();
    let is_usable = flags & UP != 0 && flags & REJECT == 0;
    let has_gateway = flags & GATEWAY != 0 && !gateway.is_unspecified();
    (is_default && is_usable).then(|| DefaultRoute {
        interface: interface.to_owned(),
        gateway: has_gateway.then_some(gateway),
        metric,
    })
}

/// The kernel prints the four bytes, which are in network order, as if they were a number of its own.
fn address(field: &str) -> Option<Ipv4Addr> {
    if field.len() != 8 {
        return None;
    }
    let number = u32::from_str_radix(field, 16).ok()?;
    Some(Ipv4Addr::from(number.to_ne_bytes()))
}

/// The interfaces in the text of `/proc/net/dev`, whose two heading lines hold no colon.
pub(super) fn interfaces(devices: &str) -> Vec<String> {
    devices.lines().filter_map(|line| line.split_once(':')).map(|(name, _)| name.trim().to_owned()).collect()
}

// Flags of <linux/route.h>.
const UP: u32 = 0x0001;
const GATEWAY: u32 = 0x0002;
const REJECT: u32 = 0x0200;
