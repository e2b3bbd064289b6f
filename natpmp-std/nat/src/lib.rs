//! What does the NAT for a gateway: the kernel, or this process.
//!
//! | | `Relay` | `Nftables` |
//! | --- | --- | --- |
//! | runs on | any system | Linux |
//! | privileges | none, for ports from 1024 | root, or `CAP_NET_ADMIN` |
//! | who the client sees | the gateway | the peer itself |
//! | traffic that the client begins | leaves as it did before | leaves from the mapped port |
//! | at most | hundreds of peers | what connection tracking holds |
//!
//! The features `relay` and `nftables` bring them; without either this crate is the trait [`Nat`], which a NAT of your own implements.
#![cfg_attr(test, allow(clippy::arithmetic_side_effects, reason = "a test whose numbers overflow has failed"))]

#[cfg(all(target_os = "linux", feature = "nftables"))]
pub mod nftables;
#[cfg(feature = "relay")]
mod relay;

use std::net::Ipv4Addr;

#[cfg(all(target_os = "linux", feature = "nftables"))]
pub use nftables::Nftables;
#[cfg(feature = "relay")]
pub use relay::{Relay, RelayLimits};

pub use natpmp_proto::gateway::{NatFailure, NatMapping, NatRequest};

/// What does the NAT for a gateway.
pub trait Nat: Send {
    /// Does what is requested, in this order, and says for each what came of it, in the same order. May block: it is
    /// called on a thread of its own.
    ///
    /// To install a mapping that stands brings it up to date, and to remove one that does not stand is success. One
    /// that could not be installed leaves nothing.
    ///
    /// The first call after a start says all that is to stand from before; it may be empty.
    fn apply(&mut self, requests: &[NatRequest]) -> Vec<Result<(), NatFailure>>;

    /// The external address is this from now on, or there is none. Connections through the one before are ended;
    /// mappings that stand are requested anew by [`apply`](Self::apply) afterwards.
    fn set_external_address(&mut self, address: Option<Ipv4Addr>);

    /// Removes all that was made, and ends all connections on it. Dropping it does the same.
    fn end(&mut self);
}
