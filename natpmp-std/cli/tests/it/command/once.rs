//! The subcommands that ask once and end.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use natpmp_lab::Running;
use natpmp_proto::Protocol;
use natpmp_proto::wire::{Failure, FailureDetail, Refusal, Request, Response};
use natpmp_std::{Client, MapRequest};
use serde_json::json;

use super::{SOON, command, deletions, gateway, json, lease, natpmp, requests};
use natpmp_testkit::scripted::{Scripted, granted};

const NOTHING: &[&str] = &[];

#[test]
fn gateway_prints_the_gateway_and_asks_nobody() {
    let gateway = gateway(|_| {});
    let finished = natpmp(&gateway, &["gateway"]);
    assert_eq!(finished.code, Some(0), "{finished}");
    assert_eq!((finished.stdout, finished.stderr), (vec!["127.0.0.1".to_owned()], vec![]));
    let (_, lines) = json(&gateway, &["gateway"]);
    assert_eq!(lines, [json!({ "event": "gateway", "gateway": gateway.address().to_string() })]);
    assert_eq!(requests(&gateway), []);
}

#[test]
fn external_address_prints_the_address() {
    let gateway = gateway(|_| {});
    let finished = natpmp(&gateway, &["external-address"]);
    assert_eq!(finished.code, Some(0), "{finished}");
    assert_eq!((finished.stdout, finished.stderr), (vec!["11.22.33.44".to_owned()], vec![]));
    let (finished, lines) = json(&gateway, &["external-address"]);
    let expected = json!({
        "event": "external-address",
        "external_address": "11.22.33.44",
        "address_kind": "public",
        "gateway": gateway.address().to_string(),
    });
    assert_eq!(lines, [expected]);
    assert_eq!(finished.stderr, NOTHING);
}

/// C21: ports behind such an address will not be reachable, and it says why.
#[test]
fn an_address_that_the_internet_cannot_reach_is_printed_with_a_warning() {
    let gateway = gateway(|_| {});
    for (address, reason) in [
        ([10, 0, 0, 1], "private"),
        ([192, 168, 7, 1], "private"),
        ([100, 64, 0, 1], "100.64.0.0/10"),
        ([0, 0, 0, 0], "not connected"),
        ([192, 0, 2, 1], "reserved"),
    ] {
        let address = Ipv4Addr::from(address);
        gateway.with(|gateway, now| gateway.change_address(now, Some(address)));
        for arguments in [&["external-address"][..], &["map", "udp", "4000"]] {
            let finished = natpmp(&gateway, arguments);
            assert_eq!(finished.code, Some(0), "{finished}");
            assert!(finished.stdout[0].contains(&address.to_string()), "{finished}");
            let [warning] = &finished.stderr[..] else { panic!("one warning\n{finished}") };
            assert!(warning.contains(&address.to_string()) && warning.contains(reason), "{warning}");
        }
    }
}

#[test]
fn map_makes_one_mapping_and_prints_where() {
    let gateway = gateway(|_| {});
    let finished = natpmp(&gateway, &["map", "udp", "4000"]);
    assert_eq!(finished.code, Some(0), "{finished}");
    assert_eq!(finished.stdout, ["udp 4000 is open at 11.22.33.44:4000 for 7200 s"]);
    assert_eq!(finished.stderr, NOTHING);
    let (finished, lines) = json(&gateway, &["map", "tcp", "4001", "--external", "5000", "--lifetime", "60"]);
    let expected = json!({
        "event": "mapped",
        "protocol": "tcp",
        "internal_port": 4001,
        "external_port": 5000,
        "external_address": "11.22.33.44",
        "lifetime": 60,
        "gateway": gateway.address().to_string(),
    });
    assert_eq!(lines, [expected]);
    assert_eq!(finished.stderr, NOTHING);
    assert_eq!(lease(&gateway, Protocol::Udp, 4_000), Some(4_000));
    assert_eq!(lease(&gateway, Protocol::Tcp, 4_001), Some(5_000));
    assert_eq!(deletions(&gateway), [], "it outlives the command");
}

