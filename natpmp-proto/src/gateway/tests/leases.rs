//! The lives of leases.

use core::time::Duration;

use super::*;

/// G16
#[test]
fn a_lease_is_never_cut_short_and_ends_with_the_second_that_follows() {
    for millis in [0, 1, 500, 999] {
        let mut rig = Rig::new();
        let start = Instant::from_millis(1_000_000 + millis);
        rig.at(start);
        rig.opens(client(2), &map(UDP, 4000, 4000, 120));
        rig.at(start + Duration::from_secs(120)).nat_is_left_alone();
        let end = rig.gateway.poll_timeout().unwrap();
        assert!(end > start + Duration::from_secs(120) && end <= start + Duration::from_secs(121));
        rig.at(Instant::from_micros(end.as_micros() - 1)).nat_is_left_alone();
        assert_eq!(rig.open_ports(), [4000]);
        rig.at(end);
        assert_eq!(rig.nat(), NatRequest::Remove(nat_mapping_of(client(2), UDP, 4000, 4000)));
        assert_eq!(rig.gateway.poll_timeout(), None);
        assert!(rig.gateway.mappings().next().is_none());
    }
}

/// G16: the port is free when the NAT has let it go.
#[test]
fn the_port_of_an_ended_lease_is_given_to_others_only_when_the_nat_has_removed_it() {
    let mut rig = Rig::new();
    rig.opens(client(2), &map(UDP, 4000, 4000, 60));
    rig.pass(61);
    let removal = rig.nat();
    rig.waits(client(3), &map(UDP, 4001, 4000, 60));
    assert_ne!(rig.nat().mapping().external_port, 4000);
    assert_eq!(rig.done(&removal), None);
    assert_eq!(rig.opens(client(4), &map(UDP, 4000, 4000, 60)), 4000);
}

/// G08
#[test]
fn a_renewal_prolongs_the_lease_from_now_on() {
    let mut rig = Rig::new();
    rig.opens(client(2), &map(UDP, 4000, 4000, 100));
    for _ in 0..20 {
        rig.pass(70);
        let _ = rig.answer(client(2), &map(UDP, 4000, 4000, 100));
        rig.nat_is_left_alone();
    }
    rig.pass(100).nat_is_left_alone();
    rig.pass(1);
    assert!(matches!(rig.nat(), NatRequest::Remove(_)));
}

/// The heap looks at the old end, and finds the new one.
#[test]
fn a_look_that_finds_the_lease_prolonged_is_put_off_to_its_end() {
    let mut rig = Rig::new();
    let start = Instant::from_secs(1_000);
    rig.at(start);
    rig.opens(client(2), &map(UDP, 4000, 4000, 100));
    rig.pass(50);
    let _ = rig.answer(client(2), &map(UDP, 4000, 4000, 100));
    assert_eq!(rig.gateway.poll_timeout(), Some(Instant::from_secs(1_101)), "as it was");
    rig.at(Instant::from_secs(1_101));
    assert_eq!(rig.gateway.poll_timeout(), Some(Instant::from_secs(1_151)));
    rig.nat_is_left_alone();
}

/// G08: the lease starts anew, also when that is shorter.
#[test]
fn a_shortened_lease_ends_earlier() {
    let mut rig = Rig::new();
    rig.opens(client(2), &map(UDP, 4000, 4000, 7200));
    rig.opens(client(3), &map(UDP, 5000, 5000, 600));
    rig.pass(10);
    let granted = rig.mapped(UDP, 4000, 4000, 30);
    assert_eq!(rig.answer(client(2), &map(UDP, 4000, 4000, 30)), granted);
    rig.pass(30).nat_is_left_alone();
    rig.pass(1);
    assert_eq!(rig.nat().mapping().external_port, 4000);
    rig.nat_is_left_alone();
}

/// A lease begins when the NAT has the mapping.
#[test]
fn the_time_the_nat_takes_is_not_taken_from_the_lease() {
    let mut rig = Rig::new();
    rig.waits(client(2), &map(UDP, 4000, 4000, 60));
    let asked = rig.nat();
    rig.pass(300);
    assert!(rig.done(&asked).is_some());
    rig.pass(60).nat_is_left_alone();
    rig.pass(1);
    assert!(matches!(rig.nat(), NatRequest::Remove(_)));
}

