//! Limits: the table, the clients, the ports.

use super::*;

/// G23
#[test]
fn no_client_takes_more_than_its_limit_and_the_others_are_served() {
    let mut rig: Rig<16> = Rig::with(Config::new().per_client(3));
    for port in 4000..4003 {
        rig.opens(client(2), &map(UDP, port, port, 600));
    }
    let refused = rig.refused(TCP, 4000, Refusal::OutOfResources);
    assert_eq!(rig.answer(client(2), &map(TCP, 4000, 0, 600)), refused);
    let granted = rig.mapped(UDP, 4000, 4000, 600);
    assert_eq!(rig.answer(client(2), &map(UDP, 4000, 0, 600)), granted, "what it has is renewed");
    rig.opens(client(3), &map(TCP, 4000, 0, 600));
    rig.waits(client(2), &Request::delete(UDP, 4001));
    assert_eq!(rig.settle().len(), 1);
    rig.opens(client(2), &map(TCP, 4000, 0, 600));
}

/// G23: what waits for the NAT counts.
#[test]
fn a_flood_of_requests_before_the_nat_answers_does_not_pass_the_limit() {
    let mut rig: Rig<16> = Rig::with(Config::new().per_client(3));
    for port in 4000..4100 {
        let bytes = map(UDP, port, 0, 600).encode();
        let _ = rig.ask(client(2), &bytes);
    }
    assert_eq!(std::iter::from_fn(|| rig.gateway.poll_nat()).count(), 3);
}

/// G23
#[test]
fn by_default_a_client_has_half_of_the_table_but_no_more_than_64() {
    fn limit<const N: usize>() -> usize {
        let mut rig: Rig<N> = Rig::with(Config::new());
        let taken = (2000..2200).filter(|&port| {
            let bytes = map(UDP, port, 0, 600).encode();
            rig.ask(client(2), &bytes) == Ok(None)
        });
        taken.count()
    }
    assert_eq!([limit::<1>(), limit::<2>(), limit::<16>(), limit::<128>(), limit::<400>()], [1, 1, 8, 64, 64]);
}

/// G10
#[test]
fn a_full_table_is_out_of_resources_until_something_goes() {
    let mut rig: Rig<4> = Rig::with(Config::new().per_client(2));
    for (number, port) in [(2, 4000), (2, 4001), (3, 4000), (3, 4001)] {
        rig.opens(client(number), &map(UDP, port, 0, 600));
    }
    assert_eq!(rig.gateway.len(), rig.gateway.capacity());
    let refused = rig.refused(UDP, 4000, Refusal::OutOfResources);
    assert_eq!(rig.answer(client(4), &map(UDP, 4000, 0, 600)), refused);
    assert!(!rig.gateway.add_static(&nat_mapping_of(client(5), UDP, 80, 80)));
    assert!(matches!(rig.answer(client(2), &map(UDP, 4000, 0, 600)), Response::Map { .. }), "renewals go on");
    rig.waits(client(2), &Request::delete(UDP, 4000));
    let removal = rig.nat();
    assert_eq!(rig.answer(client(4), &map(UDP, 4000, 0, 600)), refused, "not before the NAT has removed it");
    assert!(rig.done(&removal).is_some());
    rig.opens(client(4), &map(UDP, 4000, 0, 600));
}

/// G10
#[test]
fn every_port_of_the_range_is_given_before_they_are_exhausted() {
    let ports = PortRange::new(6000, 6019).unwrap();
    for seed in 0..20 {
        let config = Config::new().ports(ports).deny(PortRange::new(6005, 6009).unwrap()).unwrap().seed(seed);
        let mut rig: Rig<64> = Rig::with(config.per_client(64));
        let mut given: Vec<u16> = (0..15).map(|port| rig.opens(client(2), &map(UDP, 100 + port, 0, 600))).collect();
        given.sort_unstable();
        assert_eq!(given, (6000..=6004).chain(6010..=6019).collect::<Vec<_>>());
        let refused = rig.refused(UDP, 200, Refusal::OutOfResources);
        assert_eq!(rig.answer(client(2), &map(UDP, 200, 6005, 600)), refused);
        let refused = rig.refused(TCP, 200, Refusal::OutOfResources);
        assert_eq!(rig.answer(client(3), &map(TCP, 200, 0, 600)), refused, "companions are reserved");
        rig.opens(client(2), &map(TCP, 200, 0, 600));
    }
}

