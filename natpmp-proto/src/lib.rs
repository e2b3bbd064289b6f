//! NAT-PMP ([RFC 6886](https://www.rfc-editor.org/rfc/rfc6886)) as a protocol state machine that does no IO.
//!
//! NAT-PMP lets a program behind a home router or a VPN learn its external address, and open UDP and TCP ports on it.
//! This crate is the protocol and nothing else: no socket, no clock, no allocation, no `unsafe`, no standard library. It
//! is driven by datagrams and by time, and says what to send, what happened, and when to come back. For sockets and
//! threads see `natpmp-std`, for async programs `natpmp-smol`.
//!
//! # The model
//! A [`Client`] holds what is wanted, and brings the gateway in line with it. There are four kinds of methods:
//!
//! | kind | methods |
//! | --- | --- |
//! | commands | [`map`](Client::map), [`keep`](Client::keep), [`unmap`](Client::unmap), [`unmap_all`](Client::unmap_all), [`refresh`](Client::refresh), [`request_external_address`](Client::request_external_address), [`watch_external_address`](Client::watch_external_address), [`set_gateway`](Client::set_gateway), [`set_seed`](Client::set_seed), [`network_changed`](Client::network_changed), [`hasten_deletions`](Client::hasten_deletions) |
//! | inputs | [`handle_datagram`](Client::handle_datagram), [`handle_announcement`](Client::handle_announcement), [`handle_unreachable`](Client::handle_unreachable), [`handle_network_down`](Client::handle_network_down), [`handle_timeout`](Client::handle_timeout) |
//! | outputs | [`poll`](Client::poll), or one by one [`poll_transmit`](Client::poll_transmit), [`poll_event`](Client::poll_event), [`poll_timeout`](Client::poll_timeout) |
//! | getters | [`mapping`](Client::mapping), [`mappings`](Client::mappings), [`external_address`](Client::external_address), [`gateway`](Client::gateway) |
//!
//! Commands never block and send nothing by themselves: poll after each of them.
//!
//! A [`Gateway`] is the other side: it holds the table of mappings and answers for it. It is driven in the same way, by one
//! [`poll`](Gateway::poll), and has one more partner: what the NAT is to do comes out as [`Output::Nat`](gateway::Output::Nat), and its
//! outcome goes in by [`handle_nat`](Gateway::handle_nat). A datagram goes in with the number of its socket, and the answer comes out
//! with it. See [`gateway`] for the loop that runs it.
//!
//! # The loop that runs it
//! This keeps a UDP port open for as long as it runs, whatever the gateway does. A socket that is connected to the
//! gateway hears of port unreachable at once; one that is not takes the whole schedule to find out.
//!
//! ```no_run
//! use std::io::ErrorKind;
//! use std::net::{SocketAddr, UdpSocket};
//! use std::time::Duration;
//! use natpmp_proto::{Client, Config, Event, Instant, MapRequest, Output, Protocol};
//!
//! fn main() -> std::io::Result<()> {
//!     let config = Config::new([192, 168, 1, 1].into()).seed(0x5eed);
//!     let mut client: Client = Client::new(config);
//!     let socket = UdpSocket::bind("0.0.0.0:0")?;
//!     socket.connect(client.gateway())?;
//!     let origin = std::time::Instant::now();
//!     let now = || Instant::ZERO + origin.elapsed();
//!
//!     client.keep(now(), &MapRequest::new(Protocol::Udp, 4000)).expect("the table is empty");
//!     let mut buffer = [0; 1100];
//!     loop {
//!         let deadline = match client.poll(now()) {
//!             Output::Transmit(transmit) => {
//!                 match socket.send(&transmit.payload) {
//!                     Err(error) if error.kind() == ErrorKind::ConnectionRefused => client.handle_unreachable(now()),
//!                     Err(_) => client.handle_network_down(now()),
//!                     Ok(_) => {}
//!                 }
//!                 continue;
//!             }
//!             Output::Event(Event::Mapped(mapping)) => {
//!                 println!("reachable on port {}", mapping.external_port);
//!                 continue;
//!             }
//!             Output::Event(_) => continue,
//!             Output::Wait(deadline) => deadline,
//!         };
//!         // A timeout of zero is refused by the system; the clock is read again after the wait.
//!         let wait = deadline.map(|at| at.saturating_since(now()).max(Duration::from_millis(1)));
//!         socket.set_read_timeout(wait)?;
//!         match socket.recv_from(&mut buffer) {
//!             Ok((length, SocketAddr::V4(from))) => {
//!                 // What is not for us is dropped; the reason may be logged.
//!                 let _ = client.handle_datagram(now(), from, &buffer[..length]);
//!             }
//!             Err(error) if error.kind() == ErrorKind::ConnectionRefused => client.handle_unreachable(now()),
//!             _ => {}
//!         }
//!     }
//! }
//! ```
//!
//! To hear a gateway's restarts at once, read a second socket, bound to 224.0.0.1 port 5350, and pass what it receives to
//! [`handle_announcement`](Client::handle_announcement).
//!
//! Beside this crate's sources, `examples/event_loop.rs` does all of it on mio, and `examples/firmware` has both machines on smoltcp, for a
//! Cortex-M3.
//!
//! # Which section of the RFC lives where
//! | section | subject | here |
//! | --- | --- | --- |
//! | 3.1 | requests, retries, giving up | [`Schedule`], [`Backoff`], [`client`] |
//! | 3.2 | external address, announcements | [`wire`], [`Client::request_external_address`], [`Client::handle_announcement`] |
//! | 3.3 | mappings and their renewal | [`MapRequest`], [`Client::keep`], [`Client::map`] |
//! | 3.4 | deletions | [`Client::unmap`], [`Client::unmap_all`] |
//! | 3.5 | result codes | [`wire::Refusal`] |
//! | 3.6 | epoch | [`Epoch`] |
//! | 3.7 | recreation after a restart | [`client`], [`Event::GatewayRestarted`] |
//! | 3.8 | gateways without NAT-PMP | [`RequestError::is_unsupported`], [`Gateway::switch`] |
//!
//! # What it costs, and what it cannot do
//! On a Cortex-M3, optimised for size: 1.2 KB of flash for the wire, 9.0 KB for the client, 8.1 KB for the gateway; 192 bytes of memory
//! for a `Client<1>`, 556 for a `Client<8>`, and 48 for each mapping in a [`Gateway`]; no call takes more than 424 bytes of stack.
//! No public function can panic or allocate: a linker proves it. `natpmp-proto/bare-metal` in the repository
//! has the programs that prove and measure this, and the figures for other processors.
//!
//! # Features
//! - `serde`: [`Mapping`], [`MapRequest`] and [`Protocol`] can be stored.
//! - `defmt`: events, errors and discard reasons can be logged by firmware.
//!
//! # Security
//! What an attacker can and cannot do is written in `natpmp-proto/SECURITY.md` of the repository, with the tests that prove it.
//!
//! Rust 1.85 or later.
#![no_std]
#![cfg_attr(
    test,
    allow(
        clippy::arithmetic_side_effects,
        clippy::cast_possible_truncation,
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        reason = "a test that panics has failed, as it should"
    )
)]

#[cfg(test)]
extern crate std;

mod address;
pub mod client;
mod datagram;
mod epoch;
pub mod gateway;
mod mapping;
mod random;
mod retry;
mod time;
pub mod wire;

pub use address::AddressKind;
pub use client::{Client, Config, Event, Output, RequestError};
pub use datagram::{Discard, SocketId, Transmit, TransmitKind};
pub use epoch::Epoch;
pub use gateway::Gateway;
pub use mapping::{MapRequest, Mapping};
pub use retry::{Backoff, Schedule};
pub use time::Instant;
pub use wire::Protocol;
