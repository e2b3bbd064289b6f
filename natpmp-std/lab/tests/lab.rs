//! The lab itself, proved with tools that have nothing to do with this repository.
#![cfg(target_os = "linux")]

use std::net::{Ipv4Addr, UdpSocket};
use std::time::{Duration, Instant};

use natpmp_lab::{Finished, GATEWAY, Host, Lab, Protocol, echo, wait_until};

#[test]
fn a_mapping_made_by_natpmpc_lets_packets_of_both_protocols_through_and_its_deletion_closes_it() {
    let Some(lab) = Lab::or_skip_with(2, &["natpmpc"]) else {
        return;
    };
    let _gateway = lab.miniupnpd().start();
    let client = &lab.clients()[1];
    for (protocol, name) in [(Protocol::Udp, "udp"), (Protocol::Tcp, "tcp")] {
        let _echo = echo(client, protocol, 4000);
        let outside = (lab.external_address(), 4000);
        assert!(!lab.internet().reaches(protocol, outside), "closed before it is mapped");
        assert_eq!(natpmpc(client, &["-a", "4000", "4000", name, "60"]).code, Some(0));
        assert_eq!(lab.internet().who_answers(protocol, outside), Some(client.address()));
        assert_eq!(lab.router().mappings().len(), 1);
        assert_eq!(natpmpc(client, &["-a", "0", "4000", name, "0"]).code, Some(0));
        assert!(!lab.internet().reaches(protocol, outside), "closed after it is deleted");
        assert!(lab.router().mappings().is_empty());
    }
}

#[test]
fn a_client_reaches_the_internet_and_the_internet_does_not_reach_the_client() {
    let Some(lab) = Lab::or_skip() else { return };
    let _echoes = (echo(lab.internet(), Protocol::Udp, 7), echo(lab.client(), Protocol::Udp, 7));
    assert!(lab.client().reaches(Protocol::Udp, (lab.internet().address(), 7)));
    assert!(!lab.internet().reaches(Protocol::Udp, (lab.client().address(), 7)));
}

#[test]
fn a_lease_of_one_second_ends_by_itself() {
    let Some(lab) = Lab::or_skip_with(1, &["natpmpc"]) else {
        return;
    };
    let _gateway = lab.miniupnpd().start();
    natpmpc(lab.client(), &["-a", "4000", "4000", "udp", "1"]);
    assert_eq!(lab.router().mappings().len(), 1);
    assert!(wait_until(Duration::from_secs(5), || lab.router().mappings().is_empty()));
}

#[test]
fn requests_are_dropped_lost_by_halves_refused_or_denied_as_the_test_wants() {
    let Some(lab) = Lab::or_skip_with(1, &["natpmpc"]) else {
        return;
    };
    let client = lab.client();
    let refused = Instant::now();
    assert_ne!(natpmpc(client, &[]).code, Some(0), "nothing listens");
    assert!(refused.elapsed() < Duration::from_millis(200), "port unreachable ends it at once");

    let mut gateway = lab.miniupnpd().start();
    lab.router().lose_every_other_request();
    let answered = natpmpc(client, &[]);
    assert_eq!(answered.code, Some(0));
    assert!(answered.took > Duration::from_millis(200), "{answered}");
    lab.router().drop_requests();
    let mut silent = client.spawn("natpmpc", &[]);
    assert!(!wait_until(Duration::from_millis(900), || !silent.is_running()));
    lab.router().let_requests_through();
    assert_eq!(silent.finish(Duration::from_secs(3)).code, Some(0));

    gateway.stop();
    let _gateway = lab.miniupnpd().deny_all().start();
    let denied = natpmpc(client, &["-a", "4000", "4000", "udp", "60"]);
    println!("{denied}");
    assert_ne!(denied.code, Some(0));
    assert!(lab.router().mappings().is_empty());
}

