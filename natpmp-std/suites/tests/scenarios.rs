//! Every scenario of the testkit over real sockets: a client against a gateway on the loopback interface.
//!
//! Real time asserts order and outcome; the timeline is asserted where time is virtual.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::thread;
use std::time::Duration;

use natpmp_proto::Instant;
use natpmp_std::{Error, Event, MapRequest, Mapping, Protocol, RequestError};
use natpmp_suites::{
    Adapter, ClientSetup, ClientUnderTest, KeptUnderTest, SubscriptionUnderTest, listening, on_each_adapter,
};
use natpmp_testkit::gateway::{Gateway, Served};
use natpmp_testkit::world::{Scale, World, scenarios};

on_each_adapter!(every_scenario_holds_over_real_sockets);

/// C02, C03, C04, C05, C06, C07, C08, C10, C11, C12, C13, C14, C15, C16, C17, C18, C19, C20, C23, C24, C25, C26
fn every_scenario_holds_over_real_sockets<A: Adapter>() {
    let running: Vec<_> = scenarios::all::<RealWorld<A::Client>>()
        .into_iter()
        .map(|(name, run)| {
            let thread = thread::Builder::new().name(name.to_owned());
            (name, thread.spawn(move || run(&mut RealWorld::new())).unwrap())
        })
        .collect();
    assert!(!running.is_empty());
    let failed: Vec<_> =
        running.into_iter().filter_map(|(name, thread)| thread.join().is_err().then_some(name)).collect();
    assert!(failed.is_empty(), "failed: {failed:#?}");
}

/// A client and its gateway. Kept mappings are dropped before the client, and the client before the gateway.
struct RealWorld<C: ClientUnderTest> {
    kept: HashMap<(Protocol, u16), C::Kept>,
    events: C::Events,
    client: C,
    served: Served,
}

impl<C: ClientUnderTest> RealWorld<C> {
    fn new() -> Self {
        let served = Served::start(Gateway::new());
        let Scale { schedule, backoff, .. } = Scale::real();
        let (schedule, backoff) = (Some(schedule), Some(backoff));
        let setup = ClientSetup { gateway: Some(served.address()), schedule, backoff, ..ClientSetup::default() };
        let (client, announcements) = listening::<C>(&setup);
        served.announce_to(announcements);
        Self { kept: HashMap::new(), events: client.events(), client, served }
    }
}

impl<C: ClientUnderTest> World for RealWorld<C> {
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

/// The machine's error that a call's error was made of.
fn machine_error(error: Error) -> RequestError {
    match error {
        Error::NoAnswer { .. } => RequestError::NoAnswer,
        Error::PortUnreachable { .. } => RequestError::PortUnreachable,
        Error::NetworkDown { .. } => RequestError::NetworkDown,
        Error::Refused { refusal: Some(refusal), .. } => RequestError::Refused(refusal),
        Error::Refused { refusal: None, .. } => RequestError::GrantedNothing,
        other => panic!("a call to the gateway failed for another reason: {other}"),
    }
}
