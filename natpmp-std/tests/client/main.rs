//! How the blocking client behaves, over real sockets against a gateway on the loopback interface.
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test that panics has failed, as it should"
)]

mod announcements;
mod callbacks;
mod events;
mod keeping;
mod leaving;
mod outcomes;
mod sharing;
mod stored;

use std::net::SocketAddrV4;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use natpmp_proto::wire::Request;
use natpmp_std::{Backoff, Client, ClientBuilder, KeptMapping, MapRequest, Protocol, Schedule};
use natpmp_testkit::gateway::{Gateway, Knobs, Reach, Served};
use natpmp_testkit::world;

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

fn client(gateway: &Served) -> Client {
    builder(gateway).build().unwrap()
}

/// Keeps a mapping, and waits until it is open.
fn keep(client: &Client, request: &MapRequest) -> KeptMapping {
    let kept = client.keep(request).unwrap();
    kept.wait_open(SOON).expect("the gateway grants it");
    kept
}

/// A client that hears announcements, and where.
fn listening(builder: &ClientBuilder) -> (Client, SocketAddrV4) {
    world::listening(|address| {
        let client = builder.clone().announcement_address(address).build().unwrap();
        client.announcement_error().is_none().then_some(client)
    })
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

/// Asks until the condition holds.
#[track_caller]
fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + SOON;
    while !condition() {
        assert!(Instant::now() < deadline, "not within {SOON:?}: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// What `work` returns; a test that would hang fails instead.
#[track_caller]
fn in_time<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let waiting = begin(work);
    waiting.recv_timeout(SOON).expect("it returns in time")
}

/// Does `work` on a thread of its own; its result can be received.
fn begin<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> mpsc::Receiver<T> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || sender.send(work()));
    receiver
}

const UDP: MapRequest = MapRequest::new(Protocol::Udp, 4_000);
const TCP: MapRequest = MapRequest::new(Protocol::Tcp, 4_000);

/// Two sends in 150 ms.
const SHORT: Schedule =
    Schedule::custom(Duration::from_millis(50), Duration::from_millis(100), Duration::from_millis(150));

/// Long enough for anything that is not meant to wait.
const SOON: Duration = Duration::from_secs(10);
