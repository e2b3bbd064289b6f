//! Announcements (section 3.2.1).

use core::time::Duration;

use super::*;

/// What is announced from now on, and when, in milliseconds; time goes to each deadline.
fn announced<const N: usize>(rig: &mut Rig<N>) -> Vec<(u64, Response)> {
    let start = rig.now;
    let mut announced = Vec::new();
    for _ in 0..100 {
        while let Some(transmit) = rig.gateway.poll_transmit(rig.now) {
            assert_eq!(transmit.to, "224.0.0.1:5350".parse().unwrap());
            assert_eq!(transmit.payload.len(), 12);
            let millis = u64::try_from(rig.now.saturating_since(start).as_millis()).unwrap();
            announced.push((millis, Response::decode(&transmit.payload).unwrap()));
        }
        let Some(at) = rig.gateway.poll_timeout() else { return announced };
        assert!(at > rig.now, "a deadline that is due makes progress");
        rig.now = at;
    }
    panic!("it never becomes quiet");
}

const MOMENTS: [u64; 10] = [0, 250, 750, 1_750, 3_750, 7_750, 15_750, 31_750, 63_750, 127_750];

fn booted_at(now: Instant) -> Rig {
    let mut rig = Rig { gateway: Gateway::new(Config::new()), now };
    rig.gateway.start(now, 0);
    rig.gateway.set_external_address(now, Some(ADDRESS));
    rig
}

/// G06
#[test]
fn the_boot_is_announced_ten_times_with_doubling_gaps_and_the_right_epoch() {
    let mut rig = booted_at(Instant::from_millis(777));
    let announced = announced(&mut rig);
    assert_eq!(announced.iter().map(|&(at, _)| at).collect::<Vec<_>>(), MOMENTS);
    for (at, response) in announced {
        let epoch = u32::try_from(at / 1_000).unwrap();
        assert_eq!(response, Response::ExternalAddress { epoch, address: ADDRESS });
    }
}

/// G06
#[test]
fn every_cause_begins_a_full_row() {
    let causes: [fn(&mut Rig); 6] = [
        |rig| rig.gateway.set_external_address(rig.now, Some(OTHER_ADDRESS)),
        |rig| {
            rig.gateway.set_external_address(rig.now, None);
            rig.gateway.set_external_address(rig.now, Some(ADDRESS));
        },
        |rig| rig.gateway.clear(rig.now),
        |rig| rig.gateway.start(rig.now, 0),
        |rig| rig.gateway.start(rig.now, 7_000),
        |rig| {
            rig.gateway.switch(rig.now, false);
            rig.gateway.switch(rig.now, true);
        },
    ];
    for cause in causes {
        let mut rig = Rig::new();
        assert_eq!(rig.gateway.poll_timeout(), None, "silence before");
        cause(&mut rig);
        let moments: Vec<u64> = announced(&mut rig).iter().map(|&(at, _)| at).collect();
        assert_eq!(moments, MOMENTS);
    }
}

/// G06
#[test]
fn a_cause_in_the_middle_of_a_row_begins_it_anew_with_what_is_true_then() {
    let mut rig = booted_at(Instant::from_secs(10));
    for at in [0, 250, 750] {
        rig.now = Instant::from_millis(10_000 + at);
        assert!(rig.gateway.poll_transmit(rig.now).is_some());
    }
    rig.now = Instant::from_millis(11_000);
    rig.gateway.set_external_address(rig.now, Some(OTHER_ADDRESS));
    let announced = announced(&mut rig);
    assert_eq!(announced.iter().map(|&(at, _)| at).collect::<Vec<_>>(), MOMENTS);
    assert!(
        announced
            .iter()
            .all(|(_, reported)| matches!(reported, Response::ExternalAddress { address: OTHER_ADDRESS, .. }))
    );
}

/// G06: the row ends with the address it tells, and begins with the next.
#[test]
fn the_row_stops_when_the_address_is_lost() {
    let mut rig = booted_at(Instant::from_secs(10));
    assert!(rig.gateway.poll_transmit(rig.now).is_some());
    rig.gateway.set_external_address(rig.now, None);
    assert_eq!(rig.gateway.poll_timeout(), None);
    rig.pass(1_000);
    assert_eq!(rig.gateway.poll_transmit(rig.now), None);
    rig.gateway.set_external_address(rig.now, Some(ADDRESS));
    assert_eq!(announced(&mut rig).len(), 10);
}

/// G20
#[test]
fn the_row_stops_when_nat_is_switched_off() {
    let mut rig = booted_at(Instant::from_secs(10));
    rig.gateway.switch(rig.now, false);
    assert_eq!(rig.gateway.poll_timeout(), None);
    assert_eq!(rig.gateway.poll_transmit(rig.now), None);
    rig.gateway.set_external_address(rig.now, Some(OTHER_ADDRESS));
    rig.gateway.clear(rig.now);
    assert_eq!(rig.gateway.poll_transmit(rig.now), None);
    rig.gateway.switch(rig.now, true);
    assert_eq!(announced(&mut rig).len(), 10);
    rig.gateway.switch(rig.now, true);
    assert_eq!(rig.gateway.poll_transmit(rig.now), None, "it was on already");
}

#[test]
fn a_driver_that_comes_late_makes_no_burst() {
    let mut rig = booted_at(Instant::from_secs(10));
    assert!(rig.gateway.poll_transmit(rig.now).is_some());
    rig.now = rig.now + Duration::from_secs(3_600);
    assert!(rig.gateway.poll_transmit(rig.now).is_some());
    assert_eq!(rig.gateway.poll_transmit(rig.now), None);
    let gaps: Vec<u64> = announced(&mut rig).iter().map(|&(at, _)| at).collect();
    assert_eq!(gaps, [500, 1_500, 3_500, 7_500, 15_500, 31_500, 63_500, 127_500]);
}

#[test]
fn a_driver_that_comes_early_gets_nothing() {
    let mut rig = booted_at(Instant::from_secs(10));
    assert!(rig.gateway.poll_transmit(rig.now).is_some());
    let due = rig.gateway.poll_timeout().unwrap();
    assert_eq!(rig.gateway.poll_transmit(Instant::from_micros(due.as_micros() - 1)), None);
    assert_eq!(rig.gateway.poll_timeout(), Some(due));
}

/// G06, G19: an announcement of a gateway that has its state back says so by its epoch.
#[test]
fn a_restored_epoch_is_announced_as_it_goes_on() {
    let mut rig = Rig::new();
    rig.gateway.start(rig.now, 90_000);
    let announced = announced(&mut rig);
    assert_eq!(announced[0].1, Response::ExternalAddress { epoch: 90_000, address: ADDRESS });
    assert_eq!(announced[9].1, Response::ExternalAddress { epoch: 90_127, address: ADDRESS });
}

#[test]
fn leases_and_announcements_share_one_deadline() {
    let mut rig = Rig::new();
    rig.opens(client(2), &map(UDP, 4000, 4000, 2));
    let lease = rig.gateway.poll_timeout().unwrap();
    rig.gateway.clear(rig.now);
    assert_eq!(rig.gateway.poll_timeout(), Some(rig.now));
    assert!(rig.gateway.poll_transmit(rig.now).is_some());
    assert!(rig.gateway.poll_timeout().unwrap() < lease);
}
