//! Fuzz targets for the natpmp crates. Not published.
//!
//! A target is a function of bytes that panics where its invariant does not hold; each module opens with that invariant. A fuzzer
//! looks for such bytes (see `README.md` here), and `cargo test` replays what was found, without a fuzzer.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    reason = "a target that panics has found something, as it should"
)]

use std::path::PathBuf;
use std::process::ExitCode;

pub mod client;
pub mod gateway;
#[cfg(target_os = "linux")]
pub mod json;
#[cfg(target_os = "linux")]
pub mod kernel;
pub mod network;
mod reader;
pub mod requests;
pub mod responses;
pub mod state;

/// Only Linux has what these ask: elsewhere nothing is.
#[cfg(not(target_os = "linux"))]
pub mod json {
    /// Nothing.
    pub const fn run(_bytes: &[u8]) {}
}
/// The same of the kernel.
#[cfg(not(target_os = "linux"))]
pub mod kernel {
    /// Nothing.
    pub const fn run(_bytes: &[u8]) {}
}

/// A target by its name, which is also that of its corpus.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: &[Target] = &[
    ("client", client::run),
    ("gateway", gateway::run),
    ("json", json::run),
    ("kernel", kernel::run),
    ("network", network::run),
    ("requests", requests::run),
    ("responses", responses::run),
    ("state", state::run),
];

/// Runs a target with each of the files that the command names.
pub fn replay(name: &str, run: fn(&[u8])) -> ExitCode {
    let mut paths = std::env::args_os().skip(1).peekable();
    if paths.peek().is_none() {
        eprintln!("usage: {name} FILE…");
        return ExitCode::from(2);
    }
    for path in paths.map(PathBuf::from) {
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) => {
                eprintln!("cannot read {}: {error}", path.display());
                return ExitCode::FAILURE;
            }
        };
        run(&bytes);
        println!("holds: {} bytes", bytes.len());
    }
    ExitCode::SUCCESS
}

/// The program of a target: for `cargo fuzz` the fuzzer itself, else one that runs the files that it is given.
#[macro_export]
macro_rules! target {
    ($name:ident) => {
        #[cfg(fuzzing)]
        libfuzzer_sys::fuzz_target!(|bytes: &[u8]| $crate::$name::run(bytes));
        #[cfg(not(fuzzing))]
        fn main() -> std::process::ExitCode {
            $crate::replay(stringify!($name), $crate::$name::run)
        }
    };
}
