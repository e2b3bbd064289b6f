//! What the adapters share: everything that is neither protocol (that is the core's) nor a way of waiting (that is their own).
//!
//! `natpmp-std` and `natpmp-smol` are made of it. It is no part of the public interface: it changes from one release to the
//! next, and so `natpmp-smol` names the exact release that it goes with.
//!
//! - [`Engine`] carries datagrams and time to the machine. An adapter waits, and calls it.
//! - [`Handle`] is what clones of a client share, and [`Call`] a future of what the gateway says. It holds no state of the protocol:
//!   dropped half-way, it leaves the machine as it is.
//! - [`Kept`], [`News`], [`ClientBuilder`]: what the public types of both adapters are thin covers of.

mod alarm;
mod announcement;
mod builder;
mod call;
mod callback;
mod clock;
mod core;
mod driven;
mod engine;
mod error;
mod farewell;
mod handle;
mod kept;
mod network;
mod news;
mod owners;
mod sockets;
mod waiters;

pub use announcement::Announcement;
pub use builder::{ClientBuilder, Settings, Start};
pub use call::Call;
pub use callback::{Change, Message, Runner};
pub use core::CAPACITY;
pub use engine::{Engine, Wait};
pub use error::Error;
pub use handle::{Handle, Shared};
pub use kept::{Kept, KeptState};
pub use news::News;
pub use sockets::{Datagrams, Register, Source};

pub(crate) use clock::Clock;
#[cfg(feature = "gateway")]
pub(crate) use driven::{Driven, Woken};
#[cfg(feature = "gateway")]
pub(crate) use news::Subscribers;
