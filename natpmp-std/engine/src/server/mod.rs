//! The server of a gateway on sockets, without a way of waiting.
//!
//! - [`ServerEngine`] carries datagrams, outcomes of the NAT and time to the machine. An adapter waits, and calls it. What may block
//!   (the NAT, the file with the state) is done on threads of its own.
//! - [`ServerHandle`] and [`ServerBuilder`]: what the public types of both adapters are thin covers of.

mod admission;
mod builder;
mod engine;
mod error;
mod handle;
mod interfaces;
mod nat_thread;
mod saver;
mod sockets;
mod store;
mod unconfirmed;

pub use builder::{External, Internal, ServerBuilder, ServerOptions, Sides, Start};
pub use engine::ServerEngine;
pub use error::ServerError;
pub use handle::{SERVER_CAPACITY, ServerHandle, ServerShared};
pub use store::{State, StateError, StoredMapping};

pub use crate::client::Wait;
