//! What ends `natpmp keep`, what does not, and what it says then.

use std::io::{BufRead, BufReader, Lines};
use std::process::{Child, ChildStdout, Command, Stdio};

use natpmp_lab::Running;
use natpmp_proto::Protocol;
use natpmp_testkit::gateway::{Faults, Reach, Vpn};

use super::{NATPMP, SOON, command, deletions, eventually, gateway, lease, requests, start, turn};

/// `nohup` starts it with hang-ups ignored, which is to stay so.
#[test]
fn a_hang_up_that_is_ignored_does_not_end_it() {
    let gateway = gateway(|_| {});
    let mut command = Command::new("nohup");
    command.args([NATPMP, "keep", "udp", "4000", "--refresh-interval", "1", "--json"]);
    command.args(["--gateway", &gateway.address().to_string()]);
    let (mut child, mut lines) = spawn(command);
    until(&mut lines, "mapped");
    kill("-HUP", &child);
    until(&mut lines, "renewed");
    until(&mut lines, "renewed");
    assert!(child.try_wait().unwrap().is_none());
    assert_eq!(deletions(&gateway), []);
    kill("-TERM", &child);
    until(&mut lines, "unmapped");
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn without_a_gateway_it_waits_for_one_and_says_so_once() {
    let mut command = Command::new(NATPMP);
    command.args(["keep", "udp", "4000", "--interface", "no-such-if", "--json"]);
    let mut running = Running::spawn(command);
    let reported = running.event(SOON, "retrying");
    assert!(reported["error"].as_str().is_some_and(|error| error.contains("no-such-if")), "{reported}");
    assert!(running.is_running());
    running.interrupt();
    let finished = running.finish(SOON);
    assert_eq!(finished.code, Some(0), "{finished}");
    assert_eq!(finished.stdout.len(), 1, "{finished}");

    let mut command = Command::new(NATPMP);
    command.args(["keep", "udp", "4000", "--interface", "no-such-if"]);
    let running = Running::spawn(command);
    eventually("a person reads it", || !running.complaints().is_empty());
    running.terminate();
    let finished = running.finish(SOON);
    assert_eq!(finished.code, Some(0), "{finished}");
    assert!(finished.stderr[0].starts_with("no gateway yet: "), "{finished}");
}

/// Whatever the gateway does: there is nothing to fail at.
#[test]
fn ending_it_before_anything_was_open_succeeds() {
    for (fault, options) in [
        (Faults { reach: Reach::Closed, ..Faults::default() }, &[][..]),
        (Faults { reach: Reach::Silent, ..Faults::default() }, &["--timeout", "0.3"]),
        (Faults { refuse_map: Some(2), refuse_unmap: Some(2), ..Faults::default() }, &[]),
        // An address for documentation, which no host has.
        (Faults::default(), &["--bind", "192.0.2.77"]),
    ] {
        let gateway = gateway(|_| {});
        turn(&gateway, |faults| *faults = fault);
        let arguments = [&["keep", "udp", "4000", "--json"], options].concat();
        let mut running = start(&gateway, &arguments);
        running.event(SOON, "retrying");
        running.interrupt();
        let finished = running.finish(SOON);
        assert_eq!(finished.code, Some(0), "{options:?}\n{finished}");
        assert_eq!(finished.events("failed").count(), 0, "{finished}");
    }
}

/// Internal port 0 is left to lapse, if there is something to lapse.
#[test]
fn what_was_never_granted_is_not_said_to_lapse() {
    // An address for documentation, which no host has: the network is down for both, though one alone was asked for.
    let gateway = gateway(|_| {});
    let running = start(&gateway, &["keep", "both", "0", "--bind", "192.0.2.77"]);
    eventually("both are reported", || tried_on(&running.complaints()) == ["tcp 0", "udp 0"]);
    running.interrupt();
    let finished = running.finish(SOON);
    assert_eq!(finished.code, Some(0), "{finished}");
    assert!(finished.stdout.is_empty(), "{finished}");
    for line in ["udp 0 was not open", "tcp 0 was not open"] {
        assert_eq!(finished.stderr.iter().filter(|reported| *reported == line).count(), 1, "{line}\n{finished}");
    }
}

#[test]
fn what_was_refused_is_not_said_to_lapse() {
    let gateway = gateway(|faults| (*faults, faults.refuse_map) = (Faults::vpn(Vpn::AnswersMapped), Some(2)));
    let running = start(&gateway, &["keep", "both", "0"]);
    eventually("both are refused", || tried_on(&running.complaints()) == ["tcp 0", "udp 0"]);
    running.interrupt();
    let finished = running.finish(SOON);
    assert_eq!(finished.code, Some(0), "{finished}");
    assert!(finished.stdout.is_empty(), "{finished}");
}

#[test]
fn a_deletion_that_fails_says_for_how_long_the_port_stays_open() {
    let gateway = gateway(|_| {});
    let (running, _) = super::keep(&gateway, &["udp", "4000", "--lifetime", "600"]);
    turn(&gateway, |faults| faults.reach = Reach::Silent);
    running.interrupt();
    let finished = running.finish(SOON);
    assert_eq!(finished.code, Some(3), "{finished}");
    let text = finished.stderr.join("\n");
    assert!(text.contains("stays open at the gateway until its lease ends, in up to "), "{finished}");
    assert!(["600 s", "599 s", "598 s"].iter().any(|left| text.contains(left)), "{finished}");
    assert!(!text.contains("--timeout"), "{finished}");
}

/// The mapping is what it is for.
#[test]
fn output_that_cannot_be_written_is_worth_one_warning() {
    let gateway = gateway(|_| {});
    let mut shell = Command::new("sh");
    shell.args(["-c", "exec \"$@\" >/dev/full", "sh", NATPMP, "keep", "udp", "4000", "--refresh-interval", "1"]);
    let running = Running::spawn({
        shell.args(["--json", "--gateway", &gateway.address().to_string()]);
        shell
    });
    eventually("it is renewed", || requests(&gateway).len() >= 4);
    assert_eq!(lease(&gateway, Protocol::Udp, 4_000), Some(4_000));
    running.interrupt();
    let finished = running.finish(SOON);
    assert_eq!(finished.code, Some(0), "{finished}");
    let warnings = finished.stderr.iter().filter(|line| line.contains("cannot write to standard output"));
    assert_eq!(warnings.count(), 1, "{finished}");
    assert_eq!(lease(&gateway, Protocol::Udp, 4_000), None);
}

#[test]
fn a_one_shot_whose_result_cannot_be_written_fails() {
    let gateway = gateway(|_| {});
    for arguments in [&["external-address"][..], &["map", "udp", "4000"], &["gateway"], &["unmap", "udp", "4000"]] {
        for (redirection, code) in [("exec \"$@\" >/dev/full", 1), ("(\"$@\"; echo $? >&2) | true", 0)] {
            let natpmp = command(gateway.address(), arguments);
            let mut shell = Command::new("sh");
            shell.args(["-c", redirection, "sh", NATPMP]).args(natpmp.get_args());
            let finished = Running::spawn(shell).finish(SOON);
            assert_eq!(finished.code, Some(code), "{arguments:?}\n{finished}");
            let has_told = finished.stderr.iter().any(|line| line.contains("cannot write to standard output: "));
            assert_eq!(has_told, code == 1, "{finished}");
            assert!(code == 1 || finished.stderr == ["0"], "nobody reads it: that is no failure\n{finished}");
        }
    }
}

fn spawn(mut command: Command) -> (Child, Lines<BufReader<ChildStdout>>) {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    (child, lines)
}

/// Reads on to this event.
#[track_caller]
fn until(lines: &mut Lines<BufReader<ChildStdout>>, event: &str) {
    let event = format!("\"event\":\"{event}\"");
    assert!(lines.any(|line| line.unwrap().contains(&event)), "{event} did not come");
}

fn kill(signal: &str, child: &Child) {
    assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
}

/// What a person was told is tried on.
fn tried_on(complaints: &[String]) -> Vec<&str> {
    let tried = complaints.iter().filter(|line| line.ends_with("; trying on"));
    let mut tried: Vec<_> = tried.filter_map(|line| line.split(':').next()).collect();
    tried.sort_unstable();
    tried
}
