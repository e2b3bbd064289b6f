//! A driver that is dropped while there are handles.

use std::time::Duration;

use natpmp_smol::{Client, ClientDriver, Error, KeptMapping, MapRequest, Protocol};
use natpmp_testkit::gateway::{Reach, Served};
use natpmp_testkit::waiting::in_time;
use smol::future::{self, FutureExt};
use smol::stream::StreamExt;
use smol::{Executor, Task, block_on};

use super::{TCP, UDP, builder, eventually, gateway, keep, soon};

#[test]
fn every_call_that_waits_or_is_begun_later_gets_stopped() {
    let (gateway, client, driver, [kept, stopping]) = open([4_001, 4_002]);
    gateway.reach(Reach::Silent);
    gateway.forget();
    let executor = Executor::new();
    let driver = executor.spawn(driver);
    let closed = client.keep(&MapRequest::new(Protocol::Udp, 5_000)).unwrap();
    let (events, announcements) = (client.events(), client.announcements());
    let clone = client.clone();
    let calls: Vec<Task<bool>> = vec![
        executor.spawn(is_stopped(client.clone(), async |client| client.external_address().await.map(drop))),
        executor.spawn(is_stopped(client.clone(), async |client| client.map(&UDP).await.map(drop))),
        executor.spawn(is_stopped(client.clone(), async |client| client.unmap(Protocol::Tcp, 1).await.map(drop))),
        executor.spawn(is_stopped(client.clone(), async |client| client.unmap_all(Protocol::Tcp).await)),
        executor.spawn(async move { matches!(kept.refresh().await, Err(Error::Stopped)) }),
        executor.spawn(async move { matches!(closed.wait_open(LONG).await, Err(Error::Stopped)) }),
        executor.spawn(async move { matches!(stopping.stop().await, Err(Error::Stopped)) }),
        executor.spawn(async move { events.count().await < 10 }),
        executor.spawn(async move { announcements.count().await == 0 }),
    ];
    let work = async {
        eventually("all is asked for that can be", || !gateway.requests().is_empty()).await;
        assert!(calls.iter().all(|call| !call.is_finished()));
        driver.cancel().await;
        for (index, call) in calls.into_iter().enumerate() {
            assert!(soon(call).await, "call {index}");
        }
        assert!(matches!(clone.map(&UDP).await, Err(Error::Stopped)));
        assert!(matches!(clone.external_address().await, Err(Error::Stopped)));
        assert_eq!(clone.events().next().await, None);
        assert_eq!(clone.announcements().next().await, None);
    };
    block_on(executor.run(soon(work)));
}

async fn is_stopped(client: Client, call: impl AsyncFnOnce(&Client) -> Result<(), Error>) -> bool {
    matches!(call(&client).await, Err(Error::Stopped))
}

#[test]
fn handles_are_harmless_after_their_driver() {
    let (gateway, client, driver, [first, second, third]) = open([4_001, 4_002, 4_003]);
    drop(driver);
    in_time(move || {
        let _ = (format!("{first:?}"), client.gateway(), client.local_address());
        assert_eq!((first.state().mapping, first.state().next_attempt_in), (None, None), "nobody knows any more");
        assert_eq!(client.mappings(), []);
        client.network_changed();
        client.set_gateway(client.gateway());
        client.watch_external_address(true);
        let late = client.keep_with(&MapRequest::new(Protocol::Udp, 7_000), |_| {});
        assert!(matches!(late, Err(Error::Stopped)));
        assert!(matches!(block_on(first.wait_open(LONG)), Err(Error::Stopped)));
        assert!(matches!(block_on(second.stop()), Err(Error::Stopped)));
        drop((first, client));
        assert!(matches!(block_on(third.refresh()), Err(Error::Stopped)));
        drop(third);
    });
    assert_eq!(gateway.leases(), 3, "nothing is deleted");
}

/// It was never polled.
#[test]
fn a_driver_that_is_dropped_unused_ends_all_calls() {
    let gateway = gateway();
    let (client, driver) = builder(&gateway).build().unwrap();
    drop(driver);
    in_time(move || {
        assert!(matches!(block_on(client.map(&UDP)), Err(Error::Stopped)));
        assert!(matches!(client.keep(&TCP), Err(Error::Stopped)));
    });
    assert_eq!(gateway.requests(), []);
}

/// In the middle of the goodbye too.
#[test]
fn a_driver_may_be_dropped_while_it_says_goodbye() {
    let gateway = gateway();
    let (client, mut driver) = builder(&gateway).build().unwrap();
    let events = client.events();
    block_on(soon(async {
        let kept = async { keep(&client, &UDP).await };
        let kept = kept
            .or(async {
                (&mut driver).await;
                unreachable!("there are handles")
            })
            .await;
        gateway.reach(Reach::Silent);
        drop((kept, client));
        assert!(future::poll_once(&mut driver).await.is_none(), "it waits for the answer");
        drop(driver);
        events.count().await;
    }));
}

/// Mappings of these ports that are open.
fn open<const N: usize>(ports: [u16; N]) -> (Served, Client, ClientDriver, [KeptMapping; N]) {
    let gateway = gateway();
    let (client, mut driver) = builder(&gateway).build().unwrap();
    let kept = ports.map(|port| client.keep(&MapRequest::new(Protocol::Udp, port)).unwrap());
    let are_open = async {
        for kept in &kept {
            kept.wait_open(LONG).await.unwrap();
        }
    };
    block_on(soon(are_open.or(async { (&mut driver).await })));
    (gateway, client, driver, kept)
}

const LONG: Duration = Duration::from_secs(3_600);
