//! The example of an event loop, run as a user would: against a gateway on the loopback interface, and against the real one.
#![forbid(unsafe_code)]
#![cfg(target_os = "linux")]
#![cfg(test)]

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use natpmp_lab::{self as lab, Lab, Running, back_within, echo, wait_until};
use natpmp_proto::Protocol;
use natpmp_testkit::gateway::{Faults, Gateway, Reach, Served};

#[test]
fn the_event_loop_keeps_a_port_and_unmaps_it_at_the_end() {
    let served = Served::start(Gateway::new());
    let mut program = start(&served, "udp");
    program.line(SOON, is("the external address is 11.22.33.44"));
    program.line(SOON, is("udp 4000 is open on port 4000"));
    assert!(lease(&served));
    program.type_line("");
    let finished = program.finish(SOON);
    assert_eq!(finished.code, Some(0), "{finished}");
    assert_eq!(finished.stdout.last().unwrap(), "udp 4000 is unmapped");
    assert!(!lease(&served));
}

/// C04, C25.
#[test]
fn the_event_loop_is_told_port_unreachable_and_tries_again() {
    let served = Served::start(Gateway::with(Faults { reach: Reach::Closed, ..Faults::default() }));
    // The socket is closed by now.
    served.with(|_, _| {});
    let mut program = start(&served, "tcp");
    program.line(SOON, |line| line.contains("port unreachable"));
    served.with(|gateway, _| gateway.faults.reach = Reach::Open);
    program.line(SOON, is("tcp 4000 is open on port 4000"));
}

/// It asks for 2 s, and once more, and leaves the mapping to its lease.
#[test]
fn the_event_loop_ends_though_the_gateway_is_silent() {
    let served = Served::start(Gateway::new());
    let mut program = start(&served, "udp");
    program.line(SOON, is("udp 4000 is open on port 4000"));
    served.with(|gateway, _| gateway.faults.reach = Reach::Silent);
    program.end_input();
    let finished = program.finish(Duration::from_secs(5));
    assert_eq!(finished.code, Some(1), "{finished}");
}

/// C09, C18, C19: the lease is long, so that the announcement alone tells.
#[test]
fn the_event_loop_hears_that_the_gateway_has_restarted() {
    let Some(lab) = Lab::or_skip() else { return };
    let mut gateway = lab.miniupnpd().start();
    let _echo = echo(lab.client(), lab::Protocol::Udp, 4000);
    let mut program = lab.client().spawn_with_input(example().to_str().unwrap(), &["192.168.1.1", "udp", "4000"]);
    program.line(SOON, is("udp 4000 is open on port 4000"));
    gateway.stop();
    lab.router().forget_mappings();
    let is_back = || lab.leads_to_client(lab::Protocol::Udp, 4000);
    back_within(Duration::from_secs(7), "an event loop, a gateway that restarted", || gateway.start(), is_back);
    program.type_line("");
    assert_eq!(program.finish(SOON).code, Some(0));
    assert!(wait_until(SOON, || lab.router().mappings().is_empty()));
}

fn start(served: &Served, protocol: &str) -> Running {
    let mut command = Command::new(example());
    command.args([&served.address().to_string(), protocol, "4000"]);
    Running::spawn_with_input(command)
}

fn example() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let program = test.parent().unwrap().parent().unwrap().join("examples/event_loop");
    assert!(program.is_file(), "the example is not built: `cargo build -p natpmp-proto --examples` does it");
    program
}

fn lease(served: &Served) -> bool {
    served.with(|gateway, now| gateway.lease(now, Protocol::Udp, 4000)).is_some()
}

fn is(expected: &str) -> impl Fn(&str) -> bool {
    move |line| line == expected
}

/// Long enough for anything that is not meant to wait.
const SOON: Duration = Duration::from_secs(10);
