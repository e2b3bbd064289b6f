//! Gateways that lose their state, announcements true and forged, and changes of the network.

use std::net::SocketAddrV4;
use std::time::Duration;

use natpmp_proto::client::{Ending, LossCause, RequestError};
use natpmp_proto::wire::{Request, Response};
use natpmp_proto::{Discard, Event, Instant, MapRequest, Protocol, Schedule};
use natpmp_testkit::gateway::{Announces, Faults, Gateway, Reach};
use natpmp_testkit::model::witness::Rules;
use natpmp_testkit::net::{Link, Sim};

const UDP: MapRequest = MapRequest::new(Protocol::Udp, 4_000);
const GATEWAY: SocketAddrV4 = Sim::<8>::GATEWAY;
const SIX_SECONDS: Duration = Duration::from_secs(6);

/// A client with mappings that are kept, and open.
fn keeping(faults: Faults, seed: u64, count: u16) -> Sim<32> {
    let mut sim: Sim<32> = Sim::with_rules(Gateway::with(faults), |rules| rules, seed);
    for index in 0..count {
        let request =
            MapRequest::new(Protocol::ALL[usize::from(index % 2)], 4_000 + index).external_port(9_000 + index);
        sim.command(|client, now| client.keep(now, &request)).unwrap();
    }
    sim.run_for(Duration::from_secs(100));
    sim.forget();
    sim
}

fn open_ports(sim: &mut Sim<32>) -> Vec<u16> {
    let now = sim.now();
    let mut ports: Vec<u16> = sim.gateway().leases(now).iter().map(|lease| lease.external_port).collect();
    ports.sort_unstable();
    ports
}

/// C10, C13, C18, C19
#[test]
fn every_kept_mapping_is_back_on_its_port_within_six_seconds_of_an_announced_restart() {
    let hidden = Faults { announces: Announces::Pcp, epoch_is_uptime: true, ..Faults::default() };
    let pcp = Faults { announces: Announces::Pcp, ..Faults::default() };
    let nat_pmp = Faults { announces: Announces::NatPmp, ..Faults::default() };
    for faults in [hidden, pcp, nat_pmp, Faults { delay: Duration::from_millis(20), ..Faults::miniupnpd() }] {
        for seed in 0..30 {
            for apart in [true, false] {
                let mut sim = keeping(faults.clone(), seed, 30);
                sim.separate_announcements(apart);
                sim.with_gateway(|gateway, now| gateway.restart(now));
                assert!(open_ports(&mut sim).is_empty());
                sim.run_for(SIX_SECONDS);
                assert_eq!(open_ports(&mut sim), (9_000..9_030).collect::<Vec<u16>>(), "{faults:?}, seed {seed}");
            }
        }
    }
}

/// C19
#[test]
fn the_wait_before_mappings_are_recreated_is_spread_over_five_seconds() {
    let mut starts = Vec::new();
    for seed in 0..200 {
        let mut sim = keeping(Faults { announces: Announces::NatPmp, ..Faults::default() }, seed, 3);
        let restart = sim.now();
        sim.with_gateway(|gateway, now| gateway.restart(now));
        sim.run_for(SIX_SECONDS);
        let maps = sim.sent().iter().filter(|sent| sent.request != Request::ExternalAddress);
        let times: Vec<Duration> = maps.map(|sent| sent.at.saturating_since(restart)).collect();
        assert_eq!(times.len(), 3, "each is asked for once");
        starts.push(times[0]);
    }
    assert!(starts.iter().all(|start| *start <= Duration::from_secs(5)));
    for second in 0..5 {
        let range = Duration::from_secs(second)..Duration::from_secs(second + 1);
        let count = starts.iter().filter(|start| range.contains(start)).count();
        assert!((20..=65).contains(&count), "{count} of 200 in second {second}");
    }
}

/// C02, C19
#[test]
fn mappings_are_recreated_one_at_a_time() {
    let mut sim = keeping(Faults { announces: Announces::NatPmp, ..Faults::default() }, 1, 20);
    let delay = Duration::from_millis(5);
    sim.set_link(Link { shortest_delay: delay, longest_delay: delay, ..Link::perfect() });
    sim.with_gateway(|gateway, now| gateway.restart(now));
    sim.run_for(SIX_SECONDS);
    let times: Vec<Instant> = sim.sent().iter().map(|sent| sent.at).collect();
    assert!(times.windows(2).all(|pair| pair[1].saturating_since(pair[0]) >= delay * 2), "{times:?}");
}

