//! A mapping that lives as long as the program, and no longer: the examples that keep one, on smol and on tokio.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use natpmp_lab::{Lab, Protocol, Running, echo, wait_until};

use super::{SOON, start};

#[test]
fn on_smol_a_port_is_open_until_enter_ends_the_program() {
    a_port_is_open_until_the_program_ends("keep_mapping", |program| program.type_line(""));
}

#[test]
fn on_smol_a_port_is_open_until_the_input_ends() {
    a_port_is_open_until_the_program_ends("keep_mapping", Running::end_input);
}

#[test]
fn on_tokio_a_port_is_open_until_enter_ends_the_program() {
    a_port_is_open_until_the_program_ends("keep_on_tokio", |program| program.type_line(""));
}

#[test]
fn on_tokio_a_port_is_open_until_the_input_ends() {
    a_port_is_open_until_the_program_ends("keep_on_tokio", Running::end_input);
}

fn a_port_is_open_until_the_program_ends(example: &str, end: fn(&mut Running)) {
    let Some(lab) = Lab::or_skip() else { return };
    let _gateway = lab.miniupnpd().start();
    for (protocol, name) in [(Protocol::Udp, "udp"), (Protocol::Tcp, "tcp")] {
        let _echo = echo(lab.client(), protocol, 4000);
        assert!(!lab.leads_to_client(protocol, 4000));
        let mut program = start(lab.client(), example, &[name, "4000"]);
        program.line(SOON, is(&format!("{name} 4000 is open at 11.22.33.44:4000")));
        assert!(lab.leads_to_client(protocol, 4000));

        end(&mut program);
        let finished = program.finish(SOON);
        assert_eq!(finished.code, Some(0), "{finished}");
        assert_eq!(finished.stdout.last(), Some(&format!("{name} 4000 is unmapped")), "{finished}");
        assert_eq!(lab.router().mappings(), Vec::<String>::new());
        assert!(!lab.leads_to_client(protocol, 4000));
    }
}

#[test]
fn without_arguments_tcp_6881_is_kept_at_the_default_gateway() {
    let Some(lab) = Lab::or_skip() else { return };
    let _gateway = lab.miniupnpd().start();
    for example in ["keep_mapping", "keep_on_tokio"] {
        let mut program = start(lab.client(), example, &[]);
        program.line(SOON, is("asking 192.168.1.1:5351 for tcp 6881"));
        program.line(SOON, is("tcp 6881 is open at 11.22.33.44:6881"));
    }
}

/// C10, C18, C19: the epoch starts again from 0.
#[test]
fn on_smol_a_mapping_is_back_within_six_seconds_of_a_restart() {
    a_mapping_is_back_within_six_seconds_of_a_restart("keep_mapping", false);
}

#[test]
fn on_tokio_a_mapping_is_back_within_six_seconds_of_a_restart() {
    a_mapping_is_back_within_six_seconds_of_a_restart("keep_on_tokio", false);
}

/// The epoch is the machine's uptime and goes on as if nothing had happened: the announcement alone tells.
#[test]
fn on_smol_a_mapping_is_back_within_six_seconds_of_a_restart_that_the_epoch_hides() {
    a_mapping_is_back_within_six_seconds_of_a_restart("keep_mapping", true);
}

#[test]
fn on_tokio_a_mapping_is_back_within_six_seconds_of_a_restart_that_the_epoch_hides() {
    a_mapping_is_back_within_six_seconds_of_a_restart("keep_on_tokio", true);
}