#[test]
fn a_mapping_whose_address_is_not_known_is_printed_without() {
    let gateway = gateway(|faults| faults.refuse_address = Some(3));
    let finished = natpmp(&gateway, &["map", "udp", "4000"]);
    assert_eq!(finished.code, Some(0), "{finished}");
    assert_eq!(finished.stdout, ["udp 4000 is open at port 4000 for 7200 s"]);
    let (_, lines) = json(&gateway, &["map", "udp", "4000"]);
    assert_eq!(lines[0].get("external_address"), None);
}

#[test]
fn map_both_asks_for_one_port_on_both() {
    let gateway = gateway(|_| {});
    let finished = natpmp(&gateway, &["map", "both", "4000", "--external", "5000"]);
    assert_eq!(finished.code, Some(0), "{finished}");
    let expected =
        ["udp 4000 is open at 11.22.33.44:5000 for 7200 s", "tcp 4000 is open at 11.22.33.44:5000 for 7200 s"];
    assert_eq!(finished.stdout, expected);
    assert_eq!(finished.stderr, NOTHING);
}

#[test]
fn map_both_says_when_the_ports_differ() {
    let gateway = gateway(|_| {});
    let other = Client::builder().gateway(gateway.address()).announcements(false).build().unwrap();
    other.map(&MapRequest::new(Protocol::Tcp, 5_000).external_port(4_000)).unwrap();
    let (finished, lines) = json(&gateway, &["map", "both", "4000"]);
    assert_eq!(finished.code, Some(0), "{finished}");
    let ports: Vec<_> = lines.iter().map(|line| (&line["protocol"], &line["external_port"])).collect();
    assert_eq!(ports, [(&json!("udp"), &json!(4000)), (&json!("tcp"), &json!(4001))]);
    let [warning] = &finished.stderr[..] else { panic!("one warning\n{finished}") };
    assert!(warning.contains("4000 for UDP") && warning.contains("4001 for TCP"), "{warning}");
}

/// The second is asked for on the port that the first one got.
#[test]
fn map_both_follows_the_port_of_the_first() {
    let gateway = gateway(|_| {});
    let other = Client::builder().gateway(gateway.address()).announcements(false).build().unwrap();
    other.map(&MapRequest::new(Protocol::Udp, 5_000).external_port(4_000)).unwrap();
    let finished = natpmp(&gateway, &["map", "both", "4000"]);
    assert_eq!(lease(&gateway, Protocol::Udp, 4_000), Some(4_001));
    assert_eq!(lease(&gateway, Protocol::Tcp, 4_000), Some(4_001));
    assert_eq!(finished.stderr, NOTHING);
}

#[test]
fn map_both_takes_the_first_back_when_the_second_is_refused() {
    let (sender, seen) = std::sync::mpsc::channel();
    let gateway = Scripted::start(move |request| {
        let _ = sender.send(request);
        match request {
            Request::Map { protocol: Protocol::Tcp, internal_port, .. } => {
                let detail = Some(FailureDetail { epoch: 1_000, internal_port: Some(internal_port) });
                Some(Response::Failure(Failure { opcode: 2, refusal: Refusal::OutOfResources, detail }))
            }
            request => granted(request),
        }
    });
    let finished = Running::spawn(command(gateway.address(), &["map", "both", "4000", "--json"])).finish(SOON);
    assert_eq!(finished.code, Some(6), "{finished}");
    assert_eq!(finished.event("failed")["protocol"], "tcp");
    assert_eq!(finished.events("mapped").count(), 0);
    drop(gateway);
    let seen: Vec<_> = seen.iter().collect();
    let map = |protocol, lifetime| Request::Map {
        protocol,
        internal_port: 4_000,
        suggested_external_port: if lifetime == 0 { 0 } else { 4_000 },
        lifetime,
    };
    assert_eq!(seen, [map(Protocol::Udp, 7_200), map(Protocol::Tcp, 7_200), map(Protocol::Udp, 0)]);
}

