//! Every scenario of the testkit over real sockets: the blocking client against a gateway on the loopback interface.
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

#[path = "client/machine_error.rs"]
mod machine_error;

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::thread;
use std::time::Duration;

use natpmp_proto::Instant;
use natpmp_std::{Client, Event, KeptMapping, MapRequest, Mapping, Protocol, RequestError, Subscription};
use natpmp_testkit::gateway::{Gateway, Served};
use natpmp_testkit::world::{Scale, World, listening, scenarios};

use machine_error::machine_error;

/// C02, C03, C04, C05, C06, C07, C08, C10, C11, C12, C13, C14, C15, C16, C17, C18, C19, C20, C23, C24, C25, C26
#[test]
fn every_scenario_holds_over_real_sockets() {
    let running: Vec<_> = scenarios::all::<StdWorld>()
        .into_iter()
        .map(|(name, run)| {
            let thread = thread::Builder::new().name(name.to_owned());
            (name, thread.spawn(move || run(&mut StdWorld::new())).unwrap())
        })
        .collect();
    assert!(!running.is_empty());
    let failed: Vec<_> =
        running.into_iter().filter_map(|(name, thread)| thread.join().is_err().then_some(name)).collect();
    assert!(failed.is_empty(), "failed: {failed:#?}");
}

/// A blocking client and its gateway. Kept mappings are dropped before the client, and the client before the gateway.
struct StdWorld {
    kept: HashMap<(Protocol, u16), KeptMapping>,
    events: Subscription<Event>,
    client: Client,
    served: Served,
}

impl StdWorld {
    fn new() -> Self {
        let served = Served::start(Gateway::new());
        let Scale { schedule, backoff, .. } = Scale::real();
        let builder = Client::builder().gateway(served.address()).schedule(schedule).backoff(backoff);
        let (client, announcements) = listening(|address| {
            let client = builder.clone().announcement_address(address).build().unwrap();
            client.announcement_error().is_none().then_some(client)
        });
        served.announce_to(announcements);
        Self { kept: HashMap::new(), events: client.events(), client, served }
    }
}

impl World for StdWorld {
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
        self.client.external_address().map_err(machine_error)
    }

    fn map(&mut self, request: &MapRequest) -> Result<Mapping, RequestError> {
        self.client.map(request).map_err(machine_error)
    }

    fn unmap(&mut self, protocol: Protocol, internal_port: u16) -> Result<(), RequestError> {
        self.client.unmap(protocol, internal_port).map(|_| ()).map_err(machine_error)
    }

    fn unmap_all(&mut self, protocol: Protocol) -> Result<(), RequestError> {
        self.client.unmap_all(protocol).map_err(machine_error)
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
        let _ = self.kept[&(protocol, internal_port)].refresh();
    }

    fn stop(&mut self, protocol: Protocol, internal_port: u16) -> Result<(), RequestError> {
        let kept = self.kept.remove(&(protocol, internal_port)).expect("it is kept");
        kept.stop().map(|_| ()).map_err(machine_error)
    }

    fn next_event(&mut self, limit: Duration) -> Option<Event> {
        self.events.next_timeout(limit)
    }
}
