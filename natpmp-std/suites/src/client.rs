use std::fmt::Debug;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use natpmp_proto::{Backoff, Schedule};
use natpmp_std::{Announcement, Change, Ending, Error, Event, MapRequest, Mapping, MappingReport, Protocol};
use natpmp_testkit::world;

/// A client, whose calls block: the methods are those of [`natpmp_std::Client`]. Dropping its last handle (a clone, or a mapping that
/// it keeps) waits for its end.
pub trait ClientUnderTest: Clone + Debug + Send + Sync + 'static {
    type Kept: KeptUnderTest;
    type Events: SubscriptionUnderTest<Item = Event>;
    type Announcements: SubscriptionUnderTest<Item = Announcement>;

    fn start(setup: &ClientSetup) -> Result<Self, Error>;

    fn gateway(&self) -> SocketAddrV4;
    fn local_address(&self) -> Option<Ipv4Addr>;
    fn announcement_error(&self) -> Option<io::Error>;
    fn mappings(&self) -> Vec<MappingReport>;
    fn events(&self) -> Self::Events;
    fn announcements(&self) -> Self::Announcements;

    fn external_address(&self) -> Result<Ipv4Addr, Error>;
    fn map(&self, request: &MapRequest) -> Result<Mapping, Error>;
    fn refresh(&self, mapping: &Mapping) -> Result<Mapping, Error>;
    fn unmap(&self, protocol: Protocol, internal_port: u16) -> Result<Ending, Error>;
    fn delete(&self, mapping: &Mapping) -> Result<Ending, Error>;
    fn unmap_all(&self, protocol: Protocol) -> Result<(), Error>;

    fn keep(&self, request: &MapRequest) -> Result<Self::Kept, Error>;
    fn keep_with(
        &self,
        request: &MapRequest,
        callback: impl FnMut(&Change) + Send + 'static,
    ) -> Result<Self::Kept, Error>;
    fn watch_external_address(&self, is_watched: bool);
    fn network_changed(&self);
    fn set_gateway(&self, gateway: SocketAddrV4);
}

/// The handle of a mapping that is kept until it is dropped: the methods are those of [`natpmp_std::KeptMapping`].
pub trait KeptUnderTest: Debug + Send + Sync + 'static {
    fn protocol(&self) -> Protocol;
    fn internal_port(&self) -> u16;
    fn state(&self) -> MappingReport;
    fn wait_open(&self, timeout: Duration) -> Result<Mapping, Error>;
    fn refresh(&self) -> Result<Mapping, Error>;
    fn stop(self) -> Result<Ending, Error>;
}

/// What happens from the moment of the subscription on, until the client or the server ends.
pub trait SubscriptionUnderTest: Iterator + Send + 'static {
    fn next_timeout(&mut self, timeout: Duration) -> Option<Self::Item>;
}

/// What a client is built with. What is `None` is left to the builder.
#[derive(Clone, Debug, Default)]
pub struct ClientSetup {
    pub gateway: Option<SocketAddrV4>,
    pub local_address: Option<Ipv4Addr>,
    pub interface: Option<&'static str>,
    pub announcements: Announcements,
    pub schedule: Option<Schedule>,
    pub backoff: Option<Backoff>,
    pub external_address_interval: Option<Duration>,
    pub goodbye: Option<Duration>,
}

/// Where announcements are heard.
#[derive(Clone, Copy, Debug, Default)]
pub enum Announcements {
    #[default]
    Nowhere,
    /// On the address and port of RFC 6886, section 3.2.1.
    AtTheGroup,
    At(SocketAddrV4),
}

/// A client that hears announcements on a port that nobody else has, and where.
pub fn listening<C: ClientUnderTest>(setup: &ClientSetup) -> (C, SocketAddrV4) {
    world::listening(|address| {
        let setup = ClientSetup { announcements: Announcements::At(address), ..setup.clone() };
        let client = C::start(&setup).expect("a client that cannot listen is started all the same");
        client.announcement_error().is_none().then_some(client)
    })
}

/// Passes a [`ClientSetup`] on to the builder of an adapter, whatever its type.
macro_rules! set_up_client {
    ($setup:expr, $builder:expr) => {{
        let (setup, mut builder): (&$crate::ClientSetup, _) = ($setup, $builder);
        builder = match setup.announcements {
            $crate::Announcements::Nowhere => builder.announcements(false),
            $crate::Announcements::AtTheGroup => builder,
            $crate::Announcements::At(address) => builder.announcement_address(address),
        };
        $crate::client::set_if_given!(builder, setup, gateway, local_address, interface, schedule, backoff);
        $crate::client::set_if_given!(builder, setup, external_address_interval, goodbye);
        builder
    }};
}

/// Calls a builder's method with each field that is not `None`.
macro_rules! set_if_given {
    ($builder:ident, $setup:ident, $($field:ident),+) => {
        $(if let Some(value) = $setup.$field { $builder = $builder.$field(value); })+
    };
}

pub(crate) use {set_if_given, set_up_client};
