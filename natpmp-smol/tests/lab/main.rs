//! The async client in the lab: a real `miniupnpd`, real NAT and real packets. What programs do is tested with the examples,
//! as `cargo test` builds them.
//!
//! Without root or the programs that a lab takes, each test says why it is skipped; `NATPMP_REQUIRE_LAB=1` makes that a failure.
#![cfg(target_os = "linux")]
#![forbid(unsafe_code)]
#![cfg(test)]
#![allow(clippy::arithmetic_side_effects, reason = "a test whose numbers overflow has failed")]

mod keep;
mod once;
#[cfg(feature = "server")]
mod serve;
mod several;

use std::time::Duration;

use natpmp_lab::{Host, Running};

/// Starts an example on a host. It runs until its input has a line, or ends.
fn start(host: &Host, example: &str, arguments: &[&str]) -> Running {
    let test = std::env::current_exe().unwrap();
    let program = test.parent().unwrap().parent().unwrap().join("examples").join(example);
    assert!(program.is_file(), "the example {example} is not built: `cargo build -p natpmp-smol --examples` does it");
    host.spawn_with_input(program.to_str().unwrap(), arguments)
}

/// Long enough for anything that is not meant to wait.
const SOON: Duration = Duration::from_secs(10);
