//! The NAT behind a gateway of NAT-PMP ([RFC 6886](https://www.rfc-editor.org/rfc/rfc6886)): the trait [`Nat`], and two
//! implementations of it.
//!
//! A gateway decides which mappings there are; a [`Nat`] makes packets follow them. This crate knows nothing of the protocol but
//! [`NatRequest`], the order to install or remove one mapping. The servers of `natpmp-std` and `natpmp-smol` take any [`Nat`].
//!
//! # Features
//! None is on by default; without them this crate is the trait alone.
//! - `relay`: `Relay`, a NAT in this process, on any system.
//! - `nftables`: `Nftables`, the NAT of the Linux kernel; on other systems the feature brings nothing.
//!
//! | | `Relay` | `Nftables` |
//! | --- | --- | --- |
//! | runs on | any system | Linux |
//! | privileges | none, for ports from 1024 | root, or `CAP_NET_ADMIN` |
//! | address that the client sees | the gateway's | the peer's |
//! | traffic that the client begins | leaves as it did before | leaves from the mapped port |
//! | capacity | hundreds of peers | what connection tracking holds |
//!
//! # A NAT of your own
//! ```
//! use std::collections::HashSet;
//! use std::net::Ipv4Addr;
//!
//! use natpmp_nat::{Nat, NatFailure, NatMapping, NatRequest};
//!
//! /// Port forwarding of some device, of which this example only keeps the list.
//! #[derive(Default)]
//! struct Device {
//!     address: Option<Ipv4Addr>,
//!     forwards: HashSet<NatMapping>,
//! }
//!
//! impl Nat for Device {
//!     fn apply(&mut self, requests: &[NatRequest]) -> Vec<Result<(), NatFailure>> {
//!         let mut results = Vec::new();
//!         for request in requests {
//!             results.push(match request {
//!                 NatRequest::Install(_) if self.address.is_none() => Err(NatFailure::Network),
//!                 NatRequest::Install(mapping) => {
//!                     self.forwards.insert(*mapping);
//!                     Ok(())
//!                 }
//!                 NatRequest::Remove(mapping) => {
//!                     self.forwards.remove(mapping);
//!                     Ok(())
//!                 }
//!             });
//!         }
//!         results
//!     }
//!
//!     fn set_external_address(&mut self, address: Option<Ipv4Addr>) {
//!         self.address = address;
//!     }
//!
//!     fn end(&mut self) {
//!         self.forwards.clear();
//!     }
//! }
//!
//! let mut device = Device::default();
//! device.set_external_address(Some(Ipv4Addr::new(203, 0, 113, 1)));
//! let internal = "192.168.1.2:4000".parse().unwrap();
//! let mapping = NatMapping { protocol: natpmp_nat::Protocol::Tcp, internal, external_port: 4000 };
//! assert_eq!(device.apply(&[NatRequest::Install(mapping)]), [Ok(())]);
//! device.end();
//! assert!(device.forwards.is_empty());
//! ```
#![cfg_attr(test, allow(clippy::arithmetic_side_effects, reason = "a test whose numbers overflow has failed"))]

#[cfg(all(target_os = "linux", feature = "nftables"))]
pub mod nftables;
#[cfg(feature = "relay")]
mod relay;

use std::net::Ipv4Addr;
#[cfg(unix)]
use std::os::fd::BorrowedFd;

#[cfg(all(target_os = "linux", feature = "nftables"))]
pub use nftables::Nftables;
#[cfg(feature = "relay")]
pub use relay::{Relay, RelayLimits};

pub use natpmp_proto::Protocol;
pub use natpmp_proto::gateway::{NatFailure, NatMapping, NatRequest};

/// What makes packets follow the mappings of a gateway.
pub trait Nat: Send {
    /// Does what the requests say, in their order, and returns the result of each, in the same order. It may block: a server
    /// calls it on a thread of its own.
    ///
    /// Installing a mapping that is there brings it up to date, and removing one that is not there is success: from then on
    /// nothing new comes in through it. A mapping that could not be installed leaves nothing behind.
    ///
    /// The first call after a start has every mapping that is to stay from before it; it may be empty.
    fn apply(&mut self, requests: &[NatRequest]) -> Vec<Result<(), NatFailure>>;

    /// Finishes what [`apply`](Self::apply) began and nobody has to wait for, once for many calls: what still flows through
    /// mappings that ended is to end. A server calls it within a tenth of a second, when the results are on their way. By
    /// default there is nothing to finish.
    fn settle(&mut self) {}

    /// Sets the external address, or takes it away. It ends the connections through the address before; the gateway calls
    /// [`apply`](Self::apply) afterwards to install its mappings again.
    fn set_external_address(&mut self, address: Option<Ipv4Addr>);

    /// Becomes readable when somebody else may have changed what this NAT has made: [`verify`](Self::verify) is to be called
    /// then. By default there is no such thing.
    #[cfg(unix)]
    fn changes(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// Looks whether all that this NAT has made is still there, and makes it anew if it is not. It costs next to nothing where
    /// nobody has changed anything. By default nobody can.
    fn verify(&mut self) -> Verdict {
        Verdict::Intact
    }

    /// Removes everything that this NAT has made, and ends all connections on it. Dropping it does the same.
    fn end(&mut self);
}

/// What [`Nat::verify`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Verdict {
    /// Packets follow the mappings.
    Intact,
    /// They did not, and do again.
    Repaired,
    /// They may not: it could not be repaired. It is to be verified again before long.
    Broken,
}
