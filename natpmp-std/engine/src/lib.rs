//! What the NAT-PMP ([RFC 6886](https://www.rfc-editor.org/rfc/rfc6886)) adapters share: everything that is neither protocol
//! (that is [`natpmp_proto`]'s) nor a way of waiting (that is an adapter's own).
//!
//! `natpmp-std` waits on threads, and `natpmp-smol` with `async-io`; both are thin covers of what is here. Programs use one of
//! them. Whoever writes an adapter for another way of waiting uses this crate.
//!
//! - [`client`]: [`ClientEngine`](client::ClientEngine) carries datagrams and time to the machine of one client; an adapter waits, and
//!   calls it.
//! - `server` (feature `server`): the same for a gateway with a NAT behind it.
//! - [`events`]: the queues between the parts of a program.
//! - [`os`]: what the system says: time that counts sleep, routes, and changes of them.

#![cfg_attr(test, allow(clippy::arithmetic_side_effects, reason = "a test whose numbers overflow has failed"))]

pub mod client;
mod datagrams;
pub mod events;
pub mod os;
#[cfg(feature = "server")]
pub mod server;
mod shared_machine;

pub use datagrams::DatagramSocket;
pub use events::{Announcement, EventQueue};

#[cfg(feature = "server")]
pub use natpmp_nat as nat;
