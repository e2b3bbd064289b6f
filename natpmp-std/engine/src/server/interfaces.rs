//! Which addresses the interfaces of this host have, and which of them a gateway is for.

use std::io;
use std::net::Ipv4Addr;

use if_addrs::{IfAddr, get_if_addrs};

use super::ServerError;
use super::{External, Internal, Sides};

/// An IPv4 address and the interface that has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LocalAddress {
    pub(super) address: Ipv4Addr,
    pub(super) interface: String,
    /// The number of the interface: another one of the same name has another. `None` if the system did not say.
    pub(super) index: Option<u32>,
    /// The bits of its network.
    pub(super) netmask: Ipv4Addr,
}

impl LocalAddress {
    /// Whether a socket that was opened for this is one for `now` as well.
    pub(super) fn is_still(&self, now: &Self) -> bool {
        self.address == now.address && (self.index == now.index || now.index.is_none())
    }
}

/// The addresses to be served, and their interfaces.
pub(super) fn resolve(internal: &[Internal], locals: &[LocalAddress]) -> Result<Vec<LocalAddress>, ServerError> {
    for each in internal {
        if served_by(each, locals).next().is_none() {
            return Err(match each {
                Internal::Interface(interface) => ServerError::NoAddress { interface: interface.clone() },
                Internal::Address(address) => ServerError::NotLocal { address: *address },
            });
        }
    }
    let resolved = served(internal, locals);
    if resolved.is_empty() { Err(ServerError::NoInternal) } else { Ok(resolved) }
}

/// Those of the addresses to be served that are there.
pub(super) fn served(internal: &[Internal], locals: &[LocalAddress]) -> Vec<LocalAddress> {
    let mut served: Vec<LocalAddress> = internal.iter().flat_map(|each| served_by(each, locals)).collect();
    served.sort_by_key(|local| local.address);
    served.dedup_by_key(|local| local.address);
    served
}

fn served_by<'a>(internal: &'a Internal, locals: &'a [LocalAddress]) -> impl Iterator<Item = LocalAddress> + 'a {
    locals.iter().filter_map(move |local| match internal {
        Internal::Interface(name) => (local.interface == *name).then(|| local.clone()),
        Internal::Address(address) => (local.address == *address || is_loopback_of(local, *address))
            .then(|| LocalAddress { address: *address, ..local.clone() }),
    })
}

/// The interfaces of both sides.
pub(super) fn sides(internal: &[LocalAddress], external: &External, locals: &[LocalAddress]) -> Sides {
    let mut interfaces: Vec<String> = internal.iter().map(|local| local.interface.clone()).collect();
    interfaces.sort();
    interfaces.dedup();
    let external = match external {
        External::Interface(interface) => Some(interface.clone()),
        External::Address(address) => {
            locals.iter().find(|local| local.address == *address).map(|local| local.interface.clone())
        }
        External::None => None,
    };
    Sides { internal: interfaces, external }
}

/// The first address of an interface.
pub(super) fn address_of(interface: &str, locals: &[LocalAddress]) -> Option<Ipv4Addr> {
    locals.iter().find(|local| local.interface == interface).map(|local| local.address)
}

/// All of 127/8 belongs to the loopback interface, which shows one address only.
fn is_loopback_of(local: &LocalAddress, address: Ipv4Addr) -> bool {
    address.is_loopback() && local.address.is_loopback()
}

/// All of this host.
pub(super) fn local_addresses() -> io::Result<Vec<LocalAddress>> {
    let addresses = get_if_addrs()?.into_iter();
    Ok(addresses
        .filter_map(|entry| match entry.addr {
            IfAddr::V4(addr) => {
                let interface = interface_name(&entry.name).to_owned();
                Some(LocalAddress { address: addr.ip, interface, index: entry.index, netmask: addr.netmask })
            }
            IfAddr::V6(_) => None,
        })
        .collect())
}

/// Linux tells the label of an address in the place of its interface, and the label `lan0:1` is one of `lan0`. No interface has
/// a colon in its name there.
fn interface_name(told: &str) -> &str {
    match told.split_once(':') {
        Some((interface, _)) if cfg!(any(target_os = "linux", target_os = "android")) => interface,
        _ => told,
    }
}
