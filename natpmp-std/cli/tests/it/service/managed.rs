//! The units, run by a real systemd with all of their restrictions: real clients, a real `miniupnpd`, real NAT.

use natpmp_lab::{Protocol, echo};

use super::machine::{Machine, lab_or_skip};
use super::{eventually, files};

/// The whole life of a service: waiting, open, restarted, crashed, stopped.
#[test]
fn systemd_starts_the_keeper_when_its_port_is_open_and_ends_it_with_its_mapping() {
    let Some(lab) = lab_or_skip() else { return };
    let Some(machine) = Machine::boot_or_skip(&lab, lab.client(), &[("/etc/natpmp/vpn.conf", CONFIGURATION)]) else {
        return;
    };
    let _echo = echo(lab.client(), Protocol::Udp, 4000);
    machine.systemctl(&["start", "--no-block", UNIT]);
    machine.awaits(UNIT, "StatusText", |text| text.starts_with("udp 4000: "));
    assert_eq!(machine.property(UNIT, "ActiveState"), "activating");
    assert_eq!(machine.run(&["cat", PORT_FILE]), (true, String::new()));

    let _gateway = lab.miniupnpd().start();
    machine.awaits(UNIT, "ActiveState", |state| state == "active");
    machine.awaits(UNIT, "StatusText", |text| text == "udp 4000 is open at 11.22.33.44:5000");
    assert!(lab.leads_to_client(Protocol::Udp, 5000));
    // Anybody may read it.
    let nobody = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "cat", PORT_FILE];
    assert_eq!(machine.run(&nobody), (true, "5000".to_owned()));

    machine.systemctl(&["restart", UNIT]);
    assert!(lab.leads_to_client(Protocol::Udp, 5000));
    machine.systemctl(&["kill", "--signal=KILL", UNIT]);
    machine.awaits(UNIT, "NRestarts", |count| count == "1");
    machine.awaits(UNIT, "ActiveState", |state| state == "active");
    assert!(lab.leads_to_client(Protocol::Udp, 5000));

    machine.systemctl(&["stop", UNIT]);
    assert_eq!(machine.property(UNIT, "Result"), "success");
    assert_eq!(machine.property(UNIT, "ActiveState"), "inactive");
    assert_eq!(lab.router().mappings(), Vec::<String>::new());
    assert!(!machine.run(&["cat", PORT_FILE]).0, "the port file is gone");
}

#[test]
fn under_systemd_the_keeper_has_no_privilege() {
    let Some(lab) = lab_or_skip() else { return };
    let _gateway = lab.miniupnpd().start();
    let Some(machine) = Machine::boot_or_skip(&lab, lab.client(), &[("/etc/natpmp/vpn.conf", WITH_HOOK)]) else {
        return;
    };
    machine.systemctl(&["start", UNIT]);
    let user: u32 = machine.status(UNIT, "Uid").split_whitespace().next().unwrap().parse().unwrap();
    assert_ne!(user, 0);
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(machine.status(UNIT, set), "0000000000000000", "{set}");
    }
    assert_eq!(machine.status(UNIT, "NoNewPrivs"), "1");
    assert_eq!(machine.status(UNIT, "Seccomp"), "2", "a filter");
    let files = format!("--mount=/proc/{}/ns/mnt", machine.property(UNIT, "MainPID"));
    let writes = |file: &str| machine.run(&["nsenter", &files, "--", "touch", file]);
    for file in ["/etc/new", "/var/lib/new", "/usr/local/bin/new"] {
        assert!(writes(file).1.ends_with("Read-only file system"), "{file}: {:?}", writes(file));
    }
    assert_eq!(writes("/run/natpmp/vpn/new"), (true, String::new()));
    // The hook may do as much: it was started as one command, and has left its word.
    eventually("the hook has run", || machine.run(&["cat", "/run/natpmp/vpn/reported"]).1 == "4000 is at 5000");
}

/// A VPN that is down is no reason for a machine not to come up.
#[test]
fn a_keeper_that_waits_does_not_hold_up_the_boot() {
    let Some(lab) = lab_or_skip() else { return };
    let Some(machine) = Machine::boot_or_skip(&lab, lab.client(), &[("/etc/natpmp/vpn.conf", CONFIGURATION)]) else {
        return;
    };
    machine.systemctl(&["enable", UNIT]);
    machine.systemctl(&["start", "--no-block", "multi-user.target"]);
    machine.awaits("multi-user.target", "ActiveState", |state| state == "active");
    machine.awaits(UNIT, "ActiveState", |state| state == "activating");
    let _gateway = lab.miniupnpd().start();
    machine.awaits(UNIT, "ActiveState", |state| state == "active");
}