#[test]
fn leases_end_in_their_order_whatever_the_order_of_requests() {
    let mut rig: Rig<128> = Rig::with(Config::new().per_client(128));
    let lifetime = |port: u16| 60 + u32::from(port * 37 % 101);
    for port in 0..100 {
        rig.opens(client(2), &map(UDP, 2000 + port, 2000 + port, lifetime(port)));
    }
    for port in 0..100 {
        let shift = if port % 3 == 0 { 200 } else { 0 };
        let _ = rig.answer(client(2), &map(UDP, 2000 + port, 0, lifetime(port) + shift));
    }
    let start = rig.now.as_micros() / 1_000_000;
    let mut ends = 0;
    while let Some(at) = rig.gateway.poll_timeout() {
        rig.at(at);
        while let Some(removal) = rig.gateway.poll_nat() {
            let port = removal.mapping().external_port - 2000;
            let shift = if port % 3 == 0 { 200 } else { 0 };
            assert_eq!(at, Instant::from_secs(start + u64::from(lifetime(port) + shift) + 1));
            assert_eq!(rig.done(&removal), None);
            ends += 1;
        }
    }
    assert_eq!(ends, 100);
    rig.no_trace_is_left();
}

/// G12
#[test]
fn a_lease_is_as_long_as_asked_but_no_longer_than_allowed() {
    let mut rig: Rig = Rig::with(Config::new().longest_lifetime(3_600));
    for (asked, granted) in [(1, 1), (3_599, 3_599), (3_600, 3_600), (3_601, 3_600), (u32::MAX, 3_600)] {
        let port = 4_000;
        rig.waits(client(2), &map(UDP, port, port, asked));
        let request = rig.nat();
        let answer = rig.mapped(UDP, port, port, granted);
        assert_eq!(rig.done(&request), Some((client(2), answer)), "new");
        assert_eq!(rig.answer(client(2), &map(UDP, port, port, asked)), answer, "and renewed");
        rig.pass(u64::from(granted)).nat_is_left_alone();
        rig.pass(1);
        assert!(rig.settle().is_empty());
        rig.no_trace_is_left();
    }
}

/// G12: only if the administrator wants it so.
#[test]
fn a_shortest_lease_can_be_set_and_never_exceeds_the_longest() {
    let mut rig: Rig = Rig::with(Config::new().shortest_lifetime(60).longest_lifetime(600));
    rig.waits(client(2), &map(UDP, 4000, 4000, 1));
    let granted = rig.mapped(UDP, 4000, 4000, 60);
    assert_eq!(rig.settle(), [(client(2), granted)]);
    let mut rig: Rig = Rig::with(Config::new().shortest_lifetime(900).longest_lifetime(0));
    rig.waits(client(2), &map(UDP, 4000, 4000, 300));
    let granted = rig.mapped(UDP, 4000, 4000, 1);
    assert_eq!(rig.settle(), [(client(2), granted)]);
}

/// G16: while nobody looked.
#[test]
fn a_driver_that_sleeps_for_days_ends_all_leases_when_it_wakes() {
    let mut rig = Rig::new();
    for port in 4000..4008 {
        rig.opens(client(2), &map(UDP, port, port, u32::from(port)));
    }
    rig.pass(1_000_000);
    assert_eq!(std::iter::from_fn(|| rig.gateway.poll_nat()).count(), 8);
    assert_eq!(rig.gateway.poll_timeout(), None);
}

/// C28 holds for the gateway as well.
#[test]
fn years_of_renewals_do_not_overflow() {
    let mut rig = Rig::new();
    rig.opens(client(2), &map(UDP, 4000, 4000, 86_400));
    let day = Duration::from_secs(86_000);
    for _ in 0..(100 * 366) {
        rig.at(rig.now + day);
        let granted = rig.mapped(UDP, 4000, 4000, 86_400);
        assert_eq!(rig.answer(client(2), &map(UDP, 4000, 4000, 86_400)), granted);
    }
    rig.nat_is_left_alone();
    assert!(rig.epoch() > 3_000_000_000);
}

#[test]
fn at_the_end_of_the_clock_everything_ends_and_nothing_panics() {
    for now in [u64::from(u32::MAX) * 1_000_000, (u64::from(u32::MAX) - 100) * 1_000_000, u64::MAX - 1, u64::MAX] {
        let mut rig: Rig = Rig::with(Config::new().longest_lifetime(u32::MAX));
        rig.at(Instant::from_micros(now));
        rig.gateway.start(rig.now, u32::MAX - 1);
        rig.gateway.set_external_address(rig.now, Some(OTHER_ADDRESS));
        for _ in 0..20 {
            let _ = rig.gateway.poll_transmit(rig.now);
        }
        rig.waits(client(2), &map(UDP, 4000, 4000, u32::MAX));
        let _ = rig.settle();
        rig.gateway.handle_timeout(rig.now);
        let removals = rig.settle();
        assert!(removals.is_empty());
        rig.gateway.clear(rig.now);
        let _ = rig.gateway.poll_timeout();
    }
}

