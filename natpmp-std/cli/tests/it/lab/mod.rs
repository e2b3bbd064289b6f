//! The `natpmp` command in the lab: real clients, a real `miniupnpd`, real NAT and real packets.
//!
//! Without root or the programs that a lab takes, each test says why it is skipped; `NATPMP_REQUIRE_LAB=1` makes that a failure.

mod attacks;
mod failures;
mod hooks;
mod keep;
mod once;
mod restarts;

use natpmp_lab::{Finished, Host, Running, Value};

use super::{NATPMP, SOON};

/// Runs `natpmp ARGUMENTS --json` on a host to its end.
fn natpmp(host: &Host, arguments: &[&str]) -> Finished {
    start(host, arguments).finish(SOON)
}

/// Starts `natpmp ARGUMENTS --json` on a host.
fn start(host: &Host, arguments: &[&str]) -> Running {
    let arguments: Vec<&str> = arguments.iter().copied().chain(["--json"]).collect();
    host.spawn(NATPMP, &arguments)
}

/// Runs it as [`natpmp`] does, and expects success.
fn succeed(host: &Host, arguments: &[&str]) -> Finished {
    let finished = natpmp(host, arguments);
    assert_eq!(finished.code, Some(0), "natpmp {arguments:?}\n{finished}");
    finished
}

/// Starts a `natpmp keep ARGUMENTS` and waits for its mapping.
fn keep(host: &Host, arguments: &[&str]) -> (Running, Value) {
    let arguments: Vec<&str> = ["keep"].iter().chain(arguments).copied().collect();
    let mut kept = start(host, &arguments);
    let mapped = kept.event(SOON, "mapped");
    (kept, mapped)
}

/// The `error` of the `failed` event.
fn error(finished: &Finished) -> String {
    finished.event("failed")["error"].as_str().unwrap_or_else(|| panic!("no error\n{finished}")).to_owned()
}
