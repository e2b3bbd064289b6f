//! The async client while the network changes under it: the examples, on smol and on tokio, with real interfaces, addresses and routes.
//!
//! Without root or the programs that a lab takes, each test says why it is skipped; `NATPMP_REQUIRE_LAB=1` makes that a failure.
#![cfg(target_os = "linux")]
#![forbid(unsafe_code)]
#![cfg(test)]
#![allow(clippy::arithmetic_side_effects, reason = "a test whose numbers overflow has failed")]

mod gateways;
mod idle;
mod interfaces;

use std::time::Duration;

use natpmp_lab::{Host, Lab, Protocol, Running};

/// Programs that keep UDP 4000 and 4001 on the first client, the one on smol and the other on tokio.
#[derive(Debug)]
struct Programs([(Running, u16); 2]);

impl Programs {
    /// Starts them, and waits until their ports are open at this endpoint.
    fn open(lab: &Lab) -> Self {
        let address = lab.external_address();
        let mut programs = Self(
            [("keep_mapping", 4000), ("keep_on_tokio", 4001)]
                .map(|(example, port)| (start(lab.client(), example, &["udp", &port.to_string()]), port)),
        );
        programs.report(|port| format!("udp {port} is open at {address}:{port}"));
        programs
    }

    /// Waits until each has told this of its port.
    fn report(&mut self, line: impl Fn(u16) -> String) {
        for (program, port) in &mut self.0 {
            let expected = line(*port);
            program.line(SOON, |reported| reported == expected);
        }
    }

    /// Whether the internet reaches both ports by this router.
    fn are_reached_by(&self, lab: &Lab) -> bool {
        let reaches = |port| lab.internet().reaches(Protocol::Udp, (lab.external_address(), port));
        self.0.iter().all(|&(_, port)| reaches(port))
    }

    /// Ends them. Until then each has told this of its mapping, and nothing else.
    fn end_after(self, story: &[&str]) {
        let ended = self.0.map(|(mut program, port)| {
            program.end_input();
            (program, port)
        });
        for (program, port) in ended {
            let finished = program.finish(SOON);
            assert_eq!(finished.code, Some(0), "{finished}");
            let reported = finished.stdout.iter().filter_map(|line| line.strip_prefix(&format!("udp {port} ")));
            let reported: Vec<String> = reported.map(|line| line.replace(&port.to_string(), "PORT")).collect();
            assert_eq!(reported, [story, &["is unmapped"]].concat(), "{finished}");
        }
    }
}

/// Starts an example on a host. It runs until its input has a line, or ends.
fn start(host: &Host, example: &str, arguments: &[&str]) -> Running {
    let test = std::env::current_exe().unwrap();
    let program = test.parent().unwrap().parent().unwrap().join("examples").join(example);
    assert!(program.is_file(), "the example {example} is not built: `cargo build -p natpmp-smol --examples` does it");
    host.spawn_with_input(program.to_str().unwrap(), arguments)
}

/// The command `ip`, in its own words.
fn ip(host: &Host, words: &str) {
    host.ip(&words.split(' ').collect::<Vec<_>>());
}

/// Long enough for anything that is not meant to wait.
const SOON: Duration = Duration::from_secs(10);
/// A change of the routes is looked at after 200 ms; the rest is what a busy machine takes.
const AT_ONCE: Duration = Duration::from_millis(1_500);
