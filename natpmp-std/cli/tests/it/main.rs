//! The `natpmp` command from outside, one module for each place where it runs. A part alone is
//! `cargo test -p natpmp-cli --test it gateway_lab::`.
//!
//! | module | where |
//! | --- | --- |
//! | [`command`], [`demo`] | on the loopback interface |
//! | [`lab`] | behind a real `miniupnpd`, in network namespaces |
//! | [`change_lab`] | there, while the network changes |
//! | [`discovery_lab`] | there, with many routes |
//! | [`gateway_lab`] | there, as the gateway, with clients that others wrote |
//! | [`service`] | under service managers, and a real systemd |
//! | [`firmware`] | beside boards that QEMU makes up |
//! | [`long_run`] | where all goes wrong, for as long as one likes |
//!
//! A lab takes root and some programs: without them each test says why it is skipped; `NATPMP_REQUIRE_LAB=1` makes that a failure.
#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "in a test a broken assumption should end the test at once"
)]

mod change_lab;
mod command;
mod demo;
mod discovery_lab;
mod firmware;
mod gateway_lab;
mod lab;
mod long_run;
mod service;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use natpmp_lab::Host;

/// The command `ip`, in its own words.
fn ip(host: &Host, words: &str) {
    host.ip(&words.split(' ').collect::<Vec<_>>());
}

/// A directory that is removed with what is in it.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("natpmp-it-{}-{count}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

const NATPMP: &str = env!("CARGO_BIN_EXE_natpmp");
/// Long enough for anything that is not meant to wait.
const SOON: Duration = Duration::from_secs(10);