/// C18
#[test]
fn the_epoch_rule_holds_at_its_edge_in_every_answer() {
    for (behind, is_restart) in [(2, false), (3, true)] {
        let mut sim = keeping(Faults::default(), 1, 1);
        let (received, now) = (Instant::from_secs(1), sim.now());
        assert_eq!(sim.gateway().epoch(received), 1_001);
        assert_eq!(now.saturating_since(received).as_secs(), 100);
        // 7/8 of 100 s is 87.5 s, and an epoch has no halves: 1086.5 s is the bound.
        sim.with_gateway(|gateway, now| gateway.set_epoch(now, 1_001 + 88 - behind));
        sim.command(|client, now| client.request_external_address(now));
        assert_eq!(sim.events().contains(&Event::GatewayRestarted), is_restart, "{behind} s behind");
    }
}

/// C18
#[test]
fn a_clock_that_loses_an_eighth_is_no_restart_however_long_it_runs() {
    let mut sim = keeping(Faults::default(), 1, 1);
    for hour in 1..200u32 {
        sim.with_gateway(|gateway, now| gateway.set_epoch(now, 2_000 + hour * 3_150));
        sim.run_for(Duration::from_secs(3_600));
    }
    assert!(!sim.events().contains(&Event::GatewayRestarted));
}

#[test]
fn mappings_held_once_end_with_a_restart_and_are_not_recreated() {
    let mut sim = Sim::new(Gateway::new());
    sim.command(|client, now| client.map(now, &UDP)).unwrap();
    sim.with_gateway(|gateway, now| gateway.restart(now));
    sim.forget();
    sim.command(|client, now| client.request_external_address(now));
    sim.run_for(Duration::from_secs(10_000));
    assert_eq!(sim.sent().len(), 1);
    let ended = Event::Ended {
        protocol: Protocol::Udp,
        internal_port: 4_000,
        external_port: 4_000,
        ending: Ending::GatewayRestarted,
    };
    assert!(sim.events().contains(&ended), "{:?}", sim.events());
}

/// C18, C19
#[test]
fn a_restart_is_told_with_the_mappings_that_were_lost() {
    let mut sim = keeping(Faults { announces: Announces::NatPmp, ..Faults::default() }, 1, 1);
    sim.with_gateway(|gateway, now| gateway.restart(now));
    sim.run_for(SIX_SECONDS);
    let [Event::GatewayRestarted, Event::Lost { external_port: 9_000, cause, .. }, Event::Mapped(mapping)] =
        sim.events()[..]
    else {
        panic!("{:?}", sim.events())
    };
    assert_eq!((cause, mapping.external_port), (LossCause::GatewayRestarted, 9_000));
}

/// C07, C10
#[test]
fn an_announcement_from_another_address_changes_nothing() {
    let mut sim = keeping(Faults::default(), 1, 3);
    let foreign = "192.168.1.66:5351".parse().unwrap();
    let forged = Response::ExternalAddress { epoch: 0, address: [6, 6, 6, 6].into() }.encode();
    for packet in [&forged[..], &Gateway::PCP_ANNOUNCE] {
        sim.inject_announcement(foreign, packet);
        sim.inject(foreign, packet);
    }
    assert_eq!(sim.discarded(), [Discard::NotFromGateway; 4]);
    sim.run_for(Duration::from_secs(60));
    assert_eq!(sim.sent(), []);
}

/// C10: an announcement is not believed, only checked.
#[test]
fn a_forged_epoch_or_address_is_not_believed() {
    let mut sim = keeping(Faults::default(), 1, 3);
    sim.command(|client, now| client.watch_external_address(now, true));
    sim.forget();
    let forged = Response::ExternalAddress { epoch: 0, address: [6, 6, 6, 6].into() }.encode();
    sim.inject_announcement(GATEWAY, &forged);
    sim.run_for(Duration::from_secs(60));
    assert_eq!(sim.events(), []);
    assert_eq!(sim.client().external_address(), Some(Gateway::EXTERNAL));
    assert_eq!(sim.sent().len(), 1);
}

