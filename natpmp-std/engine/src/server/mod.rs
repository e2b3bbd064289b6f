//! The server of a gateway on sockets, without a way of waiting.
//!
//! - [`ServerEngine`] carries datagrams, outcomes of the NAT and time to the machine. An adapter waits, and calls it. What may block
//!   (the NAT, the state file) has threads of its own.
//! - [`ServerHandle`] is the owner's end of a server, and [`ServerOptions`] is what one is started with: the public types of both
//!   adapters cover them.

mod admission;
mod engine;
mod error;
mod handle;
mod interfaces;
mod nat_inbox;
mod nat_thread;
mod options;
mod saver;
mod sockets;
mod store;
mod unconfirmed;

pub use engine::{ServerEngine, Turn};
pub use error::ServerError;
pub use handle::{SERVER_CAPACITY, ServerHandle};
pub use options::{External, Internal, ServerOptions, Sides, StartNat};
pub use store::{StateError, StoredMapping, StoredState};
