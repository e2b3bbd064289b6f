//! The two sides of the gateway: whom it answers, what it announces, and an external address that changes.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::{Duration, Instant};

use natpmp_lab::{GATEWAY, Protocol, echo, wait_until};

use super::SOON;
use super::packets::{EXTERNAL_ADDRESS, ask, is_turned_away, map_udp};
use super::peers::Peer;
use super::setup::{Nat, Setup};

with_each_nat!(
    either_side_can_be_given_by_its_address,
    the_external_side_gets_nothing,
    a_changed_external_address_is_announced_and_mappings_move_with_it,
    without_an_external_address_requests_fail_until_there_is_one_again,
);

fn either_side_can_be_given_by_its_address(nat: Nat) {
    let Some(mut setup) = Setup::empty_or_skip(nat, 1, &["natpmpc"]) else { return };
    let (internal, external) = (GATEWAY.ip().to_string(), setup.lab.external_address().to_string());
    let _echo = echo(setup.client(0), Protocol::Udp, 4000);
    setup.start_between(&internal, &external, &[]);
    assert_eq!(Peer::Natpmpc.external_address(setup.client(0)), Ok(setup.lab.external_address()));
    Peer::Natpmpc.map(setup.client(0), Protocol::Udp, 4000, 5000, 600).unwrap();
    assert!(setup.leads_to(0, Protocol::Udp, 5000));
}

/// G11.
fn the_external_side_gets_nothing(nat: Nat) {
    let Some(setup) = Setup::or_skip(nat, 1, &[]) else { return };
    // The internet would have to know the way.
    let router = setup.lab.external_address().to_string();
    setup.lab.internet().ip(&["route", "add", "192.168.1.0/24", "via", &router]);
    let external = SocketAddrV4::new(setup.lab.external_address(), GATEWAY.port());
    let _echo = echo(setup.client(0), Protocol::Udp, 4000);
    for request in [EXTERNAL_ADDRESS, &map_udp(4000, 5000, 600), &[1, 0], &[0, 99, 0, 0]] {
        for (who, host, to) in [
            ("the internet, to the external address", setup.lab.internet(), external),
            ("the internet, to the internal address", setup.lab.internet(), GATEWAY),
            ("a client, to the external address", setup.client(0), external),
        ] {
            assert!(is_turned_away(host, to, request), "{request:?} from {who}");
        }
        assert!(ask(setup.client(0), GATEWAY, request).is_some(), "{request:?} from a client");
    }
}

/// G06, G05: as often and as far apart as the RFC says, to all hosts, with the epoch of that moment.
#[test]
fn a_start_is_announced_several_times_with_growing_gaps() {
    let Some(mut setup) = Setup::empty_or_skip(Nat::Relay, 1, &[]) else { return };
    let mut watch = setup.watch();
    setup.start(&[]);
    let mut received = Vec::new();
    for _ in 0..5 {
        let reported = watch.event(SOON, "announcement");
        assert_eq!(reported["external_address"], setup.lab.external_address().to_string(), "{reported}");
        assert!(reported["gateway"].as_str().is_some_and(|gateway| gateway.starts_with("192.168.1.1")), "{reported}");
        received.push((Instant::now(), reported["epoch"].as_u64().unwrap()));
    }
    let gaps = received.windows(2).map(|pair| pair[1].0 - pair[0].0);
    for (gap, expected) in gaps.zip([250, 500, 1_000, 2_000]) {
        let late = gap.abs_diff(Duration::from_millis(expected));
        assert!(late < Duration::from_millis(200), "{gap:?} instead of {expected} ms");
    }
    assert_eq!(received[0].1, 0);
    assert!((3..=4).contains(&received[4].1), "{received:?}");
}

/// G06, G18: within 3 s, and nothing is left at the old address.
fn a_changed_external_address_is_announced_and_mappings_move_with_it(nat: Nat) {
    let Some(setup) = Setup::or_skip(nat, 1, &[]) else { return };
    let mut watch = setup.watch();
    let _echo = echo(setup.client(0), Protocol::Udp, 4000);
    let (mut kept, _) = setup.keep(&["udp", "4000"]);
    assert!(setup.leads_to(0, Protocol::Udp, 4000));

    let new: Ipv4Addr = "11.99.0.7".parse().unwrap();
    let changed = Instant::now();
    setup.lab.router().change_external_address(new);
    watch.event_where(SOON, "announcement", |reported| reported["external_address"] == new.to_string());
    assert!(changed.elapsed() < Duration::from_secs(4), "{:?}", changed.elapsed());
    kept.event_where(SOON, "external-address", |reported| reported["external_address"] == new.to_string());
    assert!(wait_until(SOON, || setup.leads_to(0, Protocol::Udp, 4000)), "the mapping is at the new address");
    assert!(kept.try_event(Duration::ZERO, "lost").is_none());
}

/// G04, G18.
fn without_an_external_address_requests_fail_until_there_is_one_again(nat: Nat) {
    let Some(setup) = Peer::Natpmpc.setup_or_skip(nat, 1, &[]) else { return };
    let (client, address) = (setup.client(0), setup.lab.external_address());
    let _echo = echo(client, Protocol::Udp, 4000);
    Peer::Natpmpc.map(client, Protocol::Udp, 4000, 5000, 600).unwrap();
    setup.lab.router().host().ip(&["address", "flush", "dev", "wan0"]);
    assert!(wait_until(SOON, || Peer::Natpmpc.external_address(client) == Err(3)));
    let answer = ask(client, GATEWAY, EXTERNAL_ADDRESS).unwrap();
    assert_eq!((&answer[..4], &answer[8..]), (&[0, 128, 0, 3][..], &[0; 4][..]), "no address is reported");
    // natpmpc itself asks for the address first.
    let answer = ask(client, GATEWAY, &map_udp(4001, 5001, 600)).unwrap();
    assert_eq!((&answer[..4], &answer[8..]), (&[0, 129, 0, 3][..], &[15, 161, 0, 0, 0, 0, 0, 0][..]), "{answer:?}");

    setup.lab.router().change_external_address(address);
    assert!(wait_until(SOON, || Peer::Natpmpc.external_address(client) == Ok(address)));
    assert!(wait_until(SOON, || setup.leads_to(0, Protocol::Udp, 5000)), "its lease has not ended meanwhile");
    assert!(Peer::Natpmpc.map(client, Protocol::Udp, 4001, 5001, 600).is_ok());
}
