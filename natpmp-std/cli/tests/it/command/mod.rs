//! The `natpmp` command against a gateway on the loopback interface: what it prints, where, and how it ends.

mod ending;
mod failing;
mod hooks;
mod hostile;
mod keeping;
mod once;
mod pages;
mod serving;
mod usage;
mod watching;

use std::net::SocketAddrV4;
use std::path::Path;
use std::process::Command;

use natpmp_lab::{Finished, Running, Value, wait_until};
use natpmp_proto::Protocol;
use natpmp_proto::wire::Request;
use natpmp_testkit::gateway::{Faults, Gateway, Served};

use super::{Directory, NATPMP, SOON};

/// A gateway that behaves, but for what `change` turns.
fn gateway(change: impl FnOnce(&mut Faults)) -> Served {
    let mut gateway = Gateway::new();
    change(&mut gateway.faults);
    Served::start(gateway)
}

fn turn(gateway: &Served, change: impl FnOnce(&mut Faults)) {
    gateway.with(|gateway, _| change(&mut gateway.faults));
}

fn lease(gateway: &Served, protocol: Protocol, internal_port: u16) -> Option<u16> {
    gateway.with(|gateway, now| gateway.lease(now, protocol, internal_port).map(|lease| lease.external_port))
}

fn requests(gateway: &Served) -> Vec<Request> {
    gateway.with(|gateway, _| gateway.received().iter().map(|received| received.request.unwrap()).collect())
}

fn deletions(gateway: &Served) -> Vec<Request> {
    requests(gateway).into_iter().filter(|request| matches!(request, Request::Map { lifetime: 0, .. })).collect()
}

/// `natpmp ARGUMENTS --gateway ADDRESS`, not yet started.
fn command(gateway: SocketAddrV4, arguments: &[&str]) -> Command {
    let mut command = Command::new(NATPMP);
    command.args(arguments).args(["--gateway", &gateway.to_string()]);
    command
}

fn start(gateway: &Served, arguments: &[&str]) -> Running {
    Running::spawn(command(gateway.address(), arguments))
}

/// Runs it to its end.
fn natpmp(gateway: &Served, arguments: &[&str]) -> Finished {
    start(gateway, arguments).finish(SOON)
}

/// Runs it with `--json`, and returns its lines.
fn json(gateway: &Served, arguments: &[&str]) -> (Finished, Vec<Value>) {
    let arguments: Vec<&str> = arguments.iter().copied().chain(["--json"]).collect();
    let finished = natpmp(gateway, &arguments);
    let lines = finished.stdout.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    (finished, lines)
}

/// Starts `natpmp keep ARGUMENTS --json`, and waits for its mapping.
fn keep(gateway: &Served, arguments: &[&str]) -> (Running, Value) {
    let arguments: Vec<&str> = ["keep"].iter().chain(arguments).chain(&["--json"]).copied().collect();
    let mut running = start(gateway, &arguments);
    let mapped = running.event(SOON, "mapped");
    (running, mapped)
}

#[track_caller]
fn eventually(what: &str, condition: impl FnMut() -> bool) {
    assert!(wait_until(SOON, condition), "not within {SOON:?}: {what}");
}

/// What the file holds; nothing if it is not there.
fn read(path: impl AsRef<Path>) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}
