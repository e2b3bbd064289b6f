//! The client machine against the gateway machine, through a bad network, with a NAT that is slow and fails.
//!
//! Whatever happened: what is kept converges to a state that the client, the gateway and its NAT agree on, and after all
//! leases nothing is open that no client wants. No two clients ever share a port ([`natpmp_testkit::chaos::Nat`] asserts it).

use std::collections::BTreeSet;
use std::time::Duration;

use natpmp_proto::gateway::{self, PortRange};
use natpmp_proto::{Event, MapRequest, Protocol};
use natpmp_testkit::Random;
use natpmp_testkit::net::Link;

use natpmp_proto::Protocol::{Tcp, Udp};
use natpmp_testkit::chaos::Net;

const CONFIG: gateway::Config = gateway::Config::new().seed(3);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Three clients that keep the same ports inside, and wish for the same outside.
fn three(seed: u64) -> Net<32> {
    let mut net: Net<32> = Net::new(seed, 3, CONFIG);
    for host in 0..3 {
        net.keep(host, MapRequest::new(Udp, 4000).lifetime(600));
        net.keep(host, MapRequest::new(Tcp, 4000).lifetime(600));
        net.keep(host, MapRequest::new(Udp, 4001).external_port(0).lifetime(600));
    }
    net
}

fn ports<const N: usize>(net: &Net<N>) -> Vec<(Protocol, u16)> {
    net.nat.held.keys().copied().collect()
}

/// G07, G08, G09, G10, C02, C13
#[test]
fn on_a_perfect_network_everything_is_open_at_once_and_stays() {
    let mut net = three(1);
    net.converges(Duration::ZERO);
    let before = ports(&net);
    assert_eq!(before.len(), 9);
    for _ in 0..100 {
        net.run_for(10 * MINUTE);
        net.converges(Duration::ZERO);
    }
    assert_eq!(ports(&net), before, "on the ports they have");
    for host in 0..3 {
        let reported = net.hosts[host].events.iter();
        assert!(
            reported.clone().all(|event| matches!(event, Event::Mapped(_) | Event::Renewed(_))),
            "nothing but good news"
        );
        assert_eq!(reported.filter(|event| matches!(event, Event::Mapped(_))).count(), 3);
    }
}

/// G13, G14
#[test]
fn what_is_deleted_is_closed_at_once_on_a_perfect_network() {
    let mut net = three(2);
    net.unmap(0, Tcp, 4000);
    net.unmap_all(1, Udp);
    net.converges(Duration::ZERO);
    assert_eq!(net.nat.held.len(), 6);
    assert_eq!(net.gateway.len(), 6);
    net.nothing_else_is_open(secs(600));
}

/// C03, C16, C25, G08, G13, G16
#[test]
fn through_loss_delay_duplication_reordering_and_corruption_everything_converges() {
    for seed in 0..30 {
        let mut net = three(seed);
        net.link = Link::bad();
        net.nat.delay = Duration::from_millis(300);
        net.keep(0, MapRequest::new(Tcp, 80).external_port(8080).lifetime(600));
        net.run_for(5 * MINUTE);
        net.unmap(1, Udp, 4000);
        net.unmap_all(2, Udp);
        net.run_for(2 * HOUR);
        net.link = Link::perfect();
        net.converges(10 * MINUTE);
        net.nothing_else_is_open(secs(600));
        assert_eq!(net.nat.held.len(), 7);
    }
}

/// C15, C16, G01, G02, G03, G23: without a checksum, requests may ask for what nobody wants. It lapses.
#[test]
fn changed_bytes_break_nothing_and_what_they_opened_lapses() {
    for seed in 0..30 {
        let mut net: Net<32> = Net::new(seed, 3, CONFIG.longest_lifetime(600));
        net.link = Link { corruption: 60, duplication: 30, ..Link::perfect() };
        net.flips = true;
        for host in 0..3 {
            net.keep(host, MapRequest::new(Udp, 4000).lifetime(60));
            net.keep(host, MapRequest::new(Tcp, 4000).lifetime(60));
        }
        net.run_for(2 * HOUR);
        net.link = Link::perfect();
        net.run_for(HOUR);
        net.converges(HOUR);
        net.nothing_else_is_open(secs(600));
    }
}

