//! How a client behaves, over real sockets against a gateway on the loopback interface.

mod announcements;
mod callbacks;
mod events;
mod keeping;
mod leaving;
mod outcomes;
mod settings;
mod sharing;
mod stored;

use std::net::Ipv4Addr;
use std::time::Duration;

use natpmp_proto::{Backoff, MapRequest, Protocol, Schedule};
use natpmp_suites::{Adapter, ClientSetup, ClientUnderTest, KeptUnderTest};
use natpmp_testkit::gateway::{Faults, Gateway, Served};
use natpmp_testkit::waiting::SOON;

/// A gateway that behaves, but for what `change` turns.
fn gateway(change: impl FnOnce(&mut Faults)) -> Served {
    let mut gateway = Gateway::new();
    change(&mut gateway.faults);
    Served::start(gateway)
}

/// Of a client that retries soon, and hears no announcements.
fn setup(gateway: &Served) -> ClientSetup {
    let backoff = Backoff::new(Duration::from_millis(50), Duration::from_millis(400));
    ClientSetup { gateway: Some(gateway.address()), backoff: Some(backoff), ..ClientSetup::default() }
}

fn start<A: Adapter>(setup: ClientSetup) -> A::Client {
    A::Client::start(&setup).unwrap()
}

fn client<A: Adapter>(gateway: &Served) -> A::Client {
    start::<A>(setup(gateway))
}

/// Keeps a mapping, and waits until it is open.
fn keep<C: ClientUnderTest>(client: &C, request: &MapRequest) -> C::Kept {
    let kept = client.keep(request).unwrap();
    kept.wait_open(SOON).expect("the gateway grants it");
    kept
}

/// The client has done what there was to do, and waits: it is woken by what comes next, or not at all.
fn let_it_wait() {
    std::thread::sleep(Duration::from_millis(30));
}

const UDP: MapRequest = MapRequest::new(Protocol::Udp, 4_000);
const TCP: MapRequest = MapRequest::new(Protocol::Tcp, 4_000);

/// Two sends in 150 ms.
const SHORT: Schedule =
    Schedule::custom(Duration::from_millis(50), Duration::from_millis(100), Duration::from_millis(150));

/// An address for documentation, which no host has.
const NOBODY: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 77);
