//! `natpmp` as a service: what it tells the service manager, the units and the container file beside them, and the units run by
//! a real systemd in the lab.
//!
//! What takes root or a program that is missing says why it is skipped; `NATPMP_REQUIRE_LAB=1` makes that a failure.
#![cfg(target_os = "linux")]
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "in a test a broken assumption should end the test at once"
)]

mod confined;
mod container;
mod files;
mod machine;
mod managed;
mod manager;
mod telling;
mod units;

use std::io::Write;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use natpmp_lab::wait_until;

#[track_caller]
fn eventually(what: &str, condition: impl FnMut() -> bool) {
    assert!(wait_until(SOON, condition), "not within {SOON:?}: {what}");
}

/// Says why a test is skipped, or fails where none may be.
fn skip(reason: &str) {
    let required = std::env::var("NATPMP_REQUIRE_LAB").is_ok_and(|value| value == "1");
    assert!(!required, "the lab is required, and unavailable: {reason}");
    // Not `println!`, which the test harness swallows: a test that did not run must not look like one that passed.
    let _ = writeln!(std::io::stdout(), "skipped: {reason}");
}

/// Standard output and standard error of a command.
fn said(command: &mut Command) -> (bool, String) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).trim().to_owned())
}

/// A directory that is removed with what is in it.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("natpmp-service-{}-{count}", std::process::id()));
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
const SOON: Duration = Duration::from_secs(20);