/// G06, G19, C18, C19
#[test]
fn a_reboot_without_state_is_noticed_and_everything_comes_back_on_its_port() {
    for seed in 0..10 {
        let mut net = three(seed);
        net.run_for(secs(60 + seed));
        let before = ports(&net);
        net.reboot(secs(20), false);
        assert_eq!(net.nat.held.len(), 0);
        net.converges(secs(30));
        assert_eq!(ports(&net), before);
        for host in &net.hosts {
            assert!(host.events.contains(&Event::GatewayRestarted));
        }
    }
}

/// G19
#[test]
fn a_reboot_with_state_is_no_restart_to_anybody() {
    for seed in 0..10 {
        let mut net = three(seed);
        net.run_for(secs(60 + seed));
        let before = ports(&net);
        net.reboot(secs(20), true);
        assert_eq!(ports(&net), before, "the NAT has everything back before anybody asks");
        net.run_for(2 * HOUR);
        net.converges(Duration::ZERO);
        assert_eq!(ports(&net), before);
        for host in &net.hosts {
            assert!(!host.events.contains(&Event::GatewayRestarted));
        }
    }
}

/// G06, C10
#[test]
fn a_change_of_address_is_learned_from_the_announcement() {
    let mut net = three(5);
    net.hosts[0].client.watch_external_address(net.now, true);
    net.settle();
    net.run_for(3 * MINUTE);
    net.set_address(Some(45));
    net.run_for(secs(1));
    net.converges(Duration::ZERO);
    assert_eq!(net.hosts[0].client.external_address(), Some([11, 22, 33, 45].into()));
    assert_eq!(net.hosts[0].events.last(), Some(&Event::ExternalAddress(Ok([11, 22, 33, 45].into()))));
}

/// G06, G18
#[test]
fn a_lost_address_refuses_and_heals() {
    for seed in 0..10 {
        let mut net = three(seed);
        net.run_for(MINUTE);
        net.set_address(None);
        net.run_for(2 * HOUR);
        assert_eq!(net.nat.held.len(), 0, "the leases have ended");
        net.set_address(Some(46));
        net.converges(2 * MINUTE);
        net.nothing_else_is_open(secs(600));
    }
}

/// G10, G23, C25
#[test]
fn a_full_table_refuses_and_serves_as_soon_as_there_is_room() {
    for seed in 0..10 {
        let mut net: Net<4> = Net::new(seed, 3, CONFIG.per_client(2));
        for host in 0..3 {
            net.keep(host, MapRequest::new(Udp, 4000).lifetime(600));
            net.keep(host, MapRequest::new(Udp, 4001).lifetime(600));
        }
        net.run_for(HOUR);
        assert_eq!((net.gateway.len(), net.nat.held.len()), (4, 4));
        let lucky: BTreeSet<usize> = (0..3).filter(|&host| net.agreed(host, Udp, 4000).is_ok()).collect();
        let first = *lucky.first().unwrap();
        net.unmap(first, Udp, 4000);
        net.unmap(first, Udp, 4001);
        net.converges(5 * MINUTE);
        net.nothing_else_is_open(secs(600));
    }
}

/// G10: no port is left, and none is given twice.
#[test]
fn a_range_of_two_ports_serves_two() {
    let config = CONFIG.ports(PortRange::new(5000, 5001).unwrap());
    let mut net: Net<32> = Net::new(9, 3, config);
    for host in 0..3 {
        net.keep(host, MapRequest::new(Udp, 4000).lifetime(600));
    }
    net.run_for(HOUR);
    assert_eq!(ports(&net), [(Udp, 5000), (Udp, 5001)]);
    net.unmap(0, Udp, 4000);
    net.converges(5 * MINUTE);
    assert_eq!(ports(&net), [(Udp, 5000), (Udp, 5001)]);
}