fn a_mapping_is_back_within_six_seconds_of_a_restart(example: &str, is_hidden: bool) {
    let Some(lab) = Lab::or_skip() else { return };
    let mut gateway = lab.miniupnpd().system_uptime(is_hidden).start();
    let _echo = echo(lab.client(), Protocol::Udp, 4000);
    let mut program = start(lab.client(), example, &["udp", "4000"]);
    program.line(SOON, is(OPEN));
    if !is_hidden {
        // Less than 2 s of epoch could be the rounding of two clocks.
        std::thread::sleep(Duration::from_secs(3));
    }

    gateway.stop();
    lab.router().forget_mappings();
    assert!(!lab.leads_to_client(Protocol::Udp, 4000));
    let restarted = Instant::now();
    gateway.start();
    assert!(wait_until(Duration::from_secs(6), || !lab.router().mappings().is_empty()));
    let took = restarted.elapsed();
    assert!(took < Duration::from_secs(6), "{took:?}");
    assert!(lab.leads_to_client(Protocol::Udp, 4000), "on the port it had");

    // A loss that is seen is told, and so is the way back. One that is not changed neither the port nor the address.
    if is_hidden {
        assert_eq!(program.try_line(Duration::from_secs(1), |_| true), None);
    } else {
        program.line(SOON, is("udp 4000 is not open at present"));
        program.line(SOON, is(OPEN));
    }
    program.end_input();
    assert_eq!(program.finish(SOON).code, Some(0));
    assert_eq!(lab.router().mappings(), Vec::<String>::new());
}

/// The gateway announces the new address; nobody asks.
#[test]
fn a_new_external_address_is_told() {
    let Some(lab) = Lab::or_skip() else { return };
    let gateway = lab.miniupnpd().start();
    let mut programs = ["keep_mapping", "keep_on_tokio"].map(|example| start(lab.client(), example, &["udp", "4000"]));
    for program in &mut programs {
        program.line(SOON, is(OPEN));
    }
    lab.router().change_external_address(Ipv4Addr::new(11, 99, 0, 7));
    gateway.announce();
    for program in &mut programs {
        program.line(SOON, is("udp 4000 is open at 11.99.0.7:4000"));
    }
}

/// C04, C25: the gateway's absence is told at once, and only waited for.
#[test]
fn a_gateway_that_comes_later_is_waited_for() {
    let Some(lab) = Lab::or_skip() else { return };
    let _echo = echo(lab.client(), Protocol::Udp, 4000);
    let mut program = start(lab.client(), "keep_mapping", &["udp", "4000"]);
    program.line(Duration::from_secs(1), |line| line.ends_with("(port unreachable)"));
    let _gateway = lab.miniupnpd().start();
    program.line(SOON, is(OPEN));
    assert!(lab.leads_to_client(Protocol::Udp, 4000));
}

/// C25: a refusal is not the end either; the administrator may change their mind.
#[test]
fn a_refusal_is_told_and_outlived() {
    let Some(lab) = Lab::or_skip() else { return };
    let mut refusing = lab.miniupnpd().deny_all().start();
    let mut program = start(lab.client(), "keep_mapping", &["udp", "4000"]);
    program.line(SOON, |line| line.contains("the gateway refused"));
    refusing.stop();
    let _gateway = lab.miniupnpd().start();
    program.line(SOON, is(OPEN));
}

#[test]
fn a_program_whose_gateway_is_gone_says_so_and_ends_in_time() {
    let Some(lab) = Lab::or_skip() else { return };
    let _gateway = lab.miniupnpd().start();
    for example in ["keep_mapping", "keep_on_tokio"] {
        lab.router().let_requests_through();
        let mut program = start(lab.client(), example, &["udp", "4000"]);
        program.line(SOON, is(OPEN));
        lab.router().drop_requests();
        let ended = Instant::now();
        program.end_input();
        let finished = program.finish(SOON);
        assert_eq!(finished.code, Some(1), "{finished}");
        assert!(ended.elapsed() < Duration::from_secs(4), "{finished}");
        assert!(finished.stderr.iter().any(|line| line.contains("NoAnswer")), "{finished}");
    }
}

fn is(expected: &str) -> impl Fn(&str) -> bool + '_ {
    move |line| line == expected
}

const OPEN: &str = "udp 4000 is open at 11.22.33.44:4000";
