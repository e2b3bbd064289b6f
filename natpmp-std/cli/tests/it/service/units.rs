//! The units, as systemd's own tool judges them.

use std::process::Command;

use super::files::{KEEP, SERVE, Unit, read};
use super::{Directory, NATPMP, said, skip};

/// A misspelt setting would be ignored, and the protection with it.
#[test]
fn systemd_has_nothing_to_say_against_the_units() {
    if version_or_skip(247).is_none() {
        return;
    }
    for name in [KEEP, SERVE] {
        let (directory, unit) = installed(name);
        let (is_good, text) = said(Command::new("systemd-analyze").args(["verify", "--man=no", &unit]));
        assert!(is_good && text.is_empty(), "{name}: {text}");
        drop(directory);
    }
}

/// Of 10, and in tenths. What is left is what the work takes: sockets, the host's network, and its NAT for the gateway.
#[test]
fn the_units_are_exposed_to_little() {
    if version_or_skip(250).is_none() {
        return;
    }
    for (name, most) in [(KEEP, "15"), (SERVE, "20")] {
        let (directory, unit) = installed(name);
        let threshold = format!("--threshold={most}");
        let mut command = Command::new("systemd-analyze");
        let (is_good, text) = said(command.args(["security", "--no-pager", "--offline=true", &threshold, &unit]));
        assert!(is_good, "{name}: {text}");
        drop(directory);
    }
}

#[test]
fn the_end_of_a_service_may_take_as_long_as_it_can_take() {
    for name in [KEEP, SERVE] {
        let unit = Unit::read(name, "vpn");
        let seconds: u64 = unit.get("TimeoutStopSec").trim_end_matches('s').parse().unwrap();
        assert!(seconds > GOODBYE + HOOK, "{name}");
        assert_eq!(unit.get("RestartPreventExitStatus"), "2", "{name}: the exit code of wrong options");
    }
}

/// A copy of a unit that starts the program that was built, and where it is.
fn installed(name: &str) -> (Directory, String) {
    let directory = Directory::new();
    let path = directory.file(name);
    std::fs::write(&path, read(name).replace("/usr/local/bin/natpmp", NATPMP)).unwrap();
    (directory, path)
}

/// The version of systemd, if it is there and new enough.
fn version_or_skip(oldest: u32) -> Option<u32> {
    let output = Command::new("systemd-analyze").arg("--version").output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let version = text.split_whitespace().nth(1).and_then(|version| version.parse().ok()).unwrap_or(0);
    if version < oldest {
        skip(&format!("systemd-analyze {oldest} or later is not installed"));
        return None;
    }
    Some(version)
}

/// What the client has for its deletions, and what the hook has after them, in seconds.
const GOODBYE: u64 = 2;
const HOOK: u64 = 5;
