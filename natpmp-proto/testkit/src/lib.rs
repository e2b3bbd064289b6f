//! Test support for the `natpmp` crates; not published.
//!
//! - [`gateway`]: a gateway with the faults met in the field, on a virtual network or on a real socket.
//! - [`net`]: a virtual network in virtual time, and the run of clients against gateways on it.
//! - [`model`]: models of a correct client and a correct gateway, and the machines beside them.
//! - [`world`]: scenarios, written once, for every adapter.
//! - [`waiting`]: in real time, for what is to happen soon.

pub mod chaos;
mod choices;
pub mod gateway;
pub mod model;
pub mod net;
pub mod recorded;
pub mod scripted;
pub mod waiting;
pub mod world;

pub use choices::Random;
