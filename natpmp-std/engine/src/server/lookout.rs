//! The look at the interfaces, now and then: which addresses they have by now.

use std::io;
use std::net::Ipv4Addr;
use std::time::Duration;

use natpmp_proto::Instant;

use super::interfaces::{LocalAddress, address_of, served};
use super::{External, Internal};

/// When to look, and for what.
pub(super) struct Lookout {
    internal: Vec<Internal>,
    external: External,
    /// Loopback addresses neither come nor go.
    is_internal_watched: bool,
    look_at: Instant,
    /// The last look failed, which was said.
    is_blind: bool,
}

impl Lookout {
    /// `served`: the internal addresses at the start.
    pub(super) fn new(internal: Vec<Internal>, external: External, served: &[LocalAddress]) -> Self {
        let is_internal_watched = served.iter().any(|local| !local.address.is_loopback());
        Self { internal, external, is_internal_watched, look_at: Instant::ZERO, is_blind: false }
    }

    /// When there is something to watch.
    pub(super) fn next(&self) -> Option<Instant> {
        (self.is_internal_watched || self.is_external_watched()).then_some(self.look_at)
    }

    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.next().is_some_and(|at| at <= now)
    }

    /// What the interfaces have by now. Nothing if the system does not say, for want of a descriptor perhaps: that an
    /// address is gone is another thing, and all is to stay as it is.
    pub(super) fn look(
        &mut self,
        now: Instant,
        read: impl FnOnce() -> io::Result<Vec<LocalAddress>>,
    ) -> Option<Vec<LocalAddress>> {
        self.look_at = now + LOOK_INTERVAL;
        match read() {
            Ok(locals) => {
                self.is_blind = false;
                Some(locals)
            }
            Err(error) => {
                if !std::mem::replace(&mut self.is_blind, true) {
                    log::warn!("the addresses of the interfaces cannot be learned, and count as they were: {error}");
                }
                None
            }
        }
    }

    /// The internal addresses by now, if they are watched.
    pub(super) fn internal(&self, locals: &[LocalAddress]) -> Option<Vec<LocalAddress>> {
        self.is_internal_watched.then(|| {
            let mut served = served(&self.internal, locals);
            // An interface may come by it later.
            served.retain(|local| self.external != External::Address(local.address));
            served
        })
    }

    /// The external address by now.
    pub(super) fn external(&self, locals: &[LocalAddress]) -> Option<Ipv4Addr> {
        match &self.external {
            External::Address(address) => Some(*address),
            External::None => None,
            External::Interface(interface) => address_of(interface, locals),
        }
    }

    /// Whether the external address is an interface's, and may change.
    pub(super) const fn is_external_watched(&self) -> bool {
        matches!(self.external, External::Interface(_))
    }

    /// From now on the external address is said, and not looked for.
    pub(super) fn fix_external(&mut self) {
        self.external = External::None;
    }
}

const LOOK_INTERVAL: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_does_not_tell_counts_as_it_was_and_is_looked_for_again() {
        let mut lookout = lookout(Internal::Interface("lan0".into()));
        let unknown = lookout.look(Instant::ZERO, || Err(io::Error::from(io::ErrorKind::OutOfMemory)));
        assert_eq!(unknown, None, "which is not that there are none");
        assert_eq!(lookout.next(), Some(Instant::ZERO + LOOK_INTERVAL));
        assert_eq!(lookout.look(Instant::ZERO, || Ok(Vec::new())), Some(Vec::new()), "and this is");
    }

    #[test]
    fn addresses_that_cannot_change_are_not_looked_at() {
        let loopback = local("lo", Ipv4Addr::LOCALHOST, 1);
        let internal = vec![Internal::Address(loopback.address)];
        let mut lookout = Lookout::new(internal, External::Interface("wan0".into()), &[loopback]);
        assert!(lookout.is_due(Instant::ZERO), "the external side is watched");
        lookout.fix_external();
        assert_eq!(lookout.next(), None);
    }

    #[test]
    fn an_internal_interface_may_have_other_addresses_but_not_the_external_one() {
        let lookout = lookout(Internal::Interface("lan0".into()));
        let other = local("lan0", Ipv4Addr::new(192, 168, 1, 2), 2);
        let seen = [local("lan0", EXTERNAL, 2), other.clone(), local("lan1", Ipv4Addr::new(192, 168, 1, 3), 3)];
        assert_eq!(lookout.internal(&seen), Some(vec![other]));
    }

    #[test]
    fn an_interface_of_the_same_name_and_address_is_another_one_by_its_number() {
        let before = local("lan0", INTERNAL, 2);
        assert!(before.is_still(&before));
        assert!(!before.is_still(&local("lan0", INTERNAL, 3)));
        assert!(before.is_still(&LocalAddress { index: None, ..before.clone() }), "the system did not say");
    }

    fn lookout(internal: Internal) -> Lookout {
        Lookout::new(vec![internal], External::Address(EXTERNAL), &[local("lan0", INTERNAL, 2)])
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
