//! `natpmp keep`: what it prints, and how it ends.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use natpmp_lab::{Running, wait_until};
use natpmp_proto::Protocol;
use natpmp_proto::wire::Request;
use natpmp_std::{Client, MapRequest};
use natpmp_testkit::gateway::{Faults, Reach, Vpn};
use serde_json::json;

use super::{
    Directory, NATPMP, SOON, command, deletions, eventually, gateway, keep, lease, read, requests, start, turn,
};
use natpmp_testkit::scripted::{Scripted, granted};

#[test]
fn interrupting_it_deletes_the_mapping_and_succeeds() {
    ends_well(Running::interrupt);
}

#[test]
fn terminating_it_deletes_the_mapping_and_succeeds() {
    ends_well(Running::terminate);
}

fn ends_well(end: fn(&Running)) {
    let gateway = gateway(|_| {});
    let mut running = start(&gateway, &["keep", "tcp", "4000", "--external", "5000"]);
    running.line(SOON, |line| line == "tcp 4000 is open at 11.22.33.44:5000");
    end(&running);
    let finished = running.finish(SOON);
    assert_eq!(finished.code, Some(0), "{finished}");
    assert_eq!(finished.stdout, ["tcp 4000 is open at 11.22.33.44:5000", "tcp 4000 is unmapped"]);
    assert!(finished.stderr.iter().any(|line| line == "asking 127.0.0.1 for tcp 4000; interrupt to end"), "{finished}");
    assert_eq!(deletions(&gateway), [Request::delete(Protocol::Tcp, 4_000)]);
}

/// C12: every event as a program reads it, from the first to the last.
#[test]
fn its_json_has_these_events_and_keys() {
    let gateway = gateway(|_| {});
    let asked = gateway.address().to_string();
    let (mut running, mapped) = keep(&gateway, &["udp", "4000", "--lifetime", "60", "--refresh-interval", "1"]);
    let of_mapping = |event: &str, port: u16| {
        json!({
            "event": event,
            "protocol": "udp",
            "internal_port": 4000,
            "external_port": port,
            "external_address": "11.22.33.44",
            "lifetime": 60,
            "gateway": asked,
        })
    };
    assert_eq!(mapped, of_mapping("mapped", 4000));
    assert_eq!(running.event(SOON, "renewed"), of_mapping("renewed", 4000));
    turn(&gateway, |faults| faults.moves_ports = true);
    assert_eq!(running.event(SOON, "changed"), of_mapping("changed", 4001));
    // It is heard of the restart by an answer that refuses to make the mapping again.
    turn(&gateway, |faults| (faults.moves_ports, faults.refuse_map) = (false, Some(4)));
    gateway.with(|gateway, now| gateway.restart(now));
    assert_eq!(running.event(SOON, "gateway-restarted"), json!({ "event": "gateway-restarted", "gateway": asked }));
    let lost = json!({
        "event": "lost",
        "protocol": "udp",
        "internal_port": 4000,
        "external_port": 4001,
        "gateway": asked,
        "error": "the gateway has lost it",
    });
    assert_eq!(running.event(SOON, "lost"), lost);
    running.interrupt();
    let finished = running.finish(SOON);
    let unmapped = json!({ "event": "unmapped", "protocol": "udp", "internal_port": 4000, "gateway": asked });
    assert_eq!(finished.event("unmapped"), unmapped);
    let address = json!({ "event": "external-address", "external_address": "11.22.33.44", "address_kind": "public", "gateway": asked });
    assert_eq!(finished.event("external-address"), address);
}

#[test]
fn both_are_kept_on_one_port_and_deleted() {
    let gateway = gateway(|_| {});
    let (mut running, first) = keep(&gateway, &["both", "4000", "--external", "5000"]);
    let second = running.event(SOON, "mapped");
    assert_eq!((&first["protocol"], &second["protocol"]), (&json!("udp"), &json!("tcp")));
    assert_eq!((&first["external_port"], &second["external_port"]), (&json!(5000), &json!(5000)));
    running.interrupt();
    let finished = running.finish(SOON);
    assert_eq!(finished.code, Some(0), "{finished}");
    assert_eq!(finished.events("unmapped").count(), 2);
    assert_eq!(gateway.with(|gateway, now| gateway.leases(now).len()), 0);
}

