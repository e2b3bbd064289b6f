//! Futures and streams as values, and side by side on one task.

use std::time::Duration;

use natpmp_proto::wire::Request;
use natpmp_smol::{Client, ClientDriver, Error, Event, KeptMapping, Mapping, Protocol, Subscription};
use natpmp_testkit::gateway::{Gateway, Reach};
use smol::LocalExecutor;
use smol::future;
use smol::stream::StreamExt;

use super::{TCP, UDP, builder, eventually, gateway, keep, run, soon};

#[test]
fn clients_handles_drivers_and_streams_can_be_sent_and_shared() {
    fn is_shareable<T: Send + Sync + 'static>() {}
    is_shareable::<Client>();
    is_shareable::<KeptMapping>();
    is_shareable::<Error>();
    is_shareable::<Subscription<Event>>();
    fn is_sendable<T: Send + Unpin + 'static>() {}
    is_sendable::<ClientDriver>();
    is_sendable::<Subscription<Event>>();
}

#[test]
fn a_request_is_on_its_way_before_its_future_is_polled_and_after_it_is_dropped() {
    let gateway = gateway();
    run(builder(&gateway), async |client| {
        let call = client.map(&UDP);
        eventually("it is open", || gateway.leases() == 1).await;
        let other = client.clone();
        drop(client);
        assert_eq!(call.await.unwrap().external_port, 4_000, "it holds the client");
        let kept = keep(&other, &TCP).await;
        drop(kept.stop());
        eventually("it is deleted", || gateway.leases() == 1).await;
        drop(other.unmap(Protocol::Udp, 4_000));
        eventually("it is deleted", || gateway.leases() == 0).await;
    });
}

#[test]
fn the_futures_can_be_sent_to_another_thread_and_borrow_nothing() {
    fn is_send<T: Send + Unpin + 'static>(_: T) {}
    let gateway = gateway();
    run(builder(&gateway), async |client| {
        let mapping = Mapping { protocol: Protocol::Udp, internal_port: 4_000, external_port: 4_000, lifetime: 60 };
        is_send(client.external_address());
        is_send((client.map(&UDP), client.refresh(&mapping), client.delete(&mapping)));
        is_send((client.unmap(Protocol::Udp, 4_000), client.unmap_all(Protocol::Udp)));
        is_send((client.events(), client.announcements(), client.clone()));
        let kept = client.keep(&UDP).unwrap();
        is_send((kept.refresh(), kept.wait_open(Duration::ZERO)));
        is_send(kept.stop());
    });
}

#[test]
fn what_another_future_takes_back_is_interrupted() {
    let gateway = gateway();
    gateway.reach(Reach::Silent);
    run(builder(&gateway), async |client| {
        let unmapping = async {
            eventually("it is asked for", || !gateway.requests().is_empty()).await;
            let open = async {
                eventually("its deletion is asked for", || gateway.requests().len() > 1).await;
                gateway.reach(Reach::Open);
            };
            future::zip(client.unmap(Protocol::Udp, 4_000), open).await.0
        };
        let (mapped, unmapped) = future::zip(client.map(&UDP), unmapping).await;
        assert!(matches!(mapped, Err(Error::Interrupted)), "{mapped:?}");
        unmapped.unwrap();

        let kept = keep(&client, &UDP).await;
        let (refreshed, unmapped) = future::zip(kept.refresh(), client.unmap(Protocol::Udp, 4_000)).await;
        assert!(matches!(refreshed, Err(Error::Interrupted)), "{refreshed:?}");
        unmapped.unwrap();
        assert!(matches!(kept.refresh().await, Err(Error::Interrupted)));
        assert!(kept.wait_open(Duration::MAX).await.is_err());
    });
}

/// One request is in flight at a time, whoever asks for what.
#[test]
fn callers_that_ask_for_the_same_share_the_answer() {
    let gateway = gateway();
    run(builder(&gateway), async |client| {
        let executor = LocalExecutor::new();
        let callers: Vec<_> = (0..20)
            .map(|_| {
                let client = client.clone();
                executor
                    .spawn(async move { (client.map(&UDP).await.unwrap(), client.external_address().await.unwrap()) })
            })
            .collect();
        executor
            .run(async {
                for caller in callers {
                    let (mapping, address) = caller.await;
                    assert_eq!((mapping.external_port, address), (4_000, Gateway::EXTERNAL));
                }
            })
            .await;
    });
    assert_eq!(gateway.lease(Protocol::Udp, 4_000), Some(4_000));
    let asked = gateway.requests();
    assert!(asked.iter().filter(|&&request| request == Request::ExternalAddress).count() <= 2, "{asked:?}");
}

/// The driver is still there, and was not dropped.
#[test]
fn streams_end_when_the_driver_has_completed() {
    let gateway = gateway();
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
    let gateway = gateway();
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
