//! NAT-PMP ([RFC 6886](https://www.rfc-editor.org/rfc/rfc6886)) for async programs: learn the external address of a home
//! router or VPN, and open UDP and TCP ports on it, for once or for as long as a program runs.
//!
//! It stands on `async-io`, and so runs on smol, on async-executor, on tokio, or under any `block_on`: it spawns nothing
//! itself. A client comes with a [`ClientDriver`], a future that you spawn where you like.
//!
//! # A mapping that stays
//! ```no_run
//! use natpmp_smol::{Client, MapRequest, Protocol};
//!
//! fn main() -> Result<(), natpmp_smol::Error> {
//!     smol::block_on(async {
//!         let (client, driver) = Client::discover()?;
//!         smol::spawn(driver).detach();
//!         let kept = client.keep_with(&MapRequest::new(Protocol::Tcp, 6881), |change| match change.mapping {
//!             Some(mapping) => println!("reachable on {:?}:{}", change.external_address, mapping.external_port),
//!             None => println!("not reachable at present"),
//!         })?;
//!         // … the program does its work; the mapping is renewed, and comes back after whatever happens to the gateway.
//!         kept.stop().await?;
//!         Ok(())
//!     })
//! }
//! ```
//!
//! # What is here
//! - [`Client::builder`]: which gateway, which way out, how much patience.
//! - [`Client`]: a [`Call`] for each one-shot request, and [`Client::keep`] for mappings that stay.
//! - [`KeptMapping`]: its state, refresh, stop.
//! - [`Client::events`]: what happens, as a `Stream`.
//! - [`discover_gateway`]: the default gateway; [`list_gateways`]: what it was chosen from, and why.
//!
//! The names are those of `natpmp-std`, which does the same on a thread; the protocol itself, and every type that is not about
//! sockets or waiting, comes from [`natpmp_proto`].
//!
//! # Futures that begin at once
//! A method that asks the gateway returns a [`Call`]: the request is on its way as soon as the method returns, and the call is the
//! future of its outcome. It borrows nothing and is `Unpin`, so that it can be stored, and joined with others. It may be dropped at every
//! moment. What it asked for is done all the same, [`Client::mappings`] shows what came of
//! it, and a mapping that no call has reported is deleted at the end. When the last handle of a client is gone its
//! driver says goodbye and completes; a program that ends before that leaves its mappings open until their leases end: `stop`
//! them, or drop all handles and wait for the driver. While nobody polls the driver nothing happens, and no bound is kept. When the driver is dropped, whoever waits gets [`Error::Stopped`], and nobody hangs.
//!
//! # When the network changes
//! The client follows it, and time that the machine slept counts, as in
//! [`natpmp_std`](https://docs.rs/natpmp-std#when-the-network-changes).
//!
//! # Logging
//! Through the `log` crate: packets and events at debug level, and a warning if announcements cannot be heard.
//!
//! # Features
//! - `serde`: [`Mapping`] and [`MapRequest`] can be stored.
//! - `discovery`: [`discover_gateway`] on other systems than Linux, where it needs no feature.
//! - `server`: a gateway on real sockets, for a NAT of your own; with `relay` or `nftables` a NAT comes along.
//!
//! # Security
//! What an attacker can and cannot do to a client and to a gateway is written in `natpmp-proto/SECURITY.md` of the repository, with the
//! tests that prove it.
//!
//! Rust 1.85 or later.

mod builder;
mod client;
mod driver;
#[cfg(feature = "server")]
pub mod server;
mod socket;

pub use builder::ClientBuilder;
pub use client::{Client, KeptMapping, Subscription};
pub use driver::ClientDriver;

pub use natpmp_engine::Announcement;
pub use natpmp_engine::client::{CLIENT_CAPACITY, Call, Change, Error, MappingReport};
#[cfg(target_os = "linux")]
pub use natpmp_engine::os::netlink::RouteWatch;
pub use natpmp_engine::os::routes::{
    DiscoverError, FoundGateway, GatewayCandidate, discover_gateway, discover_gateway_on, list_gateways,
};

pub use natpmp_proto::client::{Ending, Event, LossCause, MapError, RequestError};
pub use natpmp_proto::wire::Refusal;
pub use natpmp_proto::{AddressKind, Backoff, Instant, MapRequest, Mapping, Protocol, Schedule};

/// The examples of the README compile, those of the other crates too.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
