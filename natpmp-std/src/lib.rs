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
//! - [`discover_gateway`]: the default gateway.
//!
//! The protocol itself, and every type that is not about sockets or threads, comes from [`natpmp_proto`].
//!
//! # Threads
//! One worker a client, however many mappings; one more for callbacks if there are any. Dropping the last handle of a client ends
//! the worker, after the deletions that are under way, or when no answer has come for 2 s or the [goodbye](Builder::goodbye) that was chosen.
//!
//! # Logging
//! Through the `log` crate: packets and events at debug level, and a warning if announcements cannot be heard.
//!
//! # Features
//! - `serde`: [`Mapping`] and [`MapRequest`] can be stored.
//! - `discovery`: [`discover_gateway`] on other systems than Linux, where it needs no feature.
//! - `gateway`: a gateway on real sockets, with a NAT behind it.
//! - `cli`: the `natpmp` command.
//!
//! Depends on `natpmp-proto`, `mio`, `socket2` and `log`. Rust 1.85 or later.

#![cfg_attr(
    test,
    allow(
        clippy::arithmetic_side_effects,
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        reason = "a test that panics has failed, as it should"
    )
)]

mod announcement;
mod builder;
mod callback;
mod client;
mod discovery;
mod driver;
mod error;
#[cfg(feature = "gateway")]
pub mod gateway;
mod kept;
mod subscription;

pub use announcement::Announcement;
pub use builder::Builder;
pub use callback::Change;
pub use client::Client;
pub use discovery::{DiscoverError, FoundGateway, discover_gateway, discover_gateway_on};
pub use driver::CAPACITY;
pub use error::Error;
pub use kept::{KeptMapping, KeptState};
pub use subscription::Subscription;

pub use natpmp_proto::client::{Ending, Error as MachineError, Event, LossCause};
pub use natpmp_proto::wire::Refusal;
pub use natpmp_proto::{AddressKind, Backoff, MapRequest, Mapping, Protocol, Schedule};

/// The examples of the README compile.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