/// G05, G19
#[test]
fn the_epoch_goes_on_after_a_restart_with_state_and_saturates() {
    let mut rig = Rig::new();
    rig.gateway.start(rig.now, 5_000);
    assert_eq!(rig.epoch(), 5_000);
    rig.pass(7);
    assert_eq!(rig.epoch(), 5_007);
    rig.gateway.start(rig.now, u32::MAX - 3);
    rig.pass(100);
    assert_eq!(rig.epoch(), u32::MAX);
}

/// G19
#[test]
fn a_restored_mapping_is_installed_and_lives_for_what_is_left_of_its_lease() {
    let mut rig = Rig::new();
    let mapping = nat_mapping_of(client(2), UDP, 4000, 4001);
    assert!(rig.gateway.restore(&mapping, 50));
    assert_eq!(rig.gateway.mappings().count(), 0);
    let asked = rig.nat();
    assert_eq!(asked, NatRequest::Install(mapping));
    assert_eq!(rig.done(&asked), None, "nobody asked");
    assert_eq!(rig.open_ports(), [4001]);
    let granted = rig.mapped(UDP, 4000, 4001, 20);
    assert_eq!(rig.answer(client(2), &map(UDP, 4000, 0, 20)), granted, "known to its client");
    rig.pass(20).nat_is_left_alone();
    rig.pass(1);
    assert_eq!(rig.nat(), NatRequest::Remove(mapping));
}

#[test]
fn what_cannot_be_restored_is_refused() {
    let mut rig: Rig<2> = Rig::with(Config::new().deny(PortRange::new(5000, 5001).unwrap()).unwrap());
    let restore = |rig: &mut Rig<2>, from, port, external, lifetime| {
        rig.gateway.restore(&nat_mapping_of(from, UDP, port, external), lifetime)
    };
    assert!(!restore(&mut rig, client(2), 4000, 4000, 0), "its lease has ended");
    assert!(!restore(&mut rig, client(2), 4000, 80, 60), "outside of the range");
    assert!(!restore(&mut rig, client(2), 4000, 5000, 60), "denied");
    assert!(restore(&mut rig, client(2), 4000, 4000, 60));
    assert!(!restore(&mut rig, client(2), 4000, 4001, 60), "its client's port is mapped");
    assert!(!restore(&mut rig, client(3), 4000, 4000, 60), "its port is taken");
    assert!(restore(&mut rig, client(3), 4000, 4001, u32::MAX));
    assert!(!restore(&mut rig, client(4), 4000, 4002, 60), "the table is full");
    assert_eq!(rig.gateway.len(), 2);
    assert!(rig.settle().is_empty());
    rig.pass(86_401);
    assert_eq!(std::iter::from_fn(|| rig.gateway.poll_nat()).count(), 2, "no lease is longer than the longest");
}

/// G06, G19: its client believes it open, and nobody is there to be told that it is not.
#[test]
fn a_restored_mapping_that_the_nat_does_not_take_is_a_loss_of_state() {
    let mut rig = Rig::new();
    rig.gateway.start(rig.now, 5_000);
    assert!(rig.gateway.restore(&nat_mapping_of(client(2), UDP, 4000, 4001), 50));
    let asked = rig.nat();
    rig.pass(100);
    assert_eq!(rig.outcome(&asked, Err(NatFailure::Network)), None);
    assert_eq!(rig.epoch(), 0);
    assert!(rig.gateway.poll_transmit(rig.now).is_some());
}

/// G19
#[test]
fn a_cleared_table_starts_the_epoch_again_and_has_the_nat_remove_everything() {
    let mut rig = Rig::new();
    rig.opens(client(2), &map(UDP, 4000, 4000, 600));
    rig.waits(client(3), &map(UDP, 5000, 5000, 600));
    let installation = rig.nat();
    rig.waits(client(4), &map(UDP, 6000, 6000, 600));
    assert!(rig.gateway.add_static(&nat_mapping_of(client(5), TCP, 80, 80)));
    rig.pass(500);
    rig.gateway.clear(rig.now);
    assert_eq!(rig.epoch(), 0);
    assert!(rig.gateway.poll_transmit(rig.now).is_some(), "it announces");
    assert_eq!(rig.done(&installation), None);
    assert!(rig.settle().is_empty(), "nobody is told that he has what is cleared");
    assert_eq!(rig.open_ports(), [80]);
    assert_eq!(rig.gateway.len(), 1);
}
