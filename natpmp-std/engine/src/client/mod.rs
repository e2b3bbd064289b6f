//! The client on sockets, without a way of waiting.
//!
//! - [`ClientEngine`] carries datagrams and time to the machine. An adapter waits, and calls it.
//! - [`ClientHandle`] is what clones of a client share, and [`Call`] a future of what the gateway says. It holds no state of the
//!   protocol: dropped half-way, it leaves the machine as it is.
//! - [`ClientOptions`], [`KeptHandle`], [`EventQueue`](crate::EventQueue): what the public types of both adapters are thin covers of.

mod callbacks;
mod calls;
mod engine;
mod error;
mod handle;
mod kept;
mod options;
mod previous_gateway;
mod sockets;
mod state;
mod waiters;

pub use callbacks::{CallbackRunner, Change};
pub use calls::Call;
pub use engine::{ClientEngine, Wait};
pub use error::Error;
pub use handle::{ClientHandle, ClientShared};
pub use kept::{KeptHandle, MappingReport};
pub use options::{ClientConfig, ClientOptions};
pub use sockets::{Register, Source};
pub use state::CLIENT_CAPACITY;

pub(crate) use sockets::Addresses;