/// C09, C10
#[test]
fn all_clients_of_a_link_hear_the_same_announcement() {
    let mut sim = Sim::new(Gateway::with(Faults { announces: Announces::NatPmp, ..Faults::default() }));
    let other = sim.add_host(Rules::new(GATEWAY).seed(99));
    for host in [0, other] {
        sim.command_to(host, |client, now| client.keep(now, &UDP)).unwrap();
    }
    sim.run_for(Duration::from_secs(100));
    sim.with_gateway(|gateway, now| gateway.restart(now));
    sim.run_for(SIX_SECONDS);
    let now = sim.now();
    assert_eq!(sim.gateway().leases(now).len(), 2);
}

/// Sends forged announcements for ten minutes, twenty a second.
fn flood(sim: &mut Sim<32>, packet: &[u8]) {
    for _ in 0..12_000 {
        sim.run_for(Duration::from_millis(50));
        sim.inject_announcement(GATEWAY, packet);
    }
}

fn nat_pmp_announcement() -> Vec<u8> {
    Response::ExternalAddress { epoch: 0, address: [6, 6, 6, 6].into() }.encode().to_vec()
}

/// C10
#[test]
fn a_flood_of_forged_announcements_costs_one_question_a_second_and_one_round_of_renewals_a_minute() {
    for packet in [nat_pmp_announcement(), Gateway::PCP_ANNOUNCE.to_vec()] {
        let mut sim = keeping(Faults::default(), 1, 10);
        flood(&mut sim, &packet);
        let questions = sim.sent().iter().filter(|sent| sent.request == Request::ExternalAddress).count();
        let renewals = sim.sent().len() - questions;
        assert!(questions <= 601, "{questions} questions in 600 s");
        assert!(renewals <= 11 * 10, "{renewals} renewals in ten minutes");
        let last: Vec<Instant> = sim
            .sent()
            .iter()
            .filter(|sent| matches!(sent.request, Request::Map { internal_port: 4_000, .. }))
            .map(|sent| sent.at)
            .collect();
        assert!(last.windows(2).all(|pair| pair[1].saturating_since(pair[0]) >= Duration::from_secs(60)), "{last:?}");
    }
}

/// C04, C10
#[test]
fn a_flood_of_forged_announcements_makes_no_more_requests_at_a_closed_port_than_one_a_second() {
    for packet in [nat_pmp_announcement(), Gateway::PCP_ANNOUNCE.to_vec()] {
        let mut sim = keeping(Faults::default(), 1, 10);
        sim.gateway().faults.reach = Reach::Closed;
        sim.command(|client, now| client.refresh(now, Protocol::Udp, 4_000));
        sim.forget();
        flood(&mut sim, &packet);
        // One a second, and the tries that would have been made anyway.
        let sends = sim.sent().len();
        assert!(sends <= 601 + 20, "{sends} sends in 600 s");
    }
}

/// C03, C10
#[test]
fn a_flood_of_forged_announcements_does_not_put_off_the_verdict_on_a_silent_gateway() {
    for packet in [nat_pmp_announcement(), Gateway::PCP_ANNOUNCE.to_vec()] {
        let mut sim = keeping(Faults::default(), 1, 10);
        sim.gateway().faults.reach = Reach::Silent;
        sim.command(|client, now| client.refresh(now, Protocol::Udp, 4_000));
        flood(&mut sim, &packet);
        let failure = sim.timed_events().iter().find(|timed| matches!(timed.event, Event::Failed { .. }));
        let began = sim.sent()[0].at;
        let took = failure.expect("the gateway is silent, and that is told").at.saturating_since(began);
        // An announcement may begin the schedule anew, once.
        assert!(took <= Schedule::RFC.total() * 2, "told after {took:?}");
        // One a second, and those of the schedule.
        let sends = sim.sent().len();
        assert!(sends <= 601 + 60, "{sends} sends in 600 s");
    }
}

/// C05
#[test]
fn an_announcement_of_the_gateway_ends_the_pause_after_port_unreachable() {
    let mut sim = keeping(Faults { announces: Announces::NatPmp, ..Faults::default() }, 1, 3);
    sim.gateway().faults.reach = Reach::Closed;
    sim.command(|client, now| client.refresh(now, Protocol::Udp, 4_000));
    sim.run_for(Duration::from_secs(600));
    sim.gateway().faults.reach = Reach::Open;
    sim.with_gateway(|gateway, now| gateway.restart(now));
    sim.run_for(SIX_SECONDS);
    assert_eq!(open_ports(&mut sim), [9_000, 9_001, 9_002]);
}

