//! Whole networks in virtual time: clients, the gateway machine with a NAT that keeps a record, and all that can go wrong between them.
#![allow(missing_docs)]

mod nat;
mod net;

pub use nat::Nat;
pub use net::{Host, Net};
