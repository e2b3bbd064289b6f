//! The addresses of this host: which interface has which, which of them a gateway serves, and when they have changed.

use std::io;
use std::net::Ipv4Addr;
use std::time::Duration;

use if_addrs::{IfAddr, get_if_addrs};
use natpmp_proto::Instant;

use super::{External, Internal, ServerError, Sides};

/// Reads the addresses of the interfaces every two seconds, as long as the gateway depends on any that may change.
pub(super) struct InterfaceWatch {
    internal: Vec<Internal>,
    external: External,
    /// Whether an internal address may come or go, as those of loopback do not.
    is_internal_watched: bool,
    /// The next reading.
    next_read: Instant,
    /// Whether the last reading failed, of which the log has warned.
    has_failed: bool,
}

impl InterfaceWatch {
    /// `served`: the internal addresses at the start.
    pub(super) fn new(internal: Vec<Internal>, external: External, served: &[LocalAddress]) -> Self {
        let is_internal_watched = served.iter().any(|local| !local.address.is_loopback());
        Self { internal, external, is_internal_watched, next_read: Instant::ZERO, has_failed: false }
    }

    /// When the addresses are to be read next; `None` if none of them may change.
    pub(super) fn deadline(&self) -> Option<Instant> {
        (self.is_internal_watched || self.is_external_watched()).then_some(self.next_read)
    }

    /// Reads the addresses if it is time to.
    pub(super) fn read_if_due(
        &mut self,
        now: Instant,
        read: impl FnOnce() -> io::Result<Vec<LocalAddress>>,
    ) -> Option<Vec<LocalAddress>> {
        if self.is_due(now) { self.read(now, read) } else { None }
    }

    fn is_due(&self, now: Instant) -> bool {
        self.deadline().is_some_and(|at| at <= now)
    }

    /// Reads the addresses. `None` if the system does not tell them, for want of a descriptor perhaps: then every address counts as
    /// it was, since it need not be gone.
    fn read(
        &mut self,
        now: Instant,
        read: impl FnOnce() -> io::Result<Vec<LocalAddress>>,
    ) -> Option<Vec<LocalAddress>> {
        self.next_read = now + READ_INTERVAL;
        match read() {
            Ok(locals) => {
                self.has_failed = false;
                Some(locals)
            }
            Err(error) => {
                if !std::mem::replace(&mut self.has_failed, true) {
                    log::warn!("the addresses of the interfaces cannot be learned, and count as they were: {error}");
                }
                None
            }
        }
    }

    /// The internal addresses among these, if they may change.
    pub(super) fn internal(&self, locals: &[LocalAddress]) -> Option<Vec<LocalAddress>> {
        self.is_internal_watched.then(|| {
            let mut served = served(&self.internal, locals);
            // An interface may get the external address later.
            served.retain(|local| self.external != External::Address(local.address));
            served
        })
    }

    /// The external address, given all addresses of this host.
    pub(super) fn external(&self, locals: &[LocalAddress]) -> Option<Ipv4Addr> {
        match &self.external {
            External::Address(address) => Some(*address),
            External::None => None,
            External::Interface(interface) => address_of(interface, locals),
        }
    }

    /// Whether the external address is that of an interface, and may change.
    pub(super) const fn is_external_watched(&self) -> bool {
        matches!(self.external, External::Interface(_))
    }

    /// The owner sets the external address from now on.
    pub(super) fn stop_watching_external(&mut self) {
        self.external = External::None;
    }
}

/// An IPv4 address and the interface that has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LocalAddress {
    pub(super) address: Ipv4Addr,
    pub(super) interface: String,
    /// The number of the interface, which tells it from a later one of the same name; `None` if the system did not say.
    pub(super) index: Option<u32>,
    /// The mask of its network.
    pub(super) netmask: Ipv4Addr,
}

impl LocalAddress {
    /// Whether a socket that was opened for this address still serves `now`.
    pub(super) fn is_still(&self, now: &Self) -> bool {
        self.address == now.address && (self.index == now.index || now.index.is_none())
    }
}

/// The addresses to be served, each with its interface.
///
/// # Errors
/// [`ServerError`] if one that was named is not there, or none was named.
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

/// Those of the addresses to be served that this host has.
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

/// The interfaces of both sides, for the NAT.
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

/// Reads all IPv4 addresses of this host.
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

/// The interface that an entry belongs to. Linux names the label of an address there, and `lan0:1` is a label on `lan0`; no
/// interface has a colon in its name on Linux.
fn interface_name(label: &str) -> &str {
    match label.split_once(':') {
        Some((interface, _)) if cfg!(any(target_os = "linux", target_os = "android")) => interface,
        _ => label,
    }
}

const READ_INTERVAL: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_cannot_be_read_count_as_they_were_and_are_read_again() {
        let mut watch = watch(Internal::Interface("lan0".into()));
        let unknown = watch.read(Instant::ZERO, || Err(io::Error::from(io::ErrorKind::OutOfMemory)));
        assert_eq!(unknown, None, "which is not that there are none");
        assert_eq!(watch.deadline(), Some(Instant::ZERO + READ_INTERVAL));
        assert_eq!(watch.read(Instant::ZERO, || Ok(Vec::new())), Some(Vec::new()), "and this is");
    }

    #[test]
    fn addresses_that_cannot_change_are_not_read() {
        let loopback = local("lo", Ipv4Addr::LOCALHOST, 1);
        let internal = vec![Internal::Address(loopback.address)];
        let mut watch = InterfaceWatch::new(internal, External::Interface("wan0".into()), &[loopback]);
        assert!(watch.is_due(Instant::ZERO), "the external side is watched");
        watch.stop_watching_external();
        assert_eq!(watch.deadline(), None);
    }

    #[test]
    fn an_internal_interface_may_have_other_addresses_but_not_the_external_one() {
        let watch = watch(Internal::Interface("lan0".into()));
        let other = local("lan0", Ipv4Addr::new(192, 168, 1, 2), 2);
        let seen = [local("lan0", EXTERNAL, 2), other.clone(), local("lan1", Ipv4Addr::new(192, 168, 1, 3), 3)];
        assert_eq!(watch.internal(&seen), Some(vec![other]));
    }

    #[test]
    fn an_interface_of_the_same_name_and_address_is_another_one_by_its_number() {
        let before = local("lan0", INTERNAL, 2);
        assert!(before.is_still(&before));
        assert!(!before.is_still(&local("lan0", INTERNAL, 3)));
        assert!(before.is_still(&LocalAddress { index: None, ..before.clone() }), "the system did not say");
    }

    fn watch(internal: Internal) -> InterfaceWatch {
        InterfaceWatch::new(vec![internal], External::Address(EXTERNAL), &[local("lan0", INTERNAL, 2)])
    }

    fn local(interface: &str, address: Ipv4Addr, index: u32) -> LocalAddress {
        LocalAddress {
            address,
            interface: interface.into(),
            index: Some(index),
            netmask: Ipv4Addr::new(255, 255, 255, 0),
        }
    }

    const INTERNAL: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 1);
    const EXTERNAL: Ipv4Addr = Ipv4Addr::new(11, 22, 33, 44);
}
