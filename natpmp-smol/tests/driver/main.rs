//! What futures and a driver promise: wherever they are polled, moved and dropped. All else that a client does is in
//! `natpmp-std/suites`.
#![forbid(unsafe_code)]
#![cfg(test)]

mod executors;
mod futures;
mod primitive;
mod stopping;

use std::future::Future;
use std::time::Duration;

use natpmp_smol::{Backoff, Client, ClientBuilder, KeptMapping, MapRequest, Protocol};
use natpmp_testkit::gateway::{Gateway, Served};
use natpmp_testkit::waiting::SOON;
use smol::future::{self, FutureExt};
use smol::{Timer, block_on};

fn gateway() -> Served {
    Served::start(Gateway::new())
}

/// A client of it that retries soon, and hears no announcements.
fn builder(gateway: &Served) -> ClientBuilder {
    Client::builder()
        .gateway(gateway.address())
        .announcements(false)
        .backoff(Backoff::new(Duration::from_millis(50), Duration::from_millis(400)))
}

/// Does `work` with a client beside its driver, on this thread alone, until both are done: the driver ends when the last
/// handle is dropped.
#[track_caller]
fn run<T>(builder: ClientBuilder, work: impl AsyncFnOnce(Client) -> T) -> T {
    let (client, driver) = builder.build().unwrap();
    block_on(soon(future::zip(driver, work(client)))).1
}

/// What it comes to; a test that would hang fails instead.
async fn soon<T>(future: impl Future<Output = T>) -> T {
    within(SOON, future).await.expect("it is ready in time")
}

/// What it comes to; `None` if that takes longer.
async fn within<T>(patience: Duration, future: impl Future<Output = T>) -> Option<T> {
    let late = async {
        Timer::after(patience).await;
        None
    };
    async { Some(future.await) }.or(late).await
}

/// Asks until the condition holds.
async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let holds = async {
        while !condition() {
            Timer::after(Duration::from_millis(2)).await;
        }
    };
    within(SOON, holds).await.unwrap_or_else(|| panic!("not within {SOON:?}: {what}"));
}

/// Keeps a mapping, and waits until it is open.
async fn keep(client: &Client, request: &MapRequest) -> KeptMapping {
    let kept = client.keep(request).unwrap();
    kept.wait_open(SOON).await.expect("the gateway grants it");
    kept
}

const UDP: MapRequest = MapRequest::new(Protocol::Udp, 4_000);
const TCP: MapRequest = MapRequest::new(Protocol::Tcp, 4_000);
