//! What an external address is good for.

use core::net::Ipv4Addr;

/// The kind of an address, as far as it decides whether a mapping on it can be reached from the internet.
///
/// ```
/// use natpmp_proto::AddressKind;
///
/// assert_eq!(AddressKind::of([203, 0, 114, 7].into()), AddressKind::Public);
/// assert_eq!(AddressKind::of([100, 64, 0, 1].into()), AddressKind::Shared);
/// assert!(!AddressKind::of([192, 168, 1, 2].into()).is_reachable());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum AddressKind {
    /// An address of the internet.
    Public,
    /// 10/8, 172.16/12 or 192.168/16 (RFC 1918): there is another NAT behind the gateway.
    Private,
    /// 100.64/10 (RFC 6598): the provider's own NAT is behind the gateway.
    Shared,
    /// 0.0.0.0: the gateway has no external address at present.
    Unspecified,
    /// Loopback, link-local, multicast, documentation and other addresses that no host of the internet has.
    Reserved,
}

impl AddressKind {
    /// In one word: `public`, `private`, `shared`, `unspecified` or `reserved`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Private => "private",
            Self::Shared => "shared",
            Self::Unspecified => "unspecified",
            Self::Reserved => "reserved",
        }
    }

    /// The kind of `address`.
    #[must_use]
    pub const fn of(address: Ipv4Addr) -> Self {
        match address.octets() {
            [0, 0, 0, 0] => Self::Unspecified,
            [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => Self::Private,
            [100, 64..=127, ..] => Self::Shared,
            [0 | 127 | 224..=255, ..]
            | [169, 254, ..]
            | [192, 0, 0 | 2, _]
            | [198, 18..=19, ..]
            | [198, 51, 100, _]
            | [203, 0, 113, _] => Self::Reserved,
            _ => Self::Public,
        }
    }

    /// Whether hosts of the internet can send to such an address.
    #[must_use]
    pub const fn is_reachable(self) -> bool {
        matches!(self, Self::Public)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_the_internet_cannot_reach_is_flagged() {
        // C21
        for (address, kind) in [
            ([11, 22, 33, 44], AddressKind::Public),
            ([172, 15, 0, 1], AddressKind::Public),
            ([172, 32, 0, 1], AddressKind::Public),
            ([100, 63, 0, 1], AddressKind::Public),
            ([100, 128, 0, 1], AddressKind::Public),
            ([192, 0, 1, 1], AddressKind::Public),
            ([10, 2, 0, 1], AddressKind::Private),
            ([172, 16, 0, 1], AddressKind::Private),
            ([172, 31, 255, 255], AddressKind::Private),
            ([192, 168, 0, 1], AddressKind::Private),
            ([100, 64, 0, 0], AddressKind::Shared),
            ([100, 127, 255, 255], AddressKind::Shared),
            ([0, 0, 0, 0], AddressKind::Unspecified),
            ([0, 0, 0, 1], AddressKind::Reserved),
            ([127, 0, 0, 1], AddressKind::Reserved),
            ([169, 254, 1, 1], AddressKind::Reserved),
            ([203, 0, 113, 1], AddressKind::Reserved),
            ([224, 0, 0, 1], AddressKind::Reserved),
            ([255, 255, 255, 255], AddressKind::Reserved),
        ] {
            assert_eq!(AddressKind::of(address.into()), kind, "{address:?}");
            assert_eq!(AddressKind::of(address.into()).is_reachable(), kind == AddressKind::Public, "{address:?}");
            assert_eq!(kind.name(), std::format!("{kind:?}").to_lowercase());
        }
    }
}
