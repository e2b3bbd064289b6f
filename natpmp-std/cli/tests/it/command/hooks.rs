//! `--on-change` and `--port-file`.

use std::fs;
use std::process::Command;

use natpmp_lab::Running;
use natpmp_testkit::gateway::Served;

use super::{Directory, NATPMP, SOON, eventually, gateway, keep, read, turn};

/// C24, C25: through all that can become of a mapping.
#[test]
fn the_hook_and_the_port_file_follow_the_mapping() {
    let gateway = gateway(|_| {});
    let directory = Directory::new();
    let (log, port_file) = (directory.file("log"), directory.file("port"));
    let hook = format!(
        "echo \"$NATPMP_EVENT,$NATPMP_PROTOCOL,$NATPMP_INTERNAL_PORT,$NATPMP_EXTERNAL_PORT,\
         $NATPMP_EXTERNAL_ADDRESS,$NATPMP_GATEWAY\" >> {log}"
    );
    let options = ["--lifetime", "2", "--on-change", &hook, "--port-file", &port_file];
    let (mut running, _) = keep(&gateway, &[&["tcp", "4000"][..], &options].concat());
    eventually("the port is in the file", || read(&port_file) == "4000\n");

    turn(&gateway, |faults| faults.moves_ports = true);
    running.event(SOON, "changed");
    turn(&gateway, |faults| faults.moves_ports = false);
    eventually("the new port is in the file", || read(&port_file) == "4001\n");

    turn(&gateway, |faults| faults.refuse_map = Some(4));
    running.event(SOON, "lost");
    eventually("the file is empty", || fs::read(&port_file).is_ok_and(|content| content.is_empty()));

    turn(&gateway, |faults| faults.refuse_map = None);
    running.event(SOON, "mapped");
    eventually("the port is back in the file", || read(&port_file) == "4001\n");

    running.interrupt();
    let finished = running.finish(SOON);
    assert_eq!(finished.code, Some(0), "{finished}");
    assert_eq!(fs::read(&port_file).unwrap(), b"", "it stays, and is empty");
    let reported: Vec<_> = read(&log).lines().map(str::to_owned).collect();
    let expected = [
        "mapped,tcp,4000,4000,11.22.33.44,127.0.0.1",
        "changed,tcp,4000,4001,11.22.33.44,127.0.0.1",
        "lost,tcp,4000,,11.22.33.44,127.0.0.1",
        "mapped,tcp,4000,4001,11.22.33.44,127.0.0.1",
        "unmapped,tcp,4000,,11.22.33.44,127.0.0.1",
    ];
    assert_eq!(reported, expected);
    assert_eq!(finished.stderr.iter().filter(|line| line.contains("on-change")).count(), 0, "{finished}");
    // What it was replaced from is gone.
    assert_eq!(fs::read_dir(&directory.0).unwrap().count(), 2);
}

#[test]
fn a_new_address_is_a_change_for_the_hook() {
    let gateway = gateway(|_| {});
    let directory = Directory::new();
    let log = directory.file("log");
    let hook = format!("echo \"$NATPMP_EVENT $NATPMP_EXTERNAL_PORT $NATPMP_EXTERNAL_ADDRESS\" >> {log}");
    let (mut running, _) = keep(&gateway, &["udp", "4000", "--refresh-interval", "1", "--on-change", &hook]);
    gateway.with(|gateway, now| gateway.change_address(now, Some([11, 99, 0, 7].into())));
    // A restart is heard at the next renewal, and the address is asked for anew.
    gateway.with(|gateway, now| gateway.restart(now));
    running.event_where(SOON, "external-address", |reported| reported["external_address"] == "11.99.0.7");
    running.interrupt();
    assert_eq!(running.finish(SOON).code, Some(0));
    assert_eq!(read(&log), "mapped 4000 11.22.33.44\nchanged 4000 11.99.0.7\nunmapped  11.99.0.7\n");
}

/// While the first one runs the mapping changes twice, and is renewed.
#[test]
fn hooks_run_one_at_a_time_in_order_and_hold_up_nothing() {
    let gateway = gateway(|faults| faults.moves_ports = true);
    let directory = Directory::new();
    let (log, go, lock) = (directory.file("log"), directory.file("go"), directory.file("lock"));
    let hook = format!(
        "mkdir {lock} || echo overlap >> {log}; while [ ! -e {go} ]; do sleep 0.01; done; \
         echo \"$NATPMP_EVENT $NATPMP_EXTERNAL_PORT\" >> {log}; rmdir {lock}"
    );
    let (mut running, _) = keep(&gateway, &["udp", "4000", "--refresh-interval", "1", "--on-change", &hook]);
    for _ in 0..2 {
        running.event(SOON, "changed");
    }
    turn(&gateway, |faults| faults.moves_ports = false);
    running.event(SOON, "renewed");
    assert_eq!(read(&log), "", "the first one has not ended");
    fs::write(&go, "").unwrap();
    running.interrupt();
    let finished = running.finish(SOON);
    assert_eq!(finished.code, Some(0), "{finished}");
    assert_eq!(read(&log), "mapped 4000\nchanged 4001\nchanged 4002\nunmapped \n");
}

