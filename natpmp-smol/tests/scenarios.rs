//! Every scenario of the testkit over real sockets: the async client against a gateway on the loopback interface.
//!
//! Real time asserts order and outcome; the timeline is asserted where time is virtual.
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test that panics has failed, as it should"
)]

#[path = "../../natpmp-std/tests/client/machine_error.rs"]
mod machine_error;

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::thread;
use std::time::Duration;

use natpmp_proto::Instant;
use natpmp_smol::{Client, Event, KeptMapping, MapRequest, Mapping, Protocol, RequestError, Subscription};
use natpmp_testkit::gateway::{Gateway, Served};
use natpmp_testkit::world::{Scale, World, listening, scenarios};
use smol::future::FutureExt;
use smol::stream::StreamExt;
use smol::{Timer, block_on};

use machine_error::machine_error;

/// C02, C03, C04, C05, C06, C07, C08, C10, C11, C12, C13, C14, C15, C16, C17, C18, C19, C20, C23, C24, C25, C26
#[test]
fn every_scenario_holds_over_real_sockets_with_an_async_client() {
    let running: Vec<_> = scenarios::all::<SmolWorld>()
        .into_iter()
        .map(|(name, run)| {
            let thread = thread::Builder::new().name(name.to_owned());
            (name, thread.spawn(move || run(&mut SmolWorld::new())).unwrap())
        })
        .collect();
    assert!(!running.is_empty());
    let failed: Vec<_> =
        running.into_iter().filter_map(|(name, thread)| thread.join().is_err().then_some(name)).collect();
    assert!(failed.is_empty(), "failed: {failed:#?}");
}

/// A client, whose driver runs on smol's threads, and its gateway.
struct SmolWorld {
    kept: HashMap<(Protocol, u16), KeptMapping>,
    events: Subscription<Event>,
    client: Client,
    served: Served,
}

impl SmolWorld {
    fn new() -> Self {
        let served = Served::start(Gateway::new());
        let Scale { schedule, backoff, .. } = Scale::real();
        let builder = Client::builder().gateway(served.address()).schedule(schedule).backoff(backoff);
        let ((client, driver), announcements) = listening(|address| {
            let (client, driver) = builder.clone().announcement_address(address).build().unwrap();
            client.announcement_error().is_none().then_some((client, driver))
        });
        smol::spawn(driver).detach();
        served.announce_to(announcements);
        Self { kept: HashMap::new(), events: client.events(), client, served }
    }
}

impl World for SmolWorld {
    fn scale(&self) -> Scale {
        Scale::real()
    }

    fn gateway<T>(&mut self, work: impl FnOnce(&mut Gateway, Instant) -> T) -> T {
        self.served.with(work)
    }

    fn forge(&mut self, bytes: &[u8]) {
        self.served.forge(bytes);
    }

    fn external_address(&mut self) -> Result<Ipv4Addr, RequestError> {
        block_on(self.client.external_address()).map_err(machine_error)
    }

    fn map(&mut self, request: &MapRequest) -> Result<Mapping, RequestError> {
        block_on(self.client.map(request)).map_err(machine_error)
    }

    fn unmap(&mut self, protocol: Protocol, internal_port: u16) -> Result<(), RequestError> {
        block_on(self.client.unmap(protocol, internal_port)).map(|_| ()).map_err(machine_error)
    }

    fn unmap_all(&mut self, protocol: Protocol) -> Result<(), RequestError> {
        block_on(self.client.unmap_all(protocol)).map_err(machine_error)
    }

    fn keep(&mut self, request: &MapRequest) {
        let kept = self.client.keep(request).expect("there is room");
        self.kept.insert((request.protocol(), request.internal_port()), kept);
    }

    fn kept(&mut self, protocol: Protocol, internal_port: u16) -> Option<Mapping> {
        self.kept[&(protocol, internal_port)].state().mapping
    }

    /// Waits, as the handle's own refresh does; what comes of it is told as an event as well.
    fn refresh(&mut self, protocol: Protocol, internal_port: u16) {
        let _ = block_on(self.kept[&(protocol, internal_port)].refresh());
    }

    fn stop(&mut self, protocol: Protocol, internal_port: u16) -> Result<(), RequestError> {
        let kept = self.kept.remove(&(protocol, internal_port)).expect("it is kept");
        block_on(kept.stop()).map(|_| ()).map_err(machine_error)
    }

    fn next_event(&mut self, limit: Duration) -> Option<Event> {
        block_on(self.events.next().or(async {
            Timer::after(limit).await;
            None
        }))
    }
}
