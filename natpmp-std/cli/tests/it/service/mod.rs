//! `natpmp` as a service: what it tells the service manager, the units and the container file beside them, and the units run by
//! a real systemd in the lab.
//!
//! What takes root or a program that is missing says why it is skipped; `NATPMP_REQUIRE_LAB=1` makes that a failure.

mod confined;
mod container;
mod files;
mod machine;
mod managed;
mod manager;
mod notifying;
mod units;

use std::io::Write;
use std::process::Command;
use std::time::Duration;

use natpmp_lab::wait_until;

use super::{Directory, NATPMP};

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

/// Long enough for anything that is not meant to wait.
const SOON: Duration = Duration::from_secs(20);