/// G10
#[test]
fn ports_that_no_client_may_have_are_never_given() {
    let config = Config::new().deny(PortRange::new(5000, 5100).unwrap()).unwrap();
    let mut rig: Rig = Rig::with(config);
    for (port, suggested) in [(4000, 5000), (4001, 5100), (4002, 80), (4003, 1023), (5050, 5050), (80, 80)] {
        let given = rig.opens(client(2), &map(UDP, port, suggested, 600));
        assert!(given >= 1024 && !(5000..=5100).contains(&given), "{given}");
    }
}

#[test]
fn eight_ranges_of_ports_can_be_denied_and_the_ninth_is_an_error() {
    let mut config = Config::new();
    for number in 0..8 {
        config = config.deny(PortRange::new(2000 + number, 2000 + number).unwrap()).unwrap();
    }
    assert_eq!(config.deny(PortRange::new(1, 2).unwrap()), Err(TooManyRanges));
    let mut rig: Rig = Rig::with(config);
    for number in 0..8 {
        let given = rig.opens(client(2), &map(UDP, 100 + number, 2000 + number, 600));
        assert!(!(2000..2008).contains(&given));
    }
}

#[test]
fn a_range_of_ports_is_in_order_and_may_be_all_or_one() {
    assert_eq!(PortRange::new(2, 1), None);
    let one = PortRange::new(7000, 7000).unwrap();
    assert_eq!((one.low(), one.high(), one.contains(7000), one.contains(6999)), (7000, 7000, true, false));
    let mut rig: Rig = Rig::with(Config::new().ports(one));
    assert_eq!(rig.opens(client(2), &map(UDP, 4000, 0, 600)), 7000);
    let all = PortRange::new(0, u16::MAX).unwrap();
    let mut rig: Rig = Rig::with(Config::new().ports(all));
    assert_eq!(rig.opens(client(2), &map(UDP, 4000, 1, 600)), 1);
    assert_eq!(rig.opens(client(2), &map(UDP, 4001, u16::MAX, 600)), u16::MAX);
    let none = PortRange::new(0, 0).unwrap();
    let mut rig: Rig = Rig::with(Config::new().ports(none));
    let refused = rig.refused(UDP, 4000, Refusal::OutOfResources);
    assert_eq!(rig.answer(client(2), &map(UDP, 4000, 0, 600)), refused, "port 0 is no port");
}

/// The largest table there can be, filled by 1,024 clients, emptied by time.
#[test]
fn the_largest_table_is_filled_and_emptied() {
    const N: usize = 65_534;
    static LARGEST: std::sync::Mutex<Gateway<N>> = std::sync::Mutex::new(Gateway::new(Config::new()));
    let mut gateway = LARGEST.lock().unwrap();
    let now = Instant::from_secs(1);
    gateway.start(now, 0);
    gateway.set_external_address(now, Some(ADDRESS));
    while gateway.poll_transmit(now).is_some() {}
    for number in 0..N {
        let [_, _, high, low] = u32::try_from(number / 64).unwrap().to_be_bytes();
        let from = SocketAddrV4::new(Ipv4Addr::new(10, 0, high, low), 50_000);
        // UDP and TCP of the same client share a port, or 64,512 ports would not be enough.
        let port = u16::try_from(1_024 + number / 2).unwrap();
        let request = map(Protocol::ALL[number % 2], port, 0, 600).encode();
        assert_eq!(gateway.handle_datagram(now, SOCKET, from, &request), Ok(()), "{number}");
        assert_eq!(gateway.poll_transmit(now), None, "{number}");
        let asked = gateway.poll_nat().unwrap();
        gateway.handle_nat(now, &asked, Ok(()));
        assert!(gateway.poll_transmit(now).is_some());
    }
    assert_eq!(gateway.len(), N);
    let request = map(UDP, 9, 0, 600).encode();
    assert_eq!(gateway.handle_datagram(now, SOCKET, client(200), &request), Ok(()));
    assert_eq!(gateway.poll_transmit(now).map(|answer| answer.payload[3]), Some(4), "it is full");
    while gateway.poll_transmit(now + core::time::Duration::from_secs(600)).is_some() {}
    let end = Instant::from_secs(602);
    gateway.handle_timeout(end);
    let removals = std::iter::from_fn(|| {
        let removal = gateway.poll_nat()?;
        gateway.handle_nat(end, &removal, Ok(()));
        assert_eq!(gateway.outgoing, None);
        Some(())
    });
    assert_eq!(removals.count(), N);
    assert!(gateway.is_empty());
}
