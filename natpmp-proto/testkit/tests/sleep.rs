//! A machine that sleeps, and wakes with its timers late.

use std::time::Duration;

use natpmp_proto::client::LossCause;
use natpmp_proto::wire::Request;
use natpmp_proto::{Event, MapRequest, Protocol};
use natpmp_testkit::gateway::{Announces, Faults, Gateway, Reach};
use natpmp_testkit::net::Sim;

fn keeping(faults: Faults) -> Sim {
    let mut sim = Sim::new(Gateway::with(faults));
    for port in 4_000..4_008 {
        sim.command(|client, now| client.keep(now, &MapRequest::new(Protocol::Udp, port))).unwrap();
    }
    sim.forget();
    sim
}

fn asked_ports(sim: &Sim) -> Vec<u16> {
    let mut ports: Vec<u16> = sim
        .sent()
        .iter()
        .map(|sent| match sent.request {
            Request::Map { internal_port, .. } => internal_port,
            Request::ExternalAddress => panic!("nobody asked for it"),
        })
        .collect();
    ports.sort_unstable();
    ports
}

/// C27
#[test]
fn what_is_overdue_after_a_sleep_is_renewed_once_and_without_a_burst() {
    // Up to half of the lease, to its end, and to many leases later.
    for slept in [3_600, 5_000, 7_199, 7_200, 7_201, 100_000, 40_000_000] {
        let mut sim = keeping(Faults { delay: Duration::from_millis(10), ..Faults::default() });
        sim.run_for(Duration::from_millis(100));
        sim.forget();
        sim.sleep(Duration::from_secs(slept));
        let woken = sim.now();
        sim.run_for(Duration::from_secs(1));
        assert_eq!(asked_ports(&sim), (4_000..4_008).collect::<Vec<u16>>(), "after {slept} s");
        let expected: Vec<u64> = (0..8).map(|index| index * 10).collect();
        assert_eq!(sim.send_times(woken), expected, "one at a time, after {slept} s");
        sim.forget();
        sim.run_for(Duration::from_secs(3_590));
        assert_eq!(sim.sent(), []);
    }
}

/// C27
#[test]
fn a_lease_that_ended_during_a_sleep_is_told_as_lost_and_comes_back() {
    let mut sim = keeping(Faults::default());
    sim.sleep(Duration::from_secs(100_000));
    let lost = |event: &&Event| matches!(event, Event::Lost { cause: LossCause::Expired, .. });
    let mapped = |event: &&Event| matches!(event, Event::Mapped(_));
    assert_eq!(sim.events().iter().filter(lost).count(), 8);
    assert_eq!(sim.events().iter().filter(mapped).count(), 8);
    let now = sim.now();
    assert_eq!(sim.gateway().leases(now).len(), 8);
}

/// C27
#[test]
fn a_sleep_shorter_than_half_of_the_lease_costs_nothing() {
    let mut sim = keeping(Faults::default());
    sim.sleep(Duration::from_secs(3_599));
    assert_eq!(sim.sent(), []);
}

/// C27
#[test]
fn a_request_that_slept_through_the_end_of_its_schedule_is_given_another() {
    let mut sim = Sim::new(Gateway::with(Faults { reach: Reach::Silent, ..Faults::default() }));
    sim.command(|client, now| client.map(now, &MapRequest::new(Protocol::Udp, 4_000))).unwrap();
    sim.run_for(Duration::from_secs(100));
    sim.gateway().faults.reach = Reach::Open;
    sim.sleep(Duration::from_secs(10_000));
    assert!(matches!(sim.events()[..], [Event::Mapped(_)]), "{:?}", sim.events());
}

/// C27
#[test]
fn sleeping_through_every_deadline_still_ends_in_an_error() {
    let mut sim = Sim::new(Gateway::with(Faults { reach: Reach::Silent, ..Faults::default() }));
    sim.command(|client, now| client.request_external_address(now));
    for _ in 0..30 {
        sim.sleep(Duration::from_secs(10_000));
    }
    assert_eq!(sim.events().len(), 1, "{:?}", sim.events());
    assert!(sim.sent().len() <= 18);
}

/// C18, C27
#[test]
fn a_restart_during_a_sleep_is_seen_by_the_first_answer() {
    let mut sim = keeping(Faults { announces: Announces::NatPmp, ..Faults::default() });
    sim.run_for(Duration::from_secs(1_000));
    sim.with_gateway(|gateway, now| gateway.restart(now));
    sim.sleep(Duration::from_secs(5_000));
    sim.run_for(Duration::from_secs(6));
    assert!(sim.events().contains(&Event::GatewayRestarted));
    let now = sim.now();
    assert_eq!(sim.gateway().leases(now).len(), 8);
    assert!(sim.sent().len() <= 8 + 1, "{:?}", sim.sent());
}
