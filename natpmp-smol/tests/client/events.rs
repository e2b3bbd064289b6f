//! Streams of what happens.

use std::time::Duration;

use natpmp_smol::{Ending, Event, MachineError, MapRequest, Protocol, Refusal};
use natpmp_testkit::gateway::{Announces, Gateway};
use smol::Timer;
use smol::future;
use smol::stream::StreamExt;

use super::{SOON, UDP, builder, forget, gateway, keep, listening, requests, run, run_both, soon, turn, within};

#[test]
fn they_begin_when_the_stream_is_made_and_end_with_the_driver() {
    let gateway = gateway(|_| {});
    let (early, late, expected) = run(builder(&gateway), async |client| {
        let early = client.events();
        let first = client.map(&UDP).await.unwrap();
        let late = client.events();
        client.unmap(Protocol::Udp, 4_000).await.unwrap();
        client.external_address().await.unwrap();
        let ended = Event::Ended {
            protocol: Protocol::Udp,
            internal_port: 4_000,
            external_port: 4_000,
            ending: Ending::Unmapped,
        };
        (early, late, [Event::Mapped(first), ended, Event::ExternalAddress(Ok(Gateway::EXTERNAL))])
    });
    // What was not read before is not lost.
    assert_eq!(smol::block_on(soon(early.collect::<Vec<_>>())), expected);
    assert_eq!(smol::block_on(soon(late.collect::<Vec<_>>())), expected[1..]);
}

/// The driver is still there, and was not dropped.
#[test]
fn they_end_when_the_driver_has_completed() {
    let gateway = gateway(|_| {});
    let (client, mut driver) = builder(&gateway).build().unwrap();
    let mut events = client.events();
    let mut announcements = client.announcements();
    drop(client);
    smol::block_on(soon(async {
        (&mut driver).await;
        assert_eq!(events.next().await, None);
        assert_eq!(announcements.next().await, None);
        (&mut driver).await;
    }));
    drop(driver);
}

#[test]
fn whoever_waits_for_the_next_is_told_of_the_end() {
    let gateway = gateway(|_| {});
    let (client, driver) = builder(&gateway).build().unwrap();
    let events = client.events();
    let waiting = future::zip(driver, events.count());
    let ((), count) = smol::block_on(soon(async {
        let both = future::zip(waiting, async {
            client.map(&UDP).await.unwrap();
            drop(client);
        });
        both.await.0
    }));
    assert_eq!(count, 1);
}

#[test]
fn a_stream_that_is_not_read_loses_the_oldest_only() {
    let gateway = gateway(|_| {});
    let ports = 4_000..4_600_u16;
    let (unread, read) = run(builder(&gateway), async |client| {
        let (unread, mut events) = (client.events(), client.events());
        let mut read = Vec::new();
        for _ in 0..4 {
            for port in ports.clone() {
                client.map(&MapRequest::new(Protocol::Udp, port)).await.unwrap();
                read.extend(events.next().await);
            }
            for port in ports.clone() {
                client.unmap(Protocol::Udp, port).await.unwrap();
                read.extend(events.next().await);
            }
        }
        (unread, read)
    });
    let kept: Vec<_> = smol::block_on(soon(unread.collect()));
    assert_eq!((read.len(), kept.len()), (4_800, 4_096));
    assert_eq!(kept, read[read.len() - 4_096..]);
}

#[test]
fn a_watched_address_is_told_when_it_changes() {
    let gateway = gateway(|_| {});
    run(builder(&gateway).external_address_interval(Duration::from_secs(1)), async |client| {
        let mut events = client.events();
        client.watch_external_address(true);
        assert_eq!(events.next().await, Some(Event::ExternalAddress(Ok(Gateway::EXTERNAL))));
        gateway.with(|gateway, now| gateway.change_address(now, None));
        let none = MachineError::Refused(Refusal::NetworkFailure);
        assert_eq!(events.next().await, Some(Event::ExternalAddress(Err(none))));
        client.watch_external_address(false);
        gateway.with(|gateway, now| gateway.change_address(now, Some(Gateway::EXTERNAL)));
        assert_eq!(within(Duration::from_millis(1_200), events.next()).await, None);
    });
}

/// C10
#[test]
fn announcements_are_told_as_they_come() {
    let gateway = gateway(|faults| faults.announces = Announces::NatPmp);
    let (both, address) = listening(&builder(&gateway));
    gateway.announce_to(address);
    let announcements = run_both(both, async |client| {
        client.external_address().await.unwrap();
        let mut announcements = client.announcements();
        for _ in 0..3 {
            settle().await;
            let epoch = gateway.with(|gateway, now| {
                gateway.announce(now);
                gateway.epoch(now)
            });
            let heard = announcements.next().await.unwrap();
            assert_eq!((heard.gateway, heard.external_address), (gateway.address(), Some(Gateway::EXTERNAL)));
            assert!(heard.epoch.is_some_and(|heard| (epoch..epoch + 10).contains(&heard)), "{heard:?}");
        }
        turn(&gateway, |faults| faults.announces = Announces::Nothing);
        announcements
    });
    smol::block_on(soon(announcements.count()));
}

/// C10, C18, C19: heard on a socket of its own, while nothing else is to be done.
#[test]
fn an_announced_restart_is_told_and_healed() {
    let gateway = gateway(|faults| faults.announces = Announces::NatPmp);
    let (both, address) = listening(&builder(&gateway));
    gateway.announce_to(address);
    run_both(both, async |client| {
        let _kept = keep(&client, &UDP).await;
        let mut events = client.events();
        forget(&gateway);
        settle().await;
        gateway.with(|gateway, now| gateway.restart(now));
        let told: Vec<_> = within(SOON, (&mut events).take(3).collect()).await.expect("in time");
        assert!(matches!(
            told[..],
            [Event::GatewayRestarted, Event::Lost { external_port: 4_000, .. }, Event::Mapped(mapping)]
                if mapping.external_port == 4_000
        ));
        assert!(requests(&gateway).len() > 1);
        turn(&gateway, |faults| faults.announces = Announces::Nothing);
    });
}

/// The driver has done what there was to do, and waits: it is woken by what comes next, or not at all.
async fn settle() {
    Timer::after(Duration::from_millis(30)).await;
}