/// G17, C25: every install and removal fails for an hour.
#[test]
fn a_nat_that_fails_for_a_while_is_asked_again_until_it_works() {
    for seed in 0..10 {
        let mut net = three(seed);
        net.nat.failures = 100;
        net.unmap(0, Tcp, 4000);
        net.keep(1, MapRequest::new(Tcp, 80).lifetime(600));
        net.run_for(HOUR);
        assert!(net.agreed(1, Tcp, 80).is_err());
        assert_eq!(net.nat.held.len(), 9, "what was open stays, with what could not be removed");
        net.nat.failures = 0;
        net.converges(3 * MINUTE);
        net.nothing_else_is_open(secs(600));
        assert_eq!(net.nat.held.len(), 9);
    }
}

/// G06, G19: each loss is told.
#[test]
fn a_nat_that_loses_mappings_when_the_address_changes_gets_them_back() {
    for seed in 0..10 {
        let mut net = three(seed);
        for last in 50..60 {
            // A loss within seconds of the one before cannot be seen in the epoch (section 3.6).
            net.run_for(secs(10));
            net.nat.failures = 70;
            net.set_address(Some(last));
            net.run_for(secs(20));
            net.nat.failures = 0;
            net.converges(3 * MINUTE);
        }
        net.nothing_else_is_open(secs(600));
    }
}

/// C27, G16
#[test]
fn a_client_that_slept_through_its_leases_has_everything_back_when_it_wakes() {
    for seed in 0..10 {
        let mut net = three(seed);
        net.sleep(0, true);
        net.run_for(HOUR);
        assert_eq!(net.nat.held.len(), 6, "its leases have ended");
        net.converges(Duration::ZERO);
        net.sleep(0, false);
        net.converges(secs(10));
        assert_eq!(net.nat.held.len(), 9);
    }
}

/// G20, C04
#[test]
fn nat_switched_off_is_port_unreachable_and_heals_when_it_is_switched_on() {
    let mut net = three(7);
    net.gateway.switch(net.now, false);
    net.run_for(HOUR);
    assert_eq!(net.nat.held.len(), 0);
    net.gateway.switch(net.now, true);
    net.settle();
    net.converges(2 * MINUTE);
}

/// G16
#[test]
fn nothing_is_left_of_a_client_that_vanished() {
    let mut net = three(8);
    net.vanish(0);
    net.run_for(secs(602));
    assert_eq!(net.nat.held.len(), 6);
    net.nothing_else_is_open(secs(600));
}

/// All of it at random, then peace.
#[test]
fn after_any_history_everything_converges_and_nothing_else_is_open() {
    for seed in 0..60 {
        let mut net = three(seed);
        let mut random = Random::new(seed ^ 0xc4a0);
        for _ in 0..60 {
            let host = random.below(3) as usize;
            let protocol = Protocol::ALL[random.below(2) as usize];
            let port = 4000 + random.below(3) as u16;
            match random.below(16) {
                0 | 1 => net.keep(host, MapRequest::new(protocol, port).lifetime(60 + random.below(540) as u32)),
                2 => net.unmap(host, protocol, port),
                3 => net.unmap_all(host, protocol),
                4 => net.sleep(host, true),
                5 => net.sleep(host, false),
                6 => net.reboot(secs(random.below(100)), false),
                7 => net.reboot(secs(random.below(100)), true),
                8 => net.set_address((random.below(3) > 0).then_some(random.below(3) as u8)),
                9 => net.nat.failures = [0, 30, 100][random.below(3) as usize],
                10 => net.nat.delay = secs(random.below(3)),
                11 => net.gateway.switch(net.now, random.below(3) > 0),
                12 => net.gateway.clear(net.now),
                13 => net.link = [Link::perfect(), Link::bad(), Link::DEAD][random.below(3) as usize],
                _ => {}
            }
            net.settle();
            let longest = [secs(2), secs(60), secs(900)][random.below(3) as usize];
            net.run_for(random.between(Duration::ZERO, longest));
        }
        (net.link, net.nat.failures, net.nat.delay) = (Link::perfect(), 0, Duration::ZERO);
        net.gateway.switch(net.now, true);
        net.set_address(Some(99));
        for host in 0..3 {
            net.sleep(host, false);
        }
        net.converges(10 * MINUTE);
        net.nothing_else_is_open(secs(600));
        for host in 0..3 {
            net.vanish(host);
        }
        net.nothing_else_is_open(secs(600));
        assert!(net.gateway.is_empty());
    }
}
