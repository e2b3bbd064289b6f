//! Subscriptions to what happens.

use std::time::{Duration, Instant};

use natpmp_std::{Ending, Event, MapRequest, Protocol, Refusal, RequestError};
use natpmp_testkit::gateway::{Announces, Gateway};

use natpmp_suites::{Adapter, ClientSetup, ClientUnderTest, SubscriptionUnderTest, listening, on_each_adapter};
use natpmp_testkit::waiting::{SOON, begin, in_time};

use super::{UDP, client, gateway, keep, let_it_wait, setup, start};

on_each_adapter!(
    they_come_in_order_from_the_moment_of_the_subscription,
    they_end_when_the_client_is_gone,
    a_subscriber_that_does_not_read_loses_the_oldest_only,
    a_watched_address_is_told_when_it_changes,
    an_announced_restart_is_told_and_healed,
);

fn they_come_in_order_from_the_moment_of_the_subscription<A: Adapter>() {
    let gateway = gateway(|_| {});
    let client = client::<A>(&gateway);
    let mut early = client.events();
    let first = client.map(&UDP).unwrap();
    let mut late = client.events();
    let second = client.map(&MapRequest::new(Protocol::Tcp, 4_001)).unwrap();
    client.unmap(Protocol::Udp, 4_000).unwrap();
    client.external_address().unwrap();
    let ended =
        Event::Ended { protocol: Protocol::Udp, internal_port: 4_000, external_port: 4_000, ending: Ending::Unmapped };
    let expected = [Event::Mapped(second), ended, Event::ExternalAddress(Ok(Gateway::EXTERNAL))];
    assert_eq!(early.next_timeout(SOON), Some(Event::Mapped(first)));
    for events in [&mut early, &mut late] {
        for event in expected {
            assert_eq!(events.next_timeout(SOON), Some(event));
        }
        assert_eq!(events.next_timeout(Duration::ZERO), None);
    }
}

fn they_end_when_the_client_is_gone<A: Adapter>() {
    let gateway = gateway(|_| {});
    let client = client::<A>(&gateway);
    let (mut unread, waiting, announcements) = (client.events(), client.events(), client.announcements());
    let mapping = client.map(&UDP).unwrap();
    let counting = begin(move || (waiting.count(), announcements.count()));
    drop(client);
    assert_eq!(counting.recv_timeout(SOON).unwrap(), (1, 0));
    // What was not read before is not lost.
    in_time(move || {
        assert_eq!(unread.next(), Some(Event::Mapped(mapping)));
        assert_eq!(unread.next(), None);
        assert_eq!(unread.next_timeout(SOON), None);
    });
}

fn a_subscriber_that_does_not_read_loses_the_oldest_only<A: Adapter>() {
    let gateway = gateway(|_| {});
    let client = client::<A>(&gateway);
    let (unread, mut read) = (client.events(), client.events());
    let ports = 4_000..4_600_u16;
    let mut expected = Vec::new();
    for _ in 0..4 {
        for port in ports.clone() {
            let mapping = client.map(&MapRequest::new(Protocol::Udp, port)).unwrap();
            expected.push(Event::Mapped(mapping));
        }
        for internal_port in ports.clone() {
            let ending = client.unmap(Protocol::Udp, internal_port).unwrap();
            let external_port = internal_port;
            expected.push(Event::Ended { protocol: Protocol::Udp, internal_port, external_port, ending });
            while read.next_timeout(Duration::ZERO).is_some() {}
        }
    }
    drop(client);
    let kept = in_time(move || unread.collect::<Vec<_>>());
    assert_eq!(kept.len(), 4_096);
    assert_eq!(kept, expected[expected.len() - 4_096..]);
}

fn a_watched_address_is_told_when_it_changes<A: Adapter>() {
    let gateway = gateway(|_| {});
    let client = start::<A>(ClientSetup { external_address_interval: Some(Duration::from_secs(1)), ..setup(&gateway) });
    let mut events = client.events();
    client.watch_external_address(true);
    assert_eq!(events.next_timeout(SOON), Some(Event::ExternalAddress(Ok(Gateway::EXTERNAL))));
    gateway.with(|gateway, now| gateway.change_address(now, None));
    let none = RequestError::Refused(Refusal::NetworkFailure);
    assert_eq!(events.next_timeout(SOON), Some(Event::ExternalAddress(Err(none))));
    client.watch_external_address(false);
    gateway.with(|gateway, now| gateway.change_address(now, Some(Gateway::EXTERNAL)));
    assert_eq!(events.next_timeout(Duration::from_millis(1_200)), None);
}

/// C10, C18, C19: heard on a socket of its own, while nothing else is to be done.
fn an_announced_restart_is_told_and_healed<A: Adapter>() {
    let gateway = gateway(|faults| faults.announces = Announces::NatPmp);
    let (client, address) = listening::<A::Client>(&setup(&gateway));
    gateway.announce_to(address);
    let _kept = keep(&client, &UDP);
    let mut events = client.events();
    gateway.forget();
    let_it_wait();
    let began = Instant::now();
    gateway.with(|gateway, now| gateway.restart(now));
    assert_eq!(events.next_timeout(SOON), Some(Event::GatewayRestarted));
    assert!(matches!(events.next_timeout(SOON), Some(Event::Lost { external_port: 4_000, .. })));
    assert!(matches!(events.next_timeout(SOON), Some(Event::Mapped(mapping)) if mapping.external_port == 4_000));
    assert!(began.elapsed() < Duration::from_secs(6), "{:?}", began.elapsed());
    assert!(gateway.requests().len() > 1);
    gateway.turn(|faults| faults.announces = Announces::Nothing);
}
