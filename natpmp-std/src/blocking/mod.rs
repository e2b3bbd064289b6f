//! The adapter that blocks: a thread a client, and calls that wait for it.

mod client;
mod kept;
mod subscription;
mod wait;
mod waker;
mod worker;

pub use client::{Builder, Client};
pub use kept::KeptMapping;
pub use subscription::Subscription;
#[cfg(feature = "gateway")]
pub(crate) use waker::waker;