/// C05
#[test]
fn a_change_of_the_network_ends_a_pause_and_renews_all_that_is_kept_once() {
    let mut sim = keeping(Faults { reach: Reach::Silent, ..Faults::default() }, 1, 3);
    sim.run_for(Duration::from_secs(300));
    sim.gateway().faults.reach = Reach::Open;
    sim.forget();
    sim.command(|client, now| client.network_changed(now));
    assert_eq!(open_ports(&mut sim), [9_000, 9_001, 9_002]);
    assert_eq!(sim.sent().len(), 3);
}

/// C05
#[test]
fn a_change_of_the_network_ends_the_pause_after_port_unreachable() {
    let mut sim = keeping(Faults { reach: Reach::Closed, ..Faults::default() }, 1, 3);
    sim.run_for(Duration::from_secs(600));
    sim.gateway().faults.reach = Reach::Open;
    let next = sim.client().poll_timeout().unwrap();
    assert!(next.saturating_since(sim.now()) > Duration::from_secs(1), "it pauses");
    sim.command(|client, now| client.network_changed(now));
    assert_eq!(open_ports(&mut sim), [9_000, 9_001, 9_002]);
}

/// C05, C18
#[test]
fn another_gateway_is_asked_for_everything_and_its_epoch_is_not_compared() {
    let mut sim = keeping(Faults::default(), 1, 3);
    let other = SocketAddrV4::new([192, 168, 1, 2].into(), 5351);
    let mut gateway = Gateway::new();
    gateway.set_epoch(sim.now(), 0);
    sim.add_gateway(other, gateway);
    sim.command(|client, now| client.set_gateway(now, other));
    sim.run_for(Duration::from_secs(10));
    assert_eq!(sim.sent().len(), 3);
    let now = sim.now();
    assert_eq!(sim.gateway_of(1).leases(now).len(), 3);
    assert!(!sim.events().contains(&Event::GatewayRestarted));
    let changed = |event: &Event| matches!(event, Event::Lost { cause: LossCause::GatewayChanged, .. });
    assert_eq!(sim.events().iter().filter(|event| changed(event)).count(), 3);
    // The old one is not believed any more.
    sim.inject(GATEWAY, &nat_pmp_announcement());
    assert_eq!(sim.discarded(), [Discard::NotFromGateway]);
}

/// C03
#[test]
fn a_request_to_another_gateway_starts_its_schedule_anew() {
    let mut sim = keeping(Faults { reach: Reach::Silent, ..Faults::default() }, 1, 1);
    sim.command(|client, now| client.request_external_address(now));
    sim.run_for(Duration::from_secs(30));
    sim.forget();
    let start = sim.now();
    sim.command(|client, now| client.set_gateway(now, SocketAddrV4::new([192, 168, 1, 2].into(), 5351)));
    sim.run_for(Schedule::RFC.total());
    assert_eq!(sim.send_times(start)[..4], [0, 250, 750, 1_750]);
    assert!(sim.events().contains(&Event::ExternalAddress(Err(RequestError::NoAnswer))));
}

/// C05, C19
#[test]
fn mappings_are_back_within_six_seconds_even_if_the_gateway_was_silent_before_it_came_up() {
    for announces in [Announces::NatPmp, Announces::Pcp] {
        for silent_for in [1, 10, 40, 100, 300, 1_000] {
            let mut sim = keeping(Faults { announces, ..Faults::default() }, silent_for, 10);
            sim.gateway().faults.reach = Reach::Silent;
            sim.command(|client, now| client.refresh(now, Protocol::Udp, 4_000));
            sim.run_for(Duration::from_secs(silent_for));
            sim.gateway().faults.reach = Reach::Open;
            sim.with_gateway(|gateway, now| gateway.restart(now));
            sim.run_for(SIX_SECONDS);
            assert_eq!(open_ports(&mut sim).len(), 10, "{announces:?} after {silent_for} s of silence");
        }
    }
}
