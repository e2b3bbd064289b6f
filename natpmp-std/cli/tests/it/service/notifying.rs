//! What the service manager is notified of.

use std::process::Command;
use std::time::Duration;

use natpmp_lab::{Running, wait_until};
use natpmp_proto::Protocol;
use natpmp_testkit::gateway::{Faults, Gateway, Reach, Served};

use super::manager::Manager;
use super::{Directory, NATPMP, SOON, eventually};

fn gateway(change: impl FnOnce(&mut Faults)) -> Served {
    let mut gateway = Gateway::new();
    change(&mut gateway.faults);
    Served::start(gateway)
}

fn turn(gateway: &Served, change: impl FnOnce(&mut Faults)) {
    gateway.with(|gateway, _| change(&mut gateway.faults));
}

fn keep(gateway: &Served, manager: &str, arguments: &[&str]) -> Running {
    let mut command = Command::new(NATPMP);
    command.arg("keep").args(arguments).args(["--json", "--gateway", &gateway.address().to_string()]);
    command.env("NOTIFY_SOCKET", manager);
    Running::spawn(command)
}

fn is_open(gateway: &Served, protocol: Protocol) -> bool {
    gateway.with(|gateway, now| gateway.lease(now, protocol, 4_000).is_some())
}

#[test]
fn it_is_ready_when_the_port_is_open_and_not_before() {
    let gateway = gateway(|faults| faults.refuse_map = Some(4));
    let directory = Directory::new();
    let mut manager = Manager::at(directory.file("notify"));
    let running = keep(&gateway, &manager.name, &["udp", "4000"]);
    manager.receives_status("udp 4000: the gateway refused: ");
    assert_eq!(manager.count("READY=1"), 0);
    turn(&gateway, |faults| faults.refuse_map = None);
    let reported = manager.receives(|line| line == "READY=1");
    assert!(is_open(&gateway, Protocol::Udp));
    assert!(reported[1].starts_with("STATUS=udp 4000 is open at "), "{reported:?}");
    running.terminate();
    manager.receives(|line| line == "STOPPING=1");
    assert_eq!(running.finish(SOON).code, Some(0));
}

#[test]
fn with_both_it_is_ready_when_both_are_open() {
    let gateway = gateway(|_| {});
    let directory = Directory::new();
    let mut manager = Manager::at(directory.file("notify"));
    let running = keep(&gateway, &manager.name, &["both", "4000"]);
    let reported = manager.receives(|line| line == "READY=1");
    assert!(is_open(&gateway, Protocol::Udp) && is_open(&gateway, Protocol::Tcp));
    assert!(
        reported[1].contains("udp 4000 is open at ") && reported[1].contains("; tcp 4000 is open at "),
        "{reported:?}"
    );
    running.terminate();
    assert_eq!(running.finish(SOON).code, Some(0));
}

/// Systemd takes the word once and for all; other managers need not.
#[test]
fn the_status_follows_loss_and_return_and_readiness_is_said_once() {
    let gateway = gateway(|_| {});
    let directory = Directory::new();
    let mut manager = Manager::at(directory.file("notify"));
    let running = keep(&gateway, &manager.name, &["udp", "4000", "--lifetime", "2"]);
    manager.receives_status("udp 4000 is open at 11.22.33.44:4000");
    turn(&gateway, |faults| faults.refuse_map = Some(4));
    manager.receives_status("is open at 11.22.33.44:4000, not renewed: the gateway refused: ");
    manager.receives_status("udp 4000 is not open: its lease ended");
    turn(&gateway, |faults| faults.refuse_map = None);
    manager.receives_status("udp 4000 is open at 11.22.33.44:4000");
    turn(&gateway, |faults| faults.moves_ports = true);
    manager.receives_status("udp 4000 is open at 11.22.33.44:4001");
    running.terminate();
    assert_eq!(running.finish(SOON).code, Some(0));
    assert_eq!(manager.count("READY=1"), 1);
    assert_eq!(manager.count("STOPPING=1"), 1);
}

#[test]
fn a_status_that_stays_the_same_is_said_once() {
    let gateway = gateway(|_| {});
    let directory = Directory::new();
    let mut manager = Manager::at(directory.file("notify"));
    let mut running = keep(&gateway, &manager.name, &["udp", "4000", "--refresh-interval", "1"]);
    for _ in 0..2 {
        running.event(SOON, "renewed");
    }
    assert_eq!(manager.count("STATUS=udp 4000 is open at 11.22.33.44:4000"), 1);
}

#[test]
fn while_there_is_no_gateway_the_status_says_why() {
    let directory = Directory::new();
    let mut manager = Manager::at(directory.file("notify"));
    let mut command = Command::new(NATPMP);
    command.args(["keep", "udp", "4000", "--interface", "no-such-if"]).env("NOTIFY_SOCKET", &manager.name);
    let running = Running::spawn(command);
    manager.receives_status("waiting for a gateway: no network interface is named ");
    running.terminate();
    manager.receives(|line| line == "STOPPING=1");
    assert_eq!(running.finish(SOON).code, Some(0));
    assert_eq!(manager.count("READY=1"), 0);
}

#[test]
fn a_silent_gateway_is_told_of() {
    let gateway = gateway(|faults| faults.reach = Reach::Silent);
    let directory = Directory::new();
    let mut manager = Manager::at(directory.file("notify"));
    let _running = keep(&gateway, &manager.name, &["udp", "4000", "--timeout", "0.2"]);
    manager.receives_status("asking 127.0.0.1 for udp 4000");
    manager.receives_status("udp 4000: the gateway does not answer; trying on");
}

