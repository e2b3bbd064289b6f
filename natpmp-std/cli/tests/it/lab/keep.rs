//! `natpmp keep`: a mapping that lives as long as the command, and no longer.

use std::time::Duration;

use natpmp_lab::{Lab, Protocol, Running, echo, wait_until};

use super::{SOON, keep, start};

#[test]
fn interrupting_keep_deletes_the_mapping_and_succeeds() {
    stopping_keep_deletes_the_mapping_and_succeeds(Running::interrupt);
}

#[test]
fn terminating_keep_deletes_the_mapping_and_succeeds() {
    stopping_keep_deletes_the_mapping_and_succeeds(Running::terminate);
}

fn stopping_keep_deletes_the_mapping_and_succeeds(stop: fn(&Running)) {
    let Some(lab) = Lab::or_skip() else { return };
    let _gateway = lab.miniupnpd().start();
    let _echo = echo(lab.client(), Protocol::Tcp, 4000);
    let (kept, mapped) = keep(lab.client(), &["tcp", "4000", "--external", "5000"]);
    assert_eq!(mapped["external_port"], 5000);
    assert!(lab.leads_to_client(Protocol::Tcp, 5000));
    stop(&kept);
    let finished = kept.finish(SOON);
    assert_eq!(finished.code, Some(0), "{finished}");
    assert_eq!(finished.event("unmapped")["internal_port"], 4000);
    assert_eq!(lab.router().mappings(), Vec::<String>::new());
    assert!(!lab.leads_to_client(Protocol::Tcp, 5000));
}

#[test]
fn keep_both_holds_two_mappings_and_leaves_none() {
    let Some(lab) = Lab::or_skip() else { return };
    let _gateway = lab.miniupnpd().start();
    let (mut kept, first) = keep(lab.client(), &["both", "4000"]);
    let second = kept.event(SOON, "mapped");
    assert_ne!(first["protocol"], second["protocol"]);
    assert_eq!(first["external_port"], second["external_port"]);
    assert_eq!(lab.router().mappings().len(), 2);
    kept.interrupt();
    assert_eq!(kept.finish(SOON).code, Some(0));
    assert_eq!(lab.router().mappings(), Vec::<String>::new());
}

/// C12, C13: renewed on the same port before the lease ends, again and again, so that no packet finds it closed.
#[test]
fn packets_go_through_without_a_gap_for_several_leases() {
    let Some(lab) = Lab::or_skip() else { return };
    let _gateway = lab.miniupnpd().start();
    let _echo = echo(lab.client(), Protocol::Udp, 4000);
    let (mut kept, _) = keep(lab.client(), &["udp", "4000", "--lifetime", "4"]);
    let mut asked = 0;
    while asked < 3 {
        assert!(lab.leads_to_client(Protocol::Udp, 4000));
        if let Some(renewed) = kept.try_event(Duration::from_millis(100), "renewed") {
            assert_eq!(renewed["external_port"], 4000);
            asked += 1;
        }
        assert!(kept.age() < Duration::from_secs(15), "renewed too rarely");
    }
    assert!(kept.age() > Duration::from_secs(4), "renewed too often");
}

#[test]
fn an_interval_of_the_users_own_replaces_half_of_the_lease() {
    let Some(lab) = Lab::or_skip() else { return };
    let _gateway = lab.miniupnpd().start();
    let (mut kept, _) = keep(lab.client(), &["udp", "4000", "--refresh-interval", "1"]);
    for _ in 0..2 {
        kept.event(Duration::from_secs(4), "renewed");
    }
}

/// C25: the gateway's absence is told, and only waited for.
#[test]
fn keep_started_before_the_gateway_waits_for_it_and_maps() {
    let Some(lab) = Lab::or_skip() else { return };
    let _echo = echo(lab.client(), Protocol::Udp, 4000);
    let mut kept = start(lab.client(), &["keep", "udp", "4000"]);
    assert!(kept.event(SOON, "retrying")["error"].is_string());
    let _gateway = lab.miniupnpd().start();
    assert_eq!(kept.event(SOON, "mapped")["external_port"], 4000);
    assert!(lab.leads_to_client(Protocol::Udp, 4000));
}

/// C25: so it is with a network that comes up later, as at boot.
#[test]
fn keep_started_before_the_default_route_waits_for_it_and_maps() {
    let Some(lab) = Lab::or_skip() else { return };
    let _gateway = lab.miniupnpd().start();
    let _echo = echo(lab.client(), Protocol::Udp, 4000);
    lab.client().ip(&["route", "delete", "default"]);
    let mut kept = start(lab.client(), &["keep", "udp", "4000"]);
    assert!(kept.event(SOON, "retrying")["error"].as_str().is_some_and(|error| error.contains("default route")));
    let router = lab.router().host().address().to_string();
    lab.client().ip(&["route", "add", "default", "via", &router]);
    assert_eq!(kept.event(SOON, "mapped")["external_port"], 4000);
    assert!(lab.leads_to_client(Protocol::Udp, 4000));
}

/// C25: a refusal is not the end either; the administrator may change their mind.
#[test]
fn keep_outlives_a_refusal() {
    let Some(lab) = Lab::or_skip() else { return };
    let mut refusing = lab.miniupnpd().deny_all().start();
    let mut kept = start(lab.client(), &["keep", "udp", "4000"]);
    let reported = kept.event(SOON, "retrying");
    assert!(reported["error"].as_str().is_some_and(|error| error.contains("result 2")), "{reported}");
    refusing.stop();
    let _gateway = lab.miniupnpd().start();
    kept.event(SOON, "mapped");
}

/// C03: the requests of a keep go on through a silence.
#[test]
fn keep_behind_a_silent_router_maps_when_the_silence_ends() {
    let Some(lab) = Lab::or_skip() else { return };
    let _gateway = lab.miniupnpd().start();
    lab.router().drop_requests();
    let mut kept = start(lab.client(), &["keep", "udp", "4000"]);
    assert!(kept.try_event(Duration::from_secs(1), "mapped").is_none());
    assert!(kept.is_running());
    lab.router().let_requests_through();
    kept.event(SOON, "mapped");
}

/// C27: a host that sleeps through its lease wakes up and has it again.
#[test]
fn a_lease_that_ended_while_the_host_slept_is_back_when_it_wakes() {
    let Some(lab) = Lab::or_skip() else { return };
    let _gateway = lab.miniupnpd().start();
    let _echo = echo(lab.client(), Protocol::Udp, 4000);
    let (kept, _) = keep(lab.client(), &["udp", "4000", "--lifetime", "3"]);
    kept.suspend();
    assert!(wait_until(SOON, || lab.router().mappings().is_empty()), "the lease ends meanwhile");
    kept.resume();
    assert!(wait_until(Duration::from_secs(3), || lab.leads_to_client(Protocol::Udp, 4000)));
}

#[test]
fn keep_gives_up_the_deletion_in_time_when_the_gateway_is_gone() {
    let Some(lab) = Lab::or_skip() else { return };
    let _gateway = lab.miniupnpd().start();
    let (kept, _) = keep(lab.client(), &["udp", "4000"]);
    lab.router().drop_requests();
    kept.interrupt();
    // It could not be deleted, which is worth saying and not worth waiting for.
    let finished = kept.finish(SOON);
    assert!(finished.code.is_some(), "{finished}");
}
