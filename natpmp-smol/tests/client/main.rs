//! How the async client behaves, over real sockets against a gateway on the loopback interface.
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test that panics has failed, as it should"
)]

mod callbacks;
mod events;
mod executors;
mod keeping;
mod leaving;
mod many;
mod outcomes;
mod primitive;
mod settings;
mod stopping;

use std::future::Future;
use std::net::SocketAddrV4;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use natpmp_proto::wire::Request;
use natpmp_smol::{Backoff, Client, ClientBuilder, Driver, KeptMapping, MapRequest, Protocol, Schedule};
use natpmp_testkit::gateway::{Gateway, Knobs, Reach, Served};
use natpmp_testkit::world;
use smol::future::{self, FutureExt};
use smol::{Timer, block_on};

/// A gateway that behaves, but for what `change` turns.
fn gateway(change: impl FnOnce(&mut Knobs)) -> Served {
    let mut gateway = Gateway::new();
    change(&mut gateway.knobs);
    Served::start(gateway)
}

/// A client of it that retries soon, and hears no announcements.
fn builder(gateway: &Served) -> ClientBuilder {
    Client::builder()
        .gateway(gateway.address())
        .announcements(false)
        .backoff(Backoff::new(Duration::from_millis(50), Duration::from_millis(400)))
}

/// A client that hears announcements, and where.
fn listening(builder: &ClientBuilder) -> ((Client, Driver), SocketAddrV4) {
    world::listening(|address| {
        let (client, driver) = builder.clone().announcement_address(address).build().unwrap();
        client.announcement_error().is_none().then_some((client, driver))
    })
}

/// Does `work` with a client beside its driver, on this thread alone, until both are done: the driver ends when the last
/// handle is dropped.
#[track_caller]
fn run<T>(builder: ClientBuilder, work: impl AsyncFnOnce(Client) -> T) -> T {
    run_both(builder.build().unwrap(), work)
}

#[track_caller]
fn run_both<T>((client, driver): (Client, Driver), work: impl AsyncFnOnce(Client) -> T) -> T {
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

/// What `work` returns; a test that would hang, and not only wait, fails instead.
#[track_caller]
fn in_time<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || sender.send(work()));
    receiver.recv_timeout(SOON).expect("it returns in time")
}

/// Keeps a mapping, and waits until it is open.
async fn keep(client: &Client, request: &MapRequest) -> KeptMapping {
    let kept = client.keep(request).unwrap();
    kept.wait_open(SOON).await.expect("the gateway grants it");
    kept
}

fn turn(gateway: &Served, change: impl FnOnce(&mut Knobs)) {
    gateway.with(|gateway, _| change(&mut gateway.knobs));
}

fn reach(gateway: &Served, reach: Reach) {
    turn(gateway, |knobs| knobs.reach = reach);
}

/// The external port that an internal one has at the gateway.
fn lease(gateway: &Served, protocol: Protocol, internal_port: u16) -> Option<u16> {
    gateway.with(|gateway, now| gateway.lease(now, protocol, internal_port).map(|lease| lease.external_port))
}

fn leases(gateway: &Served) -> usize {
    gateway.with(|gateway, now| gateway.leases(now).len())
}

/// What the gateway was asked since it was started, or since [`forget`].
fn requests(gateway: &Served) -> Vec<Request> {
    gateway.with(|gateway, _| gateway.received().iter().map(|received| received.request.unwrap()).collect())
}

fn deletions(gateway: &Served) -> Vec<Request> {
    requests(gateway).into_iter().filter(|request| matches!(request, Request::Map { lifetime: 0, .. })).collect()
}

fn forget(gateway: &Served) {
    gateway.with(|gateway, _| gateway.forget_received());
}

const UDP: MapRequest = MapRequest::new(Protocol::Udp, 4_000);
const TCP: MapRequest = MapRequest::new(Protocol::Tcp, 4_000);

/// Two sends in 150 ms.
const SHORT: Schedule =
    Schedule::custom(Duration::from_millis(50), Duration::from_millis(100), Duration::from_millis(150));

/// Long enough for anything that is not meant to wait.
const SOON: Duration = Duration::from_secs(10);