#[test]
fn a_hook_that_fails_or_is_not_there_is_worth_a_warning_only() {
    let gateway = gateway(|_| {});
    for (hook, words) in [("exit 3", "exit status: 3"), ("/no/such/program", "exit status: 127")] {
        let running = opened(&gateway, &["--on-change", hook]);
        running.interrupt();
        let finished = running.finish(SOON);
        assert_eq!(finished.code, Some(0), "{finished}");
        let warnings =
            finished.stderr.iter().filter(|line| line.contains("--on-change command failed") && line.contains(words));
        assert_eq!(warnings.count(), 2, "one when it was mapped, one when it was unmapped\n{finished}");
    }
}

/// Standard output is for results.
#[test]
fn what_a_hook_prints_goes_to_standard_error() {
    let gateway = gateway(|_| {});
    let running = opened(&gateway, &["--on-change", "echo from the hook"]);
    running.interrupt();
    let finished = running.finish(SOON);
    assert!(finished.stderr.iter().any(|line| line == "from the hook"), "{finished}");
    assert!(finished.stdout.iter().all(|line| line.starts_with('{')), "{finished}");
}

/// Whatever the gateway says: the environment carries it, and the shell does not read it.
#[test]
fn the_hook_command_is_run_as_it_was_given() {
    let gateway = gateway(|_| {});
    let directory = Directory::new();
    let file = directory.file("a file; with $(words)");
    let hook = format!("printf '%s' \"$NATPMP_EXTERNAL_PORT\" > '{file}'");
    let running = opened(&gateway, &["--on-change", &hook]);
    eventually("it has run", || read(&file) == "4000");
    running.interrupt();
    assert_eq!(running.finish(SOON).code, Some(0));
}

#[test]
fn a_port_file_that_was_there_is_emptied_first() {
    let gateway = gateway(|faults| faults.refuse_map = Some(2));
    let directory = Directory::new();
    let port_file = directory.file("port");
    fs::write(&port_file, "6000\n").unwrap();
    let mut running = super::start(&gateway, &["keep", "udp", "4000", "--port-file", &port_file, "--json"]);
    running.event(SOON, "retrying");
    assert_eq!(fs::read(&port_file).unwrap(), b"", "there is no mapping yet");
}

/// As containers share one file: it can be written, but nothing can be put in its place.
#[test]
fn a_port_file_that_is_a_mount_point_is_written_in_place() {
    let gateway = gateway(|_| {});
    let directory = Directory::new();
    let (shared, mounted) = (directory.file("shared"), directory.file("mounted"));
    fs::write(&shared, "6000\n").unwrap();
    fs::write(&mounted, "").unwrap();
    let mut unshare = Command::new("unshare");
    unshare.args(["--mount", "--map-root-user", "sh", "-c"]);
    if !unshare.arg("true").status().is_ok_and(|status| status.success()) {
        println!("skipped: no file can be mounted here");
        return;
    }
    let mut unshare = Command::new("unshare");
    unshare.args(["--mount", "--map-root-user", "sh", "-c"]);
    unshare.args(["mount --bind \"$1\" \"$2\" && shift 2 && exec \"$@\"", "sh", &shared, &mounted, NATPMP]);
    unshare.args(["keep", "udp", "4000", "--port-file", &mounted, "--json"]);
    unshare.args(["--gateway", &gateway.address().to_string()]);
    let mut running = Running::spawn(unshare);
    running.event(SOON, "mapped");
    eventually("the port is in the file", || read(&shared) == "4000\n");
    running.interrupt();
    let finished = running.finish(SOON);
    assert_eq!(finished.code, Some(0), "{finished}");
    assert_eq!(fs::read(&shared).unwrap(), b"");
    assert_eq!(fs::read_dir(&directory.0).unwrap().count(), 2, "no other file is left");
}

fn opened(gateway: &Served, options: &[&str]) -> Running {
    keep(gateway, &[&["udp", "4000"], options].concat()).0
}