#[test]
fn what_cannot_be_taken_back_is_said() {
    let gateway = Scripted::start(|request| match request {
        Request::Map { protocol: Protocol::Udp, lifetime: 1.., .. } => granted(request),
        _ => None,
    });
    let arguments = ["map", "both", "4000", "--timeout", "0.3"];
    let finished = Running::spawn(command(gateway.address(), &arguments)).finish(SOON);
    assert_eq!(finished.code, Some(3), "{finished}");
    let warning = &finished.stderr[0];
    assert!(warning.contains("udp stays open at port 4000 for up to 7200 s"), "{finished}");
}

#[test]
fn unmap_deletes_one_mapping_and_says_so() {
    let gateway = gateway(|_| {});
    natpmp(&gateway, &["map", "both", "4000"]);
    let finished = natpmp(&gateway, &["unmap", "udp", "4000"]);
    assert_eq!(finished.code, Some(0), "{finished}");
    assert_eq!(finished.stdout, ["udp 4000 is unmapped"]);
    assert_eq!(finished.stderr, NOTHING);
    assert_eq!(lease(&gateway, Protocol::Udp, 4_000), None);
    assert_eq!(lease(&gateway, Protocol::Tcp, 4_000), Some(4_000));

    // What is not there is as good as deleted.
    let (finished, lines) = json(&gateway, &["unmap", "both", "4000"]);
    assert_eq!(finished.code, Some(0), "{finished}");
    let expected = ["udp", "tcp"].map(|protocol| {
        let gateway = gateway.address().to_string();
        json!({ "event": "unmapped", "protocol": protocol, "internal_port": 4000, "gateway": gateway })
    });
    assert_eq!(lines, expected);
    assert_eq!(lease(&gateway, Protocol::Tcp, 4_000), None);
}

/// C14
#[test]
fn unmap_all_deletes_all_of_one_protocol_and_says_so() {
    let gateway = gateway(|_| {});
    for port in ["4000", "4001"] {
        natpmp(&gateway, &["map", "both", port]);
    }
    let finished = natpmp(&gateway, &["unmap-all", "udp"]);
    assert_eq!(finished.code, Some(0), "{finished}");
    assert_eq!(finished.stdout, ["all udp mappings of this host are unmapped"]);
    assert_eq!(finished.stderr, NOTHING);
    assert_eq!(gateway.with(|gateway, now| gateway.leases(now).len()), 2);
    let (_, lines) = json(&gateway, &["unmap-all", "both"]);
    let expected = ["udp", "tcp"].map(
        |protocol| json!({ "event": "unmapped-all", "protocol": protocol, "gateway": gateway.address().to_string() }),
    );
    assert_eq!(lines, expected);
    assert_eq!(gateway.with(|gateway, now| gateway.leases(now).len()), 0);
}

/// C03: only every third request is answered, 0.75 s after the first. That is enough for two questions, and not for three.
#[test]
fn the_timeout_holds_for_all_questions_together() {
    let gateway = gateway(|faults| faults.answers_every = 3);
    let (finished, lines) = json(&gateway, &["map", "both", "4000", "--timeout", "2"]);
    assert_eq!(finished.code, Some(0), "{finished}");
    assert_eq!(lines.len(), 2);
    assert!(lines.iter().all(|line| line.get("external_address").is_none()), "{finished}");
    // With enough time it is known.
    gateway.with(|gateway, _| gateway.forget_received());
    let (finished, lines) = json(&gateway, &["external-address", "--timeout", "2"]);
    assert_eq!(finished.code, Some(0), "{finished}");
    assert_eq!(lines.len(), 1);
}

#[test]
fn a_silent_gateway_is_given_up_when_the_time_is_over_and_the_error_says_so() {
    let gateway = gateway(|faults| faults.reach = natpmp_testkit::gateway::Reach::Silent);
    let began = Instant::now();
    let finished = natpmp(&gateway, &["map", "both", "4000", "--timeout", "0.6"]);
    let took = began.elapsed();
    assert_eq!(finished.code, Some(3), "{finished}");
    assert!(took >= Duration::from_millis(600) && took < Duration::from_secs(5), "{took:?}");
    assert!(finished.stderr[0].contains("in 0.6 s"), "{finished}");
    assert_eq!(requests(&gateway).len(), 2);
}
