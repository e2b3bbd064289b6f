//! How many threads a client takes. The only test of its program, so that no other test's threads are counted.
#![cfg(target_os = "linux")]
#![forbid(unsafe_code)]
#![cfg(test)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use natpmp_smol::{Client, MapRequest, Protocol};
use natpmp_testkit::gateway::{Gateway, Served};
use smol::future::{self, FutureExt};
use smol::{Timer, block_on};

#[test]
fn a_hundred_kept_mappings_and_their_callbacks_take_no_thread() {
    let gateway = Served::start(Gateway::new());
    // The reactor's own.
    block_on(Timer::after(Duration::from_millis(1)));
    let before = threads();
    let (client, driver) = Client::builder().gateway(gateway.address()).announcements(false).build().unwrap();
    let work = async move {
        let kept: Vec<_> =
            (0..100).map(|index| client.keep(&MapRequest::new(Protocol::Udp, 4_000 + index)).unwrap()).collect();
        for kept in &kept {
            kept.wait_open(SOON).await.unwrap();
        }
        let reported = Arc::new(AtomicUsize::new(0));
        let with_callbacks: Vec<_> = (0..100)
            .map(|index| {
                let reported = Arc::clone(&reported);
                let report = move |_: &_| {
                    reported.fetch_add(1, Ordering::Relaxed);
                };
                client.keep_with(&MapRequest::new(Protocol::Tcp, 4_000 + index), report).unwrap()
            })
            .collect();
        for kept in &with_callbacks {
            kept.refresh().await.unwrap();
        }
        assert!(reported.load(Ordering::Relaxed) >= 100);
        client.external_address().await.unwrap();
        assert_eq!(threads(), before);
    };
    let late = async {
        Timer::after(SOON).await;
        panic!("not within {SOON:?}")
    };
    block_on(future::zip(driver, work).or(late));
    assert_eq!(threads(), before);
}

fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").unwrap().count()
}

const SOON: Duration = Duration::from_secs(10);
