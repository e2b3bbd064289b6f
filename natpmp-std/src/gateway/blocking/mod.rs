//! The adapter that blocks: a thread a server.

mod server;
mod worker;

pub use server::{Server, ServerBuilder};