#[test]
fn a_manager_with_an_abstract_name_is_told_too() {
    let gateway = gateway(|_| {});
    let mut manager = Manager::with_abstract_name(&format!("natpmp-service-{}", std::process::id()));
    let running = keep(&gateway, &manager.name, &["udp", "4000"]);
    manager.receives(|line| line == "READY=1");
    running.terminate();
    manager.receives(|line| line == "STOPPING=1");
    assert_eq!(running.finish(SOON).code, Some(0));
}

#[test]
fn a_manager_that_cannot_be_told_is_worth_one_warning() {
    let gateway = gateway(|_| {});
    let directory = Directory::new();
    for manager in [&directory.file("nobody"), "@natpmp-service-nobody", "neither", "vsock:2:1234"] {
        let mut running = keep(&gateway, manager, &["udp", "4000", "--refresh-interval", "1"]);
        running.event(SOON, "mapped");
        running.event(SOON, "renewed");
        running.terminate();
        let finished = running.finish(SOON);
        assert_eq!(finished.code, Some(0), "{manager}\n{finished}");
        let warnings = finished.stderr.iter().filter(|line| line.contains("service manager"));
        assert_eq!(warnings.count(), 1, "{manager}\n{finished}");
    }
}

/// It is not waited for, and told when it listens again.
#[test]
fn a_manager_that_was_away_is_told_of_readiness_afterwards() {
    let gateway = gateway(|_| {});
    let directory = Directory::new();
    let path = directory.file("notify");
    let mut running = keep(&gateway, &path, &["udp", "4000", "--refresh-interval", "1"]);
    running.event(SOON, "mapped");
    let mut manager = Manager::at(&path);
    manager.receives(|line| line == "READY=1");
    assert_eq!(manager.count("READY=1"), 1);
}

#[test]
fn without_a_manager_nothing_is_said_about_one() {
    let gateway = gateway(|_| {});
    for manager in [None, Some("")] {
        let mut command = Command::new(NATPMP);
        command.args(["keep", "udp", "4000", "--json", "--gateway", &gateway.address().to_string()]);
        command.env_remove("NOTIFY_SOCKET");
        command.envs(manager.map(|name| ("NOTIFY_SOCKET", name)));
        let mut running = Running::spawn(command);
        running.event(SOON, "mapped");
        running.terminate();
        let finished = running.finish(SOON);
        assert_eq!(finished.code, Some(0), "{finished}");
        assert!(finished.stderr.iter().all(|line| !line.contains("manager")), "{finished}");
    }
}

/// It would be heard in the service's name.
#[test]
fn the_hook_does_not_know_of_the_manager() {
    let gateway = gateway(|_| {});
    let directory = Directory::new();
    let manager = Manager::at(directory.file("notify"));
    let log = directory.file("environment");
    let hook = format!("env > {log}.new && mv {log}.new {log}");
    let running = keep(&gateway, &manager.name, &["udp", "4000", "--on-change", &hook]);
    let environment = || std::fs::read_to_string(&log).unwrap_or_default();
    eventually("the hook has run", || environment().contains("NATPMP_EVENT=mapped"));
    assert!(!environment().contains("NOTIFY_SOCKET"), "{}", environment());
    running.terminate();
    assert_eq!(running.finish(SOON).code, Some(0));
}

#[test]
fn a_gateway_is_ready_when_it_serves_and_tells_of_its_end() {
    let directory = Directory::new();
    let mut manager = Manager::at(directory.file("notify"));
    let mut command = Command::new(NATPMP);
    // An address of its own, since the port is always the same.
    command.args(["serve", "--internal", "127.53.51.7", "--external", "127.53.51.8", "--backend", "relay"]);
    let running = Running::spawn({
        command.env("NOTIFY_SOCKET", &manager.name);
        command
    });
    let reported = manager.receives(|line| line == "READY=1");
    assert_eq!(reported[1], "STATUS=serving NAT-PMP on 127.53.51.7:5351");
    let mut client = Command::new(NATPMP);
    client.args(["external-address", "--gateway", "127.53.51.7"]);
    assert!(client.output().unwrap().status.success(), "it serves by then");
    running.terminate();
    manager.receives(|line| line == "STOPPING=1");
    assert_eq!(running.finish(SOON).code, Some(0));
    assert_eq!(manager.count("READY=1"), 1);
}

/// The queue of a manager that hangs is full before long.
#[test]
fn a_manager_that_does_not_read_holds_up_nothing() {
    let gateway = gateway(|_| {});
    let directory = Directory::new();
    let manager = Manager::at(directory.file("notify"));
    let stuffer = std::os::unix::net::UnixDatagram::unbound().unwrap();
    stuffer.set_nonblocking(true).unwrap();
    while stuffer.send_to(b"X_FULL=1\n", &manager.name).is_ok() {}
    let port_file = directory.file("port");
    let running = keep(&gateway, &manager.name, &["udp", "4000", "--port-file", &port_file]);
    let is_written = || std::fs::read_to_string(&port_file).is_ok_and(|port| port == "4000\n");
    assert!(wait_until(Duration::from_secs(6), is_written));
    running.terminate();
    let finished = running.finish(SOON);
    assert_eq!(finished.code, Some(0), "{finished}");
    assert!(!is_open(&gateway, Protocol::Udp));
}
