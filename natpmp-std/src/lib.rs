//! NAT-PMP ([RFC 6886](https://www.rfc-editor.org/rfc/rfc6886)) on the sockets and threads of the standard library: learn
//! the external address of a home router or VPN, and open UDP and TCP ports on it, for once or for as long as a program runs.
//!
//! # A mapping that stays
//! ```no_run
//! use natpmp_std::{Client, MapRequest, Protocol};
//!
//! fn main() -> Result<(), natpmp_std::Error> {
//!     let client = Client::discover()?;
//!     let kept = client.keep_with(&MapRequest::new(Protocol::Tcp, 6881), |change| match change.mapping {
//!         Some(mapping) => println!("reachable on {:?}:{}", change.external_address, mapping.external_port),
//!         None => println!("not reachable at present"),
//!     })?;
//!     // … the program does its work; the mapping is renewed, and comes back after whatever happens to the gateway.
//!     kept.stop()?;
//!     Ok(())
//! }
//! ```
//!
//! # What is here
//! - [`Client::builder`]: which gateway, which way out, how much patience.
//! - [`Client`]: blocking calls for one-shot requests, and [`Client::keep`] for mappings that stay.
//! - [`KeptMapping`]: its state, refresh, stop.
//! - [`Client::events`]: what happens, as a blocking iterator with a timeout.
//! - [`discover_gateway`]: the default gateway; [`list_gateways`]: what it was chosen from, and why.
//!
//! The protocol itself, and every type that is not about sockets or threads, comes from [`natpmp_proto`].
//!
//! # Threads
//! One worker a client, however many mappings; one more for callbacks if there are any. Dropping the last handle of a client ends
//! the worker, after the deletions that are under way, or when no answer has come for 2 s or the [goodbye](ClientBuilder::goodbye) that was chosen.
//!
//! # When the network changes
//! A gateway that was discovered is discovered again when the routes change: what is kept moves to the new one, is deleted at the
//! old one if that can still be reached, and [`Event::GatewayChanged`] says so. A gateway, an interface or an address that was
//! given stays: it is waited for while it is gone, and used again as soon as it is back. On Linux the kernel reports changes
//! (netlink), and on other systems the client looks when something failed or was renewed.
//!
//! Time that the machine slept counts. On Linux and Android the client runs on boot time, with a timer on it, and what is
//! overdue on resume is done at once; on Apple's systems and on Windows it is done within a minute; FreeBSD's clock does not count
//! sleep. A real suspend is not part of the tests: they advance the clock under the client, stop the process for longer
//! than a lease, and look at the kernel's record of the timer.
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
#![cfg_attr(test, allow(clippy::arithmetic_side_effects, reason = "a test whose numbers overflow has failed"))]

mod builder;
mod client;
mod poller;
#[cfg(feature = "server")]
pub mod server;
mod worker;

pub use builder::ClientBuilder;
pub use client::{Client, KeptMapping, Subscription};

pub use natpmp_engine::Announcement;
pub use natpmp_engine::client::{CLIENT_CAPACITY, Change, Error, MappingReport};
#[cfg(target_os = "linux")]
pub use natpmp_engine::os::netlink::RouteWatch;
pub use natpmp_engine::os::routes::{
    DiscoverError, FoundGateway, GatewayCandidate, discover_gateway, discover_gateway_on, list_gateways,
};

pub use natpmp_proto::client::{Ending, Event, LossCause, MapError, RequestError};
pub use natpmp_proto::wire::Refusal;
pub use natpmp_proto::{AddressKind, Backoff, Instant, MapRequest, Mapping, Protocol, Schedule};
