//! What `natpmp keep` does for other programs: a port in a file, and a command run on every change.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use natpmp_lab::{Lab, Protocol, echo, wait_until};

use super::{SOON, keep};

#[test]
fn the_port_file_and_the_hook_know_the_mapping_until_it_is_deleted() {
    let Some(lab) = Lab::or_skip() else { return };
    let _gateway = lab.miniupnpd().start();
    let hook = Hook::writing(&lab);
    let (kept, _) = keep(lab.client(), &with(&hook, &["udp", "4000", "--external", "5000"]));
    assert!(wait_until(SOON, || hook.port() == "5000"), "{hook:?}");
    assert!(
        wait_until(SOON, || hook.has_run_with("mapped udp 4000 5000 11.22.33.44 192.168.1.1")),
        "{:?}",
        hook.runs()
    );
    kept.interrupt();
    assert_eq!(kept.finish(SOON).code, Some(0));
    assert_eq!(hook.port(), "", "the mapping is gone");
}

/// The gateway announces the new address; nobody asks.
#[test]
fn a_new_external_address_reaches_the_hook() {
    let Some(lab) = Lab::or_skip() else { return };
    let gateway = lab.miniupnpd().start();
    let hook = Hook::writing(&lab);
    let (_kept, _) = keep(lab.client(), &with(&hook, &["udp", "4000"]));
    assert!(wait_until(SOON, || hook.has_run_with("11.22.33.44")));
    lab.router().change_external_address(Ipv4Addr::new(11, 99, 0, 7));
    gateway.announce();
    assert!(wait_until(SOON, || hook.has_run_with("udp 4000 4000 11.99.0.7")), "{:?}", hook.runs());
}

/// C19, C24: while this client could not ask, another took its port.
#[test]
fn another_port_after_a_restart_is_a_change_and_not_an_error() {
    let Some(lab) = Lab::or_skip_with(2, &[]) else {
        return;
    };
    let mut gateway = lab.miniupnpd().start();
    let hook = Hook::writing(&lab);
    let _echo = echo(lab.client(), Protocol::Udp, 4000);
    let (mut kept, _) = keep(lab.client(), &with(&hook, &["udp", "4000"]));
    assert!(wait_until(SOON, || hook.port() == "4000"));

    gateway.stop();
    lab.router().forget_mappings();
    let address = lab.client().address();
    lab.router().nft(&format!("add rule inet lab input ip saddr {address} udp dport 5351 drop"));
    gateway.start();
    super::succeed(&lab.clients()[1], &["map", "udp", "4000"]);
    lab.router().let_requests_through();

    let changed = kept.event_where(Duration::from_secs(20), "changed", |event| event["external_port"] != 4000);
    let port = u16::try_from(changed["external_port"].as_u64().unwrap()).unwrap();
    assert!(lab.leads_to_client(Protocol::Udp, port));
    assert!(wait_until(SOON, || hook.port() == port.to_string()), "{hook:?}");
    assert!(
        wait_until(SOON, || hook.has_run_with(&format!("changed udp 4000 {port} 11.22.33.44"))),
        "{:?}",
        hook.runs()
    );
}

#[test]
fn a_hook_that_hangs_does_not_hold_up_renewal() {
    let Some(lab) = Lab::or_skip() else { return };
    let _gateway = lab.miniupnpd().start();
    let hook = Hook::new(&lab, "sleep 1000");
    let (mut kept, _) = keep(lab.client(), &with(&hook, &["udp", "4000", "--refresh-interval", "1"]));
    for _ in 0..2 {
        kept.event(SOON, "renewed");
    }
}

/// A hook that appends what it was told to a file, and the port file beside it.
#[derive(Debug)]
struct Hook {
    script: PathBuf,
    log: PathBuf,
    port_file: PathBuf,
}

impl Hook {
    fn writing(lab: &Lab) -> Self {
        let log = lab.directory().join("hook.log");
        Self::new(
            lab,
            &format!(
                "echo \"$NATPMP_EVENT $NATPMP_PROTOCOL $NATPMP_INTERNAL_PORT $NATPMP_EXTERNAL_PORT \
                 $NATPMP_EXTERNAL_ADDRESS $NATPMP_GATEWAY\" >> {}",
                log.display()
            ),
        )
    }

    fn new(lab: &Lab, line: &str) -> Self {
        let file = |name: &str| lab.directory().join(name);
        let hook = Self { script: file("hook.sh"), log: file("hook.log"), port_file: file("port") };
        // Written by another process: a file that this one holds open for writing, even for a moment, may not be run by a child of another test.
        let written = Command::new("sh")
            .args(["-c", "printf '#!/bin/sh\\n%s\\n' \"$1\" > \"$0\" && chmod 755 \"$0\""])
            .args([hook.script.as_os_str(), line.as_ref()])
            .status()
            .unwrap();
        assert!(written.success());
        hook
    }

    fn port(&self) -> String {
        read(&self.port_file).trim().to_owned()
    }

    fn runs(&self) -> Vec<String> {
        read(&self.log).lines().map(str::to_owned).collect()
    }

    fn has_run_with(&self, words: &str) -> bool {
        self.runs().iter().any(|run| run.contains(words))
    }
}

fn with<'a>(hook: &'a Hook, arguments: &[&'a str]) -> Vec<&'a str> {
    let (script, port_file) = (hook.script.to_str().unwrap(), hook.port_file.to_str().unwrap());
    arguments.iter().copied().chain(["--on-change", script, "--port-file", port_file]).collect()
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}