#[test]
fn options_that_are_wrong_are_not_tried_again() {
    let Some(lab) = lab_or_skip() else { return };
    let Some(machine) = Machine::boot_or_skip(&lab, lab.client(), &[("/etc/natpmp/vpn.conf", "ARGS=udp 99999\n")])
    else {
        return;
    };
    assert!(!machine.try_systemctl(&["start", UNIT]).0);
    assert_eq!(machine.property(UNIT, "ActiveState"), "failed");
    assert_eq!(machine.property(UNIT, "ExecMainStatus"), "2");
    assert_eq!(machine.property(UNIT, "NRestarts"), "0");
}

/// As the README has it: one that needs the port, and one that is told of each.
#[test]
fn the_services_of_the_readme_get_the_port() {
    let Some(lab) = lab_or_skip() else { return };
    let units = files::blocks("ini");
    let named = |name: &str| -> (String, &str) {
        let unit = units.iter().find(|unit| unit.starts_with(&format!("# {name}\n")));
        (format!("/etc/systemd/system/{name}"), unit.unwrap_or_else(|| panic!("the README has no {name}")))
    };
    let installed = ["my-server.service", "port-changed.path", "port-changed.service"].map(named);
    let program = "#!/bin/sh\nread -r port < /run/natpmp/vpn/port\necho \"$port\" >> /run/${0##*/}\n";
    let mut files: Vec<(&str, &str)> = installed.iter().map(|(path, text)| (&path[..], *text)).collect();
    files.push(("/etc/natpmp/vpn.conf", CONFIGURATION));
    files.push(("/usr/local/bin/my-server", program));
    files.push(("/usr/local/bin/set-port", program));
    let Some(machine) = Machine::boot_or_skip(&lab, lab.client(), &files) else { return };
    machine.run(&["chmod", "755", "/usr/local/bin/my-server", "/usr/local/bin/set-port"]);
    let read = |program: &str| machine.run(&["cat", &format!("/run/{program}")]).1;

    machine.systemctl(&["start", "port-changed.path"]);
    machine.systemctl(&["start", "--no-block", "my-server.service"]);
    machine.awaits(UNIT, "StatusText", |text| text.starts_with("udp 4000: "));
    assert_eq!(machine.property("my-server.service", "ActiveState"), "inactive", "it waits");
    let _gateway = lab.miniupnpd().start();
    eventually("it is started with the port", || read("my-server") == "5000");
    eventually("the other one runs with the port", || read("set-port").lines().any(|line| line == "5000"));
}

#[test]
fn systemd_runs_the_gateway_with_one_privilege_and_it_keeps_its_mappings() {
    let Some(lab) = lab_or_skip() else { return };
    let router = lab.router();
    // The gateway makes mappings, and leaves it to the box what it forwards.
    router.nft("insert rule inet filter forward ct status dnat accept");
    let unit = "natpmp-serve@home.service";
    let configuration = "ARGS=--internal lan0 --external wan0\n";
    let Some(machine) = Machine::boot_or_skip(&lab, router.host(), &[("/etc/natpmp/home.conf", configuration)]) else {
        return;
    };
    machine.systemctl(&["start", unit]);
    machine.awaits(unit, "StatusText", |text| text == "serving NAT-PMP on 192.168.1.1:5351");
    assert_eq!(machine.status(unit, "CapEff"), "0000000000001000", "CAP_NET_ADMIN alone");
    assert_eq!(machine.status(unit, "CapBnd"), "0000000000001000");
    assert!(!machine.status(unit, "Uid").starts_with("0\t"));

    let _echo = echo(lab.client(), Protocol::Tcp, 4000);
    let mapped = lab.client().spawn(super::NATPMP, &["map", "tcp", "4000", "--external", "5000"]).finish(super::SOON);
    assert_eq!(mapped.code, Some(0), "{mapped}");
    assert!(lab.leads_to_client(Protocol::Tcp, 5000));
    machine.systemctl(&["restart", unit]);
    eventually("it is taken up again", || lab.leads_to_client(Protocol::Tcp, 5000));
    machine.systemctl(&["stop", unit]);
    assert_eq!(machine.property(unit, "Result"), "success");
    assert!(!lab.leads_to_client(Protocol::Tcp, 5000));
}

const UNIT: &str = "natpmp-keep@vpn.service";
const PORT_FILE: &str = "/run/natpmp/vpn/port";
const WITH_HOOK: &str = "ARGS=\"udp 4000 --external 5000 --interface eth0 \
    --on-change 'echo $NATPMP_INTERNAL_PORT is at $NATPMP_EXTERNAL_PORT > /run/natpmp/vpn/reported'\"\n";
const CONFIGURATION: &str = "ARGS=udp 4000 --external 5000 --interface eth0\n";