#[test]
fn the_second_of_both_is_asked_for_on_the_port_that_the_first_one_got() {
    let gateway = gateway(|_| {});
    let other = Client::builder().gateway(gateway.address()).announcements(false).build().unwrap();
    other.map(&MapRequest::new(Protocol::Udp, 5_000).external_port(4_000)).unwrap();
    let (mut running, first) = keep(&gateway, &["both", "4000"]);
    let second = running.event(SOON, "mapped");
    assert_eq!((&first["external_port"], &second["external_port"]), (&json!(4001), &json!(4001)));
    running.interrupt();
    let finished = running.finish(SOON);
    assert!(finished.stderr.iter().all(|line| !line.contains("differ")), "{finished}");
}

#[test]
fn both_say_when_their_ports_differ() {
    let gateway = gateway(|_| {});
    let other = Client::builder().gateway(gateway.address()).announcements(false).build().unwrap();
    other.map(&MapRequest::new(Protocol::Tcp, 5_000).external_port(4_000)).unwrap();
    let directory = Directory::new();
    let port_file = directory.file("port");
    let (mut running, _) = keep(&gateway, &["both", "4000", "--port-file", &port_file]);
    running.event(SOON, "mapped");
    eventually("both ports are in the file", || read(&port_file) == "4000\n4001\n");
    running.interrupt();
    let finished = running.finish(SOON);
    let warning = "warning: the external ports differ: 4000 for UDP, 4001 for TCP";
    assert!(finished.stderr.iter().any(|line| line == warning), "{finished}");
}

/// C21
#[test]
fn an_address_that_the_internet_cannot_reach_is_warned_of() {
    let gateway = gateway(|_| {});
    gateway.with(|gateway, now| gateway.change_address(now, Some([100, 64, 0, 1].into())));
    let mut running = start(&gateway, &["keep", "udp", "4000"]);
    running.line(SOON, |line| line == "udp 4000 is open at 100.64.0.1:4000");
    running.interrupt();
    let finished = running.finish(SOON);
    assert_eq!(finished.code, Some(0), "{finished}");
    let warnings = finished.stderr.iter().filter(|line| line.contains("100.64.0.1 is shared"));
    assert_eq!(warnings.count(), 1, "{finished}");
}

/// The question for the address comes first, and must not keep the mapping from being asked for for ever.
#[test]
fn a_gateway_that_never_says_its_address_maps_all_the_same() {
    let gateway = Scripted::start(granted);
    let arguments = ["keep", "udp", "4000", "--timeout", "0.2", "--json"];
    let mut running = Running::spawn(command(gateway.address(), &arguments));
    assert_eq!(running.event(SOON, "mapped")["external_port"], 4000);
    running.interrupt();
    assert_eq!(running.finish(SOON).code, Some(0));
}

/// The port alone is no endpoint.
#[test]
fn an_address_that_is_learned_after_the_mapping_is_told_with_it() {
    let gateway = gateway(|faults| faults.refuse_address = Some(3));
    let mut running = start(&gateway, &["keep", "udp", "4000", "--refresh-interval", "1"]);
    running.line(SOON, |line| line == "udp 4000 is open at port 4000");
    turn(&gateway, |faults| faults.refuse_address = None);
    // After a restart the address is asked for anew.
    gateway.with(|gateway, now| gateway.restart(now));
    let reported = "udp 4000 is open at 11.22.33.44:4000";
    eventually("the endpoint is reported", || running.complaints().iter().any(|line| line == reported));
}

/// C23
#[test]
fn internal_port_0_is_kept_and_left_to_lapse() {
    for answers in [Vpn::AnswersMapped, Vpn::AnswersZero] {
        let gateway = gateway(|faults| *faults = Faults::vpn(answers));
        let (mut running, mapped) = keep(&gateway, &["both", "0", "--external", "1", "--lifetime", "60"]);
        assert_eq!((&mapped["internal_port"], &mapped["lifetime"]), (&json!(0), &json!(60)));
        running.event(SOON, "mapped");
        running.terminate();
        let finished = running.finish(SOON);
        assert_eq!(finished.code, Some(0), "{finished}");
        let lapsing: Vec<_> = finished.events("lapsing").collect();
        let expected = ["udp", "tcp"].map(|protocol| {
            let asked = gateway.address().to_string();
            json!({ "event": "lapsing", "protocol": protocol, "internal_port": 0, "lifetime": 60, "gateway": asked })
        });
        assert_eq!(lapsing, expected, "{finished}");
        assert_eq!(deletions(&gateway), []);
        assert_eq!(gateway.with(|gateway, now| gateway.leases(now).len()), 2);
    }
    let gateway = gateway(|faults| *faults = Faults::vpn(Vpn::AnswersMapped));
    let mut running = start(&gateway, &["keep", "udp", "0", "--external", "1"]);
    running.line(SOON, |line| line.starts_with("udp 0 is open at "));
    running.interrupt();
    let finished = running.finish(SOON);
    assert!(finished.stdout.iter().any(|line| line.contains("left to lapse")), "{finished}");
}

