//! Which addresses the interfaces of this host have, and which of them a gateway is for.

use std::io;
use std::net::{IpAddr, Ipv4Addr};

use if_addrs::get_if_addrs;

use super::{External, Internal, Sides};
use crate::gateway::ServerError;

/// An IPv4 address and the interface that has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LocalAddress {
    pub(super) address: Ipv4Addr,
    pub(super) interface: String,
}

/// The addresses to be served, and their interfaces.
pub(super) fn resolve(internal: &[Internal]) -> Result<Vec<LocalAddress>, ServerError> {
    let locals = local_addresses().map_err(ServerError::System)?;
    let mut resolved: Vec<LocalAddress> = Vec::new();
    for each in internal {
        let found = locals.iter().filter(|local| match each {
            Internal::Interface(name) => local.interface == *name,
            Internal::Address(address) => local.address == *address || is_loopback_of(local, *address),
        });
        let before = resolved.len();
        for local in found {
            let address = match each {
                Internal::Address(address) => *address,
                Internal::Interface(_) => local.address,
            };
            resolved.push(LocalAddress { address, interface: local.interface.clone() });
        }
        if resolved.len() == before {
            return Err(match each {
                Internal::Interface(interface) => ServerError::NoAddress { interface: interface.clone() },
                Internal::Address(address) => ServerError::NotLocal { address: *address },
            });
        }
    }
    resolved.sort_by_key(|local| local.address);
    resolved.dedup_by_key(|local| local.address);
    if resolved.is_empty() { Err(ServerError::NoInternal) } else { Ok(resolved) }
}

/// The interfaces of both sides.
pub(super) fn sides(internal: &[LocalAddress], external: &External) -> Sides {
    let mut interfaces: Vec<String> = internal.iter().map(|local| local.interface.clone()).collect();
    interfaces.sort();
    interfaces.dedup();
    let external = match external {
        External::Interface(interface) => Some(interface.clone()),
        External::Address(address) => interface_of(*address),
        External::None => None,
    };
    Sides { internal: interfaces, external }
}

/// The first address of an interface.
pub(super) fn address_of(interface: &str) -> io::Result<Option<Ipv4Addr>> {
    Ok(local_addresses()?.into_iter().find(|local| local.interface == interface).map(|local| local.address))
}

fn interface_of(address: Ipv4Addr) -> Option<String> {
    local_addresses().ok()?.into_iter().find(|local| local.address == address).map(|local| local.interface)
}

/// All of 127/8 belongs to the loopback interface, which shows one address only.
fn is_loopback_of(local: &LocalAddress, address: Ipv4Addr) -> bool {
    address.is_loopback() && local.address.is_loopback()
}

/// All of them.
fn local_addresses() -> io::Result<Vec<LocalAddress>> {
    let addresses = get_if_addrs()?.into_iter();
    Ok(addresses
        .filter_map(|entry| match entry.ip() {
            IpAddr::V4(address) => Some(LocalAddress { address, interface: entry.name }),
            IpAddr::V6(_) => None,
        })
        .collect())
}
