//! Whole networks in virtual time: clients, the gateway machine with a NAT that keeps a record, and all that can go wrong between them.
//!
//! [`Net`] is such a network, for tests that say what happens. [`run`] lets anything happen for days, from a seed; the same seed is the
//! same run. `cargo run --release -p natpmp-testkit --example chaos -- --help` runs many.

mod agree;
mod due;
mod host;
mod hostile;
mod nat;
mod net;
mod run;
mod tally;
mod weather;

pub use host::{Client, Host};
pub use nat::Nat;
pub use net::Net;
pub use tally::Tally;
pub use weather::{Setup, run};
