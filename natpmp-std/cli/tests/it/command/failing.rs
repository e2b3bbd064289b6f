//! What the command makes of gateways that do not say yes: its exit code, its words, its JSON.

use natpmp_lab::{Finished, Running};
use natpmp_testkit::gateway::{Faults, Grant, Reach};
use serde_json::json;

use super::{Directory, SOON, command, gateway, json, natpmp, turn};

/// Every subcommand that asks the gateway once.
const ASKING: [&[&str]; 4] =
    [&["external-address"], &["map", "udp", "4000"], &["unmap", "udp", "4000"], &["unmap-all", "udp"]];

/// C04, C20
#[test]
fn nobody_on_the_port_is_exit_code_3_at_once() {
    let gateway = gateway(|_| {});
    turn(&gateway, |faults| faults.reach = Reach::Closed);
    for arguments in ASKING {
        let patient = [arguments, &["--timeout", "127.75"]].concat();
        let finished = natpmp(&gateway, &patient);
        assert_failed(&finished, 3, &["port unreachable", &gateway.address().to_string(), "--gateway"]);
    }
}

/// C03, C20
#[test]
fn silence_is_exit_code_3_when_the_time_is_over() {
    let gateway = gateway(|faults| faults.reach = Reach::Silent);
    for arguments in ASKING {
        let hasty = [arguments, &["--timeout", "0.1"]].concat();
        let finished = natpmp(&gateway, &hasty);
        assert_failed(&finished, 3, &["no answer", "0.1 s", &gateway.address().to_string(), "--timeout"]);
    }
}

/// C08, C15
#[test]
fn every_result_code_has_its_exit_code_and_is_quoted() {
    let gateway = gateway(|_| {});
    for (result, code, advice) in [
        (1, 3, "--gateway"),
        (2, 4, "router's settings"),
        (3, 5, "online"),
        (4, 6, "--external"),
        (5, 3, "--gateway"),
        (6, 7, "-v"),
        (65_535, 7, "-v"),
    ] {
        turn(&gateway, |faults| {
            (faults.refuse_map, faults.refuse_unmap, faults.refuse_address) =
                (Some(result), Some(result), Some(result));
        });
        for arguments in ASKING {
            let finished = natpmp(&gateway, arguments);
            assert_failed(&finished, code, &[&format!("result {result}"), advice]);
        }
    }
}

/// C26
#[test]
fn a_grant_of_nothing_is_exit_code_7() {
    let gateway = gateway(|_| {});
    for faults in [
        Faults { grant: Grant::Exactly(0), ..Faults::default() },
        Faults { grants_port_zero: true, ..Faults::default() },
    ] {
        turn(&gateway, |turned| *turned = faults);
        assert_failed(&natpmp(&gateway, &["map", "udp", "4000", "--timeout", "0.6"]), 7, &["granted nothing"]);
    }
}

#[test]
fn a_network_that_is_down_on_this_side_is_exit_code_8() {
    let gateway = gateway(|_| {});
    for arguments in ASKING {
        // An address for documentation, and an interface that no host has.
        for option in [["--bind", "192.0.2.77"], ["--interface", "no-such-if"]] {
            let finished = natpmp(&gateway, &[arguments, &option].concat());
            assert_failed(&finished, 8, &["cannot send to", &gateway.address().to_string(), "--bind"]);
        }
    }
    let nowhere = Running::spawn({
        let mut command = std::process::Command::new(super::NATPMP);
        command.args(["external-address", "--interface", "no-such-if"]);
        command
    });
    assert_failed(&nowhere.finish(SOON), 8, &["cannot find the gateway", "--gateway"]);
}

#[test]
fn a_file_that_cannot_be_written_is_exit_code_1_before_anybody_is_asked() {
    let gateway = gateway(|_| {});
    let directory = Directory::new();
    for path in [directory.file("none/port"), directory.file("")] {
        let finished = natpmp(&gateway, &["keep", "udp", "4000", "--port-file", &path]);
        assert_failed(&finished, 1, &["port file", path.trim_end_matches('/')]);
    }
    assert_eq!(super::requests(&gateway), []);
}

#[test]
fn a_failure_in_json_is_an_object_too() {
    let gateway = gateway(|faults| (faults.refuse_map, faults.refuse_address) = (Some(2), Some(3)));
    let asked = gateway.address().to_string();
    let (finished, lines) = json(&gateway, &["map", "tcp", "4000"]);
    assert_eq!(finished.code, Some(4), "{finished}");
    let error = format!("{asked} refused: {}", natpmp_std::Refusal::NotAuthorized);
    let expected =
        json!({ "event": "failed", "protocol": "tcp", "internal_port": 4000, "gateway": asked, "error": error });
    assert_eq!(lines, [expected]);
    assert!(finished.stderr[0].starts_with("natpmp: cannot map tcp 4000: "), "a person reads it as well\n{finished}");

    let (_, lines) = json(&gateway, &["external-address"]);
    let keys: Vec<_> = lines[0].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys, ["error", "event", "gateway"]);
}

/// C25: what ends a one-shot is waited out by `keep`, and told each time.
#[test]
fn keep_tells_of_failures_and_tries_on() {
    let gateway = gateway(|faults| faults.refuse_map = Some(2));
    let mut running = Running::spawn(command(gateway.address(), &["keep", "udp", "4000", "--json"]));
    let asked = gateway.address().to_string();
    let retrying = running.event(SOON, "retrying");
    let error = format!("{asked}: the gateway refused: {}", natpmp_std::Refusal::NotAuthorized);
    let expected =
        json!({ "event": "retrying", "protocol": "udp", "internal_port": 4000, "gateway": asked, "error": error });
    assert_eq!(retrying, expected);
    turn(&gateway, |faults| faults.refuse_map = None);
    running.event(SOON, "mapped");
    running.interrupt();
    assert_eq!(running.finish(SOON).code, Some(0));
}

/// It says that it is open still.
#[test]
fn a_keep_whose_deletion_fails_says_so_and_fails() {
    for (fault, code) in [
        (Faults { refuse_unmap: Some(2), ..Faults::default() }, 4),
        (Faults { reach: Reach::Closed, ..Faults::default() }, 3),
        (Faults { reach: Reach::Silent, ..Faults::default() }, 3),
    ] {
        let gateway = gateway(|_| {});
        let (running, _) = super::keep(&gateway, &["udp", "4000", "--timeout", "0.5"]);
        turn(&gateway, |faults| *faults = fault);
        running.terminate();
        let finished = running.finish(SOON);
        assert_eq!(finished.code, Some(code), "{finished}");
        assert_eq!(finished.event("failed")["internal_port"], 4000);
        assert!(finished.stderr.iter().any(|line| line.contains("cannot delete udp 4000")), "{finished}");
    }
}

/// The exit code, nothing on standard output, and on standard error what was tried, what happened, what to do.
#[track_caller]
fn assert_failed(finished: &Finished, code: i32, words: &[&str]) {
    assert_eq!(finished.code, Some(code), "{finished}");
    assert!(finished.stdout.is_empty(), "{finished}");
    let text = finished.stderr.join("\n");
    assert!(finished.stderr.iter().any(|line| line.starts_with("natpmp: cannot ")), "{finished}");
    for word in words {
        assert!(text.contains(word), "{word:?} is missing\n{finished}");
    }
}
