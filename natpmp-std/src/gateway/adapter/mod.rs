//! What the gateways of the adapters share: everything but the way of waiting. As [`crate::adapter`], it is no part of the
//! public interface.
//!
//! - [`Engine`] carries datagrams, outcomes of the NAT and time to the machine. An adapter waits, and calls it. What may block
//!   (the NAT, the file with the state) is done on threads of its own.
//! - [`Handle`] and [`GatewayBuilder`]: what the public types of both adapters are thin covers of.

mod builder;
mod engine;
mod guard;
mod handle;
mod helper;
mod interfaces;
mod lookout;
mod nat_thread;
mod saver;
mod shared;
mod sockets;
mod sources;
mod taken_up;

pub use builder::{External, GatewayBuilder, Internal, Settings, Sides, Start};
pub use engine::Engine;
pub use handle::Handle;
pub use shared::{CAPACITY, Shared};
pub use sockets::Listener;

pub use crate::adapter::Wait;
