//! A gateway that restarts and forgets everything, and the announcements that tell of it.

use std::time::{Duration, Instant};

use natpmp_lab::{Lab, Protocol, echo, wait_until};

use super::{SOON, keep, start};

/// C10, C18, C19: the epoch starts again from 0.
#[test]
fn kept_mappings_are_back_within_six_seconds_of_a_restart() {
    kept_mappings_are_back_within_six_seconds_of_a_restart_that_loses_them(false);
}

/// The epoch is the machine's uptime and goes on as if nothing had happened: the announcement alone tells.
#[test]
fn kept_mappings_are_back_within_six_seconds_of_a_restart_that_the_epoch_hides() {
    kept_mappings_are_back_within_six_seconds_of_a_restart_that_loses_them(true);
}

/// C09: two programs on one host hear the same announcement.
fn kept_mappings_are_back_within_six_seconds_of_a_restart_that_loses_them(system_uptime: bool) {
    let Some(lab) = Lab::or_skip() else { return };
    let mut gateway = lab.miniupnpd().system_uptime(system_uptime).start();
    let kept = [(Protocol::Udp, "udp", 4000), (Protocol::Tcp, "tcp", 4001)];
    let _echoes = kept.map(|(protocol, _, port)| echo(lab.client(), protocol, port));
    let mut running = kept.map(|(_, name, port)| keep(lab.client(), &[name, &port.to_string()]).0);
    let open = || kept.iter().filter(|&&(protocol, _, port)| lab.leads_to_client(protocol, port)).count();
    assert_eq!(open(), 2);

    gateway.stop();
    lab.router().forget_mappings();
    assert_eq!(open(), 0);
    let restarted = Instant::now();
    gateway.start();
    let back = wait_until(Duration::from_secs(6), || lab.router().mappings().len() == 2);
    let took = restarted.elapsed();
    assert!(back && took < Duration::from_secs(6), "{took:?}");
    assert_eq!(open(), 2, "on the ports they had");
    assert!(running.iter_mut().all(natpmp_lab::Running::is_running));
}

/// The daemon may be gone for a while: nothing is asked of it meanwhile that would end the keep, and it is heard when it is back.
#[test]
fn a_mapping_whose_renewal_found_nobody_comes_back_with_the_gateway() {
    let Some(lab) = Lab::or_skip() else { return };
    let mut gateway = lab.miniupnpd().start();
    let _echo = echo(lab.client(), Protocol::Udp, 4000);
    let (mut kept, _) = keep(lab.client(), &["udp", "4000", "--lifetime", "4"]);
    gateway.crash();
    lab.router().forget_mappings();
    assert!(kept.event(SOON, "retrying")["error"].is_string());
    gateway.start();
    assert!(wait_until(SOON, || lab.leads_to_client(Protocol::Udp, 4000)));
}

/// C10.
#[test]
fn watch_tells_of_announcements_as_they_come() {
    let Some(lab) = Lab::or_skip() else { return };
    let gateway = lab.miniupnpd().start();
    let mut watch = start(lab.client(), &["watch"]);
    let listens = || {
        let sockets = lab.client().within(|| std::fs::read_to_string("/proc/thread-self/net/udp").unwrap());
        sockets.lines().any(|line| line.contains(":14E6 "))
    };
    assert!(wait_until(SOON, listens), "port 5350");
    gateway.announce();
    let reported = watch.event(SOON, "announcement");
    assert!(reported["gateway"].as_str().is_some_and(|gateway| gateway.starts_with("192.168.1.1")), "{reported}");
    watch.interrupt();
    assert_eq!(watch.finish(SOON).code, Some(0));
}
