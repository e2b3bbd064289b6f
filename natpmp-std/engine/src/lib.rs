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
pub mod events;
pub mod os;
#[cfg(feature = "server")]
pub mod server;
mod shared_machine;

use std::io;
use std::net::{SocketAddr, SocketAddrV4};

pub use events::{Announcement, EventQueue};

#[cfg(feature = "server")]
pub use natpmp_nat as nat;

/// A UDP socket that does not block, as an adapter waits for it.
pub trait DatagramSocket {
    /// Sends to the address that the socket is connected to.
    ///
    /// # Errors
    /// What the system says; [`WouldBlock`](io::ErrorKind::WouldBlock) if its buffer is full.
    fn send(&self, payload: &[u8]) -> io::Result<usize>;

    /// Sends to this address.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    fn send_to(&self, payload: &[u8], to: SocketAddrV4) -> io::Result<usize>;

    /// Receives the next datagram.
    ///
    /// # Errors
    /// What the system says; [`WouldBlock`](io::ErrorKind::WouldBlock) if there is none.
    fn receive(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)>;
}