/// Whoever read the port has enough: there is nobody to keep it for.
#[test]
fn a_reader_that_goes_away_ends_it_and_the_mapping() {
    let gateway = gateway(|_| {});
    let mut child = command(gateway.address(), &["keep", "udp", "4000", "--refresh-interval", "1", "--json"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.starts_with('{'), "{line}");
    // Its standard output is closed from here on.
    assert!(wait_until(SOON, || child.try_wait().unwrap().is_some()), "it goes on for nobody");
    let ended = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert!(!text.contains("panicked"), "{text}");
    assert_eq!(ended.status.code(), Some(0), "{text}");
    assert_eq!(lease(&gateway, Protocol::Udp, 4_000), None);
}

#[test]
fn a_one_shot_whose_output_is_closed_does_not_panic() {
    let gateway = gateway(|_| {});
    let address = gateway.address();
    for arguments in
        [&["external-address"][..], &["map", "udp", "4000"], &["gateway"], &["man"], &["completions", "zsh"]]
    {
        // The shell's `exec >&-` closes standard output before the command starts; a full device fails every write.
        for shell in ["exec >&-; exec \"$@\"", "exec >/dev/full; exec \"$@\""] {
            let mut natpmp = Command::new("sh");
            natpmp.args(["-c", shell, "sh", NATPMP]).args(arguments).args(["--gateway", &address.to_string()]);
            let output = natpmp.output().unwrap();
            let text = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(!text.contains("panicked") && output.status.code().is_some_and(|code| code < 100), "{text}");
        }
    }
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let gateway = gateway(|_| {});
    let (running, _) = keep(&gateway, &["udp", "4000"]);
    turn(&gateway, |faults| faults.reach = Reach::Silent);
    running.interrupt();
    eventually("the deletion is sent", || !deletions(&gateway).is_empty());
    // The deletion is answered by nobody, and waited for.
    running.interrupt();
    let finished = running.finish(SOON);
    assert_eq!(finished.code, Some(1), "{finished}");
    assert_eq!(finished.events("failed").count(), 0, "it did not wait for the end");
}

/// C03, C25
#[test]
fn a_silent_gateway_is_tried_for_the_timeout_and_again() {
    let gateway = gateway(|faults| faults.reach = Reach::Silent);
    let mut running = start(&gateway, &["keep", "udp", "4000", "--timeout", "0.2", "--json"]);
    let reported = running.event(SOON, "retrying");
    assert!(reported["error"].as_str().is_some_and(|error| error.contains("does not answer")), "{reported}");
    turn(&gateway, |faults| faults.reach = Reach::Open);
    running.event(SOON, "mapped");
    running.interrupt();
    assert_eq!(running.finish(SOON).code, Some(0));
}

#[test]
fn a_person_is_told_of_each_trouble_once() {
    let gateway = gateway(|faults| faults.refuse_map = Some(2));
    let running = start(&gateway, &["keep", "udp", "4000"]);
    let asked = || requests(&gateway).iter().filter(|request| matches!(request, Request::Map { .. })).count();
    eventually("it was refused twice", || asked() >= 2);
    running.interrupt();
    let finished = running.finish(SOON);
    assert_eq!(finished.stderr.iter().filter(|line| line.ends_with("; trying on")).count(), 1, "{finished}");
}

#[test]
fn verbose_says_what_goes_over_the_wire() {
    let gateway = gateway(|_| {});
    let mut running = start(&gateway, &["keep", "udp", "4000", "-v"]);
    running.line(SOON, |line| line.starts_with("udp 4000 is open at "));
    running.interrupt();
    let finished = running.finish(SOON);
    assert!(finished.stderr.iter().any(|line| line.contains(&format!("to {}", gateway.address()))), "{finished}");
    assert!(finished.stderr.iter().any(|line| line.contains(&format!("from {}", gateway.address()))), "{finished}");
    assert_eq!(finished.stdout.len(), 2, "results only\n{finished}");
}
