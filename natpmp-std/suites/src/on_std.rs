use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use natpmp_proto::gateway;
use natpmp_std::server::nat::Nat;
use natpmp_std::server::{Server, ServerError};
use natpmp_std::{
    Announcement, Change, Client, Ending, Error, Event, KeptMapping, MapRequest, Mapping, MappingReport, Protocol,
    Subscription,
};

use crate::client::set_up_client;
use crate::server::set_up_server;
use crate::{
    Adapter, ClientSetup, ClientUnderTest, KeptUnderTest, ServerSetup, ServerUnderTest, SubscriptionUnderTest,
};

/// `natpmp_std`, as it is.
pub struct Std;

impl Adapter for Std {
    type Client = Client;
    type Server = Server;
}

impl ClientUnderTest for Client {
    type Kept = KeptMapping;
    type Events = Subscription<Event>;
    type Announcements = Subscription<Announcement>;

    fn start(setup: &ClientSetup) -> Result<Self, Error> {
        set_up_client!(setup, Self::builder()).build()
    }

    fn gateway(&self) -> SocketAddrV4 {
        self.gateway()
    }

    fn local_address(&self) -> Option<Ipv4Addr> {
        self.local_address()
    }

    fn announcement_error(&self) -> Option<io::Error> {
        self.announcement_error()
    }

    fn mappings(&self) -> Vec<MappingReport> {
        self.mappings()
    }

    fn events(&self) -> Subscription<Event> {
        self.events()
    }

    fn announcements(&self) -> Subscription<Announcement> {
        self.announcements()
    }

    fn external_address(&self) -> Result<Ipv4Addr, Error> {
        self.external_address()
    }

    fn map(&self, request: &MapRequest) -> Result<Mapping, Error> {
        self.map(request)
    }

    fn refresh(&self, mapping: &Mapping) -> Result<Mapping, Error> {
        self.refresh(mapping)
    }

    fn unmap(&self, protocol: Protocol, internal_port: u16) -> Result<Ending, Error> {
        self.unmap(protocol, internal_port)
    }

    fn delete(&self, mapping: &Mapping) -> Result<Ending, Error> {
        self.delete(mapping)
    }

    fn unmap_all(&self, protocol: Protocol) -> Result<(), Error> {
        self.unmap_all(protocol)
    }

    fn keep(&self, request: &MapRequest) -> Result<KeptMapping, Error> {
        self.keep(request)
    }

    fn keep_with(
        &self,
        request: &MapRequest,
        callback: impl FnMut(&Change) + Send + 'static,
    ) -> Result<KeptMapping, Error> {
        self.keep_with(request, callback)
    }

    fn watch_external_address(&self, is_watched: bool) {
        self.watch_external_address(is_watched);
    }

    fn network_changed(&self) {
        self.network_changed();
    }

    fn set_gateway(&self, gateway: SocketAddrV4) {
        self.set_gateway(gateway);
    }
}

impl KeptUnderTest for KeptMapping {
    fn protocol(&self) -> Protocol {
        self.protocol()
    }

    fn internal_port(&self) -> u16 {
        self.internal_port()
    }

    fn state(&self) -> MappingReport {
        self.state()
    }

    fn wait_open(&self, timeout: Duration) -> Result<Mapping, Error> {
        self.wait_open(timeout)
    }

    fn refresh(&self) -> Result<Mapping, Error> {
        self.refresh()
    }

    fn stop(self) -> Result<Ending, Error> {
        self.stop()
    }
}

impl<T: Send + 'static> SubscriptionUnderTest for Subscription<T>
where
    Self: Iterator<Item = T>,
{
    fn next_timeout(&mut self, timeout: Duration) -> Option<T> {
        self.next_timeout(timeout)
    }
}

impl ServerUnderTest for Server {
    type Events = Subscription<gateway::Event>;

    fn start<N: Nat + 'static>(setup: ServerSetup<N>) -> Result<Self, ServerError> {
        set_up_server!(setup, Self).build()
    }

    fn addresses(&self) -> &[SocketAddrV4] {
        self.addresses()
    }

    fn events(&self) -> Subscription<gateway::Event> {
        self.events()
    }

    fn time_left(&self, mapping: &gateway::Mapping) -> Option<Duration> {
        self.time_left(mapping)
    }

    fn mappings(&self) -> Vec<gateway::Mapping> {
        self.mappings()
    }

    fn external_address(&self) -> Option<Ipv4Addr> {
        self.external_address()
    }

    fn dropped_requests(&self) -> u64 {
        self.dropped_requests()
    }

    fn set_external_address(&self, address: Option<Ipv4Addr>) {
        self.set_external_address(address);
    }

    fn allow_mapping(&self, is_allowed: bool) {
        self.allow_mapping(is_allowed);
    }

    fn clear(&self) {
        self.clear();
    }
}
