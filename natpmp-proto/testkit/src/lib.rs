//! Test support for the `natpmp` crates; not published.
//!
//! - [`gateway`]: a gateway with the faults met in the field, on a virtual network or on a real socket.
//! - [`net`]: a virtual network in virtual time, and the run of clients against gateways on it.
//! - [`model`]: models of a correct client and a correct gateway, and the machines beside them.
//! - [`world`]: scenarios, written once, for every adapter.
//! - [`waiting`]: in real time, for what is to happen soon.
//! - `lab`: network namespaces with the real peers (Linux).
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    reason = "test support: a broken assumption should end the test at once"
)]

#[cfg(target_os = "linux")]
pub mod lab;

pub mod chaos;
pub mod gateway;
pub mod model;
pub mod net;
mod random;
pub mod recorded;
pub mod scripted;
pub mod waiting;
pub mod world;

pub use random::Random;
