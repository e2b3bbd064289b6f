//! Futures that lose a race against a timer, on an executor.

use std::time::Duration;

use natpmp_smol::{Client, MapRequest, Protocol};
use natpmp_testkit::gateway::{Gateway, Served};
use smol::future::{self, FutureExt};
use smol::{Timer, block_on};

/// Whoever wins: what was heard of stays, and what was not is deleted.
#[test]
fn a_mapping_that_comes_too_late_for_a_timer_is_deleted_at_the_end() {
    let mut gateway = Gateway::new();
    gateway.faults.delay = Duration::from_millis(4);
    let served = Served::start(gateway);
    let (client, driver) = Client::builder().gateway(served.address()).announcements(false).build().unwrap();
    let work = async {
        let mut received = Vec::new();
        for port in 4_000..4_040_u16 {
            let patience = Duration::from_millis(u64::from(port % 10));
            let mapping = async { client.map(&MapRequest::new(Protocol::Udp, port)).await.ok() };
            received.extend(within(patience, mapping).await.map(|mapping| mapping.internal_port));
        }
        // Those that were given up are made all the same, one after the other.
        client.external_address().await.unwrap();
        drop(client);
        received
    };
    let ((), received) = block_on(within(SOON, async { Some(future::zip(driver, work).await) })).expect("it ends");
    let mut left: Vec<_> =
        served.with(|gateway, now| gateway.leases(now).iter().map(|lease| lease.internal_port).collect());
    left.sort_unstable();
    assert_eq!(left, received);
    assert!(received.len() < 40, "a patience of nothing is not enough");
}

#[test]
fn a_kept_mapping_whose_stop_loses_a_race_is_deleted() {
    let mut gateway = Gateway::new();
    gateway.faults.delay = Duration::from_millis(4);
    let served = Served::start(gateway);
    let (client, driver) = Client::builder().gateway(served.address()).announcements(false).build().unwrap();
    let work = async {
        for patience in 0..8 {
            let kept = client.keep(&MapRequest::new(Protocol::Tcp, 4_000)).unwrap();
            kept.wait_open(SOON).await.unwrap();
            let _ = within(Duration::from_millis(patience), async { kept.stop().await.ok() }).await;
        }
        drop(client);
    };
    block_on(within(SOON, async { Some(future::zip(driver, work).await) })).expect("it ends");
    assert_eq!(served.with(|gateway, now| gateway.leases(now).len()), 0);
}

async fn within<T>(patience: Duration, future: impl Future<Output = Option<T>>) -> Option<T> {
    future
        .or(async {
            Timer::after(patience).await;
            None
        })
        .await
}

const SOON: Duration = Duration::from_secs(10);
