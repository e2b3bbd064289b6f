//! Which addresses the interfaces of this host have.

use std::io;
use std::net::{IpAddr, Ipv4Addr};

use if_addrs::get_if_addrs;

/// An IPv4 address and the interface that has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LocalAddress {
    pub(super) address: Ipv4Addr,
    pub(super) interface: String,
}

/// All of them.
pub(super) fn local_addresses() -> io::Result<Vec<LocalAddress>> {
    let addresses = get_if_addrs()?.into_iter();
    Ok(addresses
        .filter_map(|entry| match entry.ip() {
            IpAddr::V4(address) => Some(LocalAddress { address, interface: entry.name }),
            IpAddr::V6(_) => None,
        })
        .collect())
}

/// The first address of an interface.
pub(super) fn address_of(interface: &str) -> io::Result<Option<Ipv4Addr>> {
    Ok(local_addresses()?.into_iter().find(|local| local.interface == interface).map(|local| local.address))
}