#[test]
fn the_external_address_changes_and_mappings_are_forgotten_on_demand() {
    let Some(lab) = Lab::or_skip_with(1, &["natpmpc"]) else {
        return;
    };
    let mut gateway = lab.miniupnpd().system_uptime(true).start();
    let says = |address: &str| natpmpc(lab.client(), &[]).stdout.iter().any(|line| line.ends_with(address));
    assert!(says("11.22.33.44"));
    lab.router().change_external_address(Ipv4Addr::new(11, 99, 0, 1));
    assert!(says("11.99.0.1"));
    natpmpc(lab.client(), &["-a", "4000", "4000", "udp", "60"]);
    let _echo = echo(lab.client(), Protocol::Udp, 4000);
    assert!(lab.internet().reaches(Protocol::Udp, (lab.external_address(), 4000)));
    gateway.restart();
    assert_eq!(lab.router().mappings().len(), 1, "a restart leaves the kernel's rules");
    lab.router().forget_mappings();
    assert!(lab.router().mappings().is_empty());
    gateway.crash();
    gateway.start();
    let private = Ipv4Addr::new(10, 0, 0, 1);
    lab.router().change_external_address(private);
    assert!(!says("10.0.0.1"), "a gateway without a public address has none to tell");
}

#[test]
fn nothing_is_left_when_a_test_panics() {
    let Some(probe) = Lab::or_skip() else { return };
    let namespaces = std::panic::catch_unwind(|| {
        let lab = Lab::new(1).unwrap();
        let _gateway = lab.miniupnpd().start();
        let _running = lab.client().spawn("sleep", &["1000"]);
        std::panic::panic_any((lab.client().namespace().to_owned(), lab.directory().to_owned()));
    });
    let (namespace, directory) = *namespaces.unwrap_err().downcast::<(String, std::path::PathBuf)>().unwrap();
    assert!(!std::path::Path::new("/run/netns").join(namespace).exists());
    assert!(!directory.exists());
    assert!(probe.directory().exists());
}

#[test]
fn a_signal_reaches_the_program_itself_and_its_lines_and_objects_are_heard() {
    let Some(lab) = Lab::or_skip() else { return };
    let script =
        r#"trap 'echo {\"event\":\"unmapped\",\"port\":7}; exit 5' INT; echo ready; while :; do sleep 0.01; done"#;
    let mut running = lab.client().spawn("sh", &["-c", script]);
    assert_eq!(running.line(Duration::from_secs(10), |line| line.starts_with("re")), "ready");
    running.interrupt();
    assert_eq!(running.event(Duration::from_secs(10), "unmapped")["port"], 7);
    let finished = running.finish(Duration::from_secs(10));
    assert_eq!(finished.code, Some(5), "{finished}");
}

fn natpmpc(client: &Host, arguments: &[&str]) -> Finished {
    client.spawn("natpmpc", arguments).finish(Duration::from_secs(5))
}

#[test]
fn announcements_of_restarts_and_changes_reach_the_clients() {
    let Some(lab) = Lab::or_skip() else { return };
    let mut gateway = lab.miniupnpd().start();
    let listener = lab.client().within(|| {
        let group = Ipv4Addr::new(224, 0, 0, 1);
        let listener = UdpSocket::bind((group, 5350)).unwrap();
        listener.join_multicast_v4(&group, &lab.client().address()).unwrap();
        listener.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        listener
    });
    let next = || {
        let mut bytes = [0; 64];
        let (length, from) = listener.recv_from(&mut bytes).expect("an announcement");
        assert_eq!(from, GATEWAY.into());
        bytes[..length].to_vec()
    };
    gateway.restart();
    assert_eq!(next()[..2], [2, 128], "a restart is announced in PCP alone");
    gateway.announce();
    let (first, second) = (next(), next());
    assert!([&first, &second].iter().any(|bytes| bytes[..2] == [0, 128] && bytes.len() == 12), "{first:?} {second:?}");
}
