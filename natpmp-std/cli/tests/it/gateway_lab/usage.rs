//! What `serve` does not take.

use std::process::Command;

use natpmp_lab::{Finished, GATEWAY, Protocol, Running, echo};

use super::packets::{ask, map_udp};
use super::setup::{Nat, Setup};
use super::{NATPMP, SOON};

/// Nothing is started, so that no privileges are needed.
fn serve(arguments: &str) -> Finished {
    let mut command = Command::new(NATPMP);
    command.arg("serve").args(arguments.split_whitespace());
    Running::spawn(command).finish(SOON)
}

#[test]
fn what_makes_no_sense_is_named_and_ends_with_exit_code_2() {
    let good = "--internal 127.0.0.1 --external 127.0.0.1 --backend relay";
    let nine = "--deny-ports 5000 ".repeat(9);
    for (arguments, named) in [
        ("--internal lan0 --external wan0 --backend iptables", "iptables"),
        ("--internal lan0 --external wan0", "--backend"),
        ("--internal lan0 --backend relay", "--external"),
        ("--external wan0 --backend relay", "--internal"),
        (&format!("{good} --ports 0-10"), "0-10"),
        (&format!("{good} --ports 2000-1000"), "2000-1000"),
        (&format!("{good} --ports 1024-65536"), "1024-65536"),
        (&format!("{good} --ports ssh"), "ssh"),
        (&format!("{good} --deny-ports 5000-"), "5000-"),
        (&format!("{good} {nine}"), "denied ports"),
        (&format!("{good} --per-client 0"), "--per-client"),
        (&format!("{good} --max-lifetime 0"), "--max-lifetime"),
        (&format!("{good} --gateway 192.168.1.1"), "--gateway"),
        (&format!("{good} --bind 192.168.1.1"), "--bind"),
        (&format!("{good} --interface eth0"), "--interface"),
        (&format!("{good} --timeout 3"), "--timeout"),
    ] {
        let finished = serve(arguments);
        assert_eq!(finished.code, Some(2), "{arguments}\n{finished}");
        assert!(finished.stderr.iter().any(|line| line.contains(named)), "{arguments}\n{finished}");
        assert!(finished.stdout.is_empty(), "{arguments}\n{finished}");
    }
}

#[test]
fn what_cannot_be_served_is_named_with_exit_code_1() {
    for (arguments, named) in [
        ("--internal nowhere0 --external 127.0.0.1 --backend relay", "nowhere0"),
        ("--internal 192.0.2.1 --external 127.0.0.1 --backend relay", "192.0.2.1"),
    ] {
        let finished = serve(arguments);
        assert_eq!(finished.code, Some(1), "{arguments}\n{finished}");
        assert!(finished.stderr.iter().any(|line| line.contains(named)), "{arguments}\n{finished}");
    }
}

#[test]
fn a_second_gateway_on_the_same_address_is_refused_and_the_first_goes_on() {
    for nat in [Nat::Relay, Nat::Nftables] {
        let Some(setup) = Setup::or_skip(nat, 1, &[]) else { return };
        let _echo = echo(setup.client(0), Protocol::Udp, 4000);
        ask(setup.client(0), GATEWAY, &map_udp(4000, 5000, 600)).unwrap();
        let before = setup.lab.router().rules();
        let second = setup.start_in_vain(&[]);
        assert_eq!(second.code, Some(1), "{second}");
        assert!(second.stderr.iter().any(|line| line.contains("192.168.1.1:5351")), "{second}");
        assert_eq!(setup.lab.router().rules(), before, "{nat:?}: the first one's rules");
        assert!(setup.leads_to(0, Protocol::Udp, 5000), "{nat:?}");
    }
}
