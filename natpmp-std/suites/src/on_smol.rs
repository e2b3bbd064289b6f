use std::fmt;
use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use natpmp_proto::gateway;
use natpmp_smol::server::nat::Nat;
use natpmp_smol::server::{Server, ServerError};
use natpmp_smol::{
    Announcement, Change, Client, Ending, Error, Event, KeptMapping, MapRequest, Mapping, MappingReport, Protocol,
    Subscription,
};
use smol::future::FutureExt;
use smol::stream::StreamExt;
use smol::{Timer, block_on};

use crate::client::set_up_client;
use crate::server::set_up_server;
use crate::{
    Adapter, ClientSetup, ClientUnderTest, KeptUnderTest, ServerSetup, ServerUnderTest, SubscriptionUnderTest,
};

/// `natpmp_smol`, whose futures are waited for where they are made, with a thread for each driver.
pub struct Smol;

impl Adapter for Smol {
    type Client = SmolClient;
    type Server = SmolServer;
}

/// A client and the thread that it shares with its clones and its mappings.
#[derive(Clone)]
pub struct SmolClient {
    client: Client,
    driver: Arc<DriverThread>,
}

impl ClientUnderTest for SmolClient {
    type Kept = SmolKept;
    type Events = SmolSubscription<Event>;
    type Announcements = SmolSubscription<Announcement>;

    fn start(setup: &ClientSetup) -> Result<Self, Error> {
        let (client, driver) = set_up_client!(setup, Client::builder()).build()?;
        Ok(Self { client, driver: Arc::new(DriverThread::start(driver)) })
    }

    fn gateway(&self) -> SocketAddrV4 {
        self.client.gateway()
    }

    fn local_address(&self) -> Option<Ipv4Addr> {
        self.client.local_address()
    }

    fn announcement_error(&self) -> Option<io::Error> {
        self.client.announcement_error()
    }

    fn mappings(&self) -> Vec<MappingReport> {
        self.client.mappings()
    }

    fn events(&self) -> SmolSubscription<Event> {
        SmolSubscription(self.client.events())
    }

    fn announcements(&self) -> SmolSubscription<Announcement> {
        SmolSubscription(self.client.announcements())
    }

    fn external_address(&self) -> Result<Ipv4Addr, Error> {
        block_on(self.client.external_address())
    }

    fn map(&self, request: &MapRequest) -> Result<Mapping, Error> {
        block_on(self.client.map(request))
    }

    fn refresh(&self, mapping: &Mapping) -> Result<Mapping, Error> {
        block_on(self.client.refresh(mapping))
    }

    fn unmap(&self, protocol: Protocol, internal_port: u16) -> Result<Ending, Error> {
        block_on(self.client.unmap(protocol, internal_port))
    }

    fn delete(&self, mapping: &Mapping) -> Result<Ending, Error> {
        block_on(self.client.delete(mapping))
    }

    fn unmap_all(&self, protocol: Protocol) -> Result<(), Error> {
        block_on(self.client.unmap_all(protocol))
    }

    fn keep(&self, request: &MapRequest) -> Result<SmolKept, Error> {
        let kept = self.client.keep(request)?;
        Ok(SmolKept { kept, driver: Arc::clone(&self.driver) })
    }

    fn keep_with(
        &self,
        request: &MapRequest,
        callback: impl FnMut(&Change) + Send + 'static,
    ) -> Result<SmolKept, Error> {
        let kept = self.client.keep_with(request, callback)?;
        Ok(SmolKept { kept, driver: Arc::clone(&self.driver) })
    }

    fn watch_external_address(&self, is_watched: bool) {
        self.client.watch_external_address(is_watched);
    }

    fn network_changed(&self) {
        self.client.network_changed();
    }

    fn set_gateway(&self, gateway: SocketAddrV4) {
        self.client.set_gateway(gateway);
    }
}

impl fmt::Debug for SmolClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.client.fmt(f)
    }
}

/// A mapping that is kept, and the thread of its client.
pub struct SmolKept {
    kept: KeptMapping,
    driver: Arc<DriverThread>,
}

impl KeptUnderTest for SmolKept {
    fn protocol(&self) -> Protocol {
        self.kept.protocol()
    }

    fn internal_port(&self) -> u16 {
        self.kept.internal_port()
    }

    fn state(&self) -> MappingReport {
        self.kept.state()
    }

    fn wait_open(&self, timeout: Duration) -> Result<Mapping, Error> {
        block_on(self.kept.wait_open(timeout))
    }

    fn refresh(&self) -> Result<Mapping, Error> {
        block_on(self.kept.refresh())
    }

    fn stop(self) -> Result<Ending, Error> {
        let Self { kept, driver } = self;
        let result = block_on(kept.stop());
        drop(driver);
        result
    }
}

impl fmt::Debug for SmolKept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.kept.fmt(f)
    }
}

/// A stream that is waited for.
pub struct SmolSubscription<T>(Subscription<T>);

impl<T> Iterator for SmolSubscription<T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        block_on(self.0.next())
    }
}

impl<T: Send + 'static> SubscriptionUnderTest for SmolSubscription<T> {
    fn next_timeout(&mut self, timeout: Duration) -> Option<T> {
        let late = async {
            Timer::after(timeout).await;
            None
        };
        block_on(self.0.next().or(late))
    }
}

/// A server and the thread that drives it.
pub struct SmolServer {
    server: Server,
    _driver: DriverThread,
}

impl ServerUnderTest for SmolServer {
    type Events = SmolSubscription<gateway::Event>;

    fn start<N: Nat + 'static>(setup: ServerSetup<N>) -> Result<Self, ServerError> {
        let (server, driver) = set_up_server!(setup, Server).build()?;
        Ok(Self { server, _driver: DriverThread::start(driver) })
    }

    fn addresses(&self) -> &[SocketAddrV4] {
        self.server.addresses()
    }

    fn events(&self) -> SmolSubscription<gateway::Event> {
        SmolSubscription(self.server.events())
    }

    fn time_left(&self, mapping: &gateway::Mapping) -> Option<Duration> {
        self.server.time_left(mapping)
    }

    fn mappings(&self) -> Vec<gateway::Mapping> {
        self.server.mappings()
    }

    fn external_address(&self) -> Option<Ipv4Addr> {
        self.server.external_address()
    }

    fn dropped_requests(&self) -> u64 {
        self.server.dropped_requests()
    }

    fn set_external_address(&self, address: Option<Ipv4Addr>) {
        self.server.set_external_address(address);
    }

    fn allow_mapping(&self, is_allowed: bool) {
        self.server.allow_mapping(is_allowed);
    }

    fn clear(&self) {
        self.server.clear();
    }
}

impl fmt::Debug for SmolServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.server.fmt(f)
    }
}

/// A thread that polls a driver to its end. Whoever holds it drops it after the client or the server, so that the driver does end.
struct DriverThread(Option<JoinHandle<()>>);

impl DriverThread {
    fn start(driver: impl Future<Output = ()> + Send + 'static) -> Self {
        let thread = thread::Builder::new().name("driver".to_owned());
        Self(Some(thread.spawn(|| block_on(driver)).expect("a thread")))
    }
}

impl Drop for DriverThread {
    /// Waits for its end, unless that is where this happens: a callback may hold the last handle of its client.
    fn drop(&mut self) {
        let Some(thread) = self.0.take().filter(|thread| thread.thread().id() != thread::current().id()) else {
            return;
        };
        let ended = thread.join();
        assert!(ended.is_ok() || thread::panicking(), "the driver panicked");
    }
}
