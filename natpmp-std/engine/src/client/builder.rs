use std::hash::{BuildHasher, RandomState};
use std::marker::PhantomData;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use natpmp_proto::client::Config;
use natpmp_proto::wire::{ANNOUNCEMENT_GROUP, ANNOUNCEMENT_PORT, GATEWAY_PORT};
use natpmp_proto::{Backoff, Schedule};

use super::Error;
use super::sockets::Addresses;
use crate::os::network::{GatewayOrigin, discover};
use crate::os::routes::DiscoverError;

/// How a client is to be made. Everything has a default.
#[derive(Clone, Debug)]
#[must_use]
pub struct ClientBuilder<C> {
    gateway: Option<SocketAddrV4>,
    local: Option<Ipv4Addr>,
    interface: Option<String>,
    announcements: Option<SocketAddrV4>,
    schedule: Schedule,
    backoff: Backoff,
    external_address_interval: Option<Duration>,
    goodbye: Duration,
    waits_for_gateway: bool,
    clears_on_new_address: bool,
    client: PhantomData<fn() -> C>,
}

/// A client that can be started.
pub trait Start {
    /// What there is then.
    type Started;

    /// Starts one.
    ///
    /// # Errors
    /// [`Error::Start`].
    fn start(settings: &ClientOptions) -> Result<Self::Started, Error>;
}

/// What a builder has come to.
#[derive(Debug)]
pub struct ClientOptions {
    pub(crate) config: Config,
    pub(crate) addresses: Addresses,
    pub(crate) goodbye: Duration,
    pub(crate) origin: GatewayOrigin,
    pub(crate) clears_on_new_address: bool,
}

impl<C> ClientBuilder<C> {
    /// All defaults.
    #[allow(clippy::new_without_default, reason = "an adapter gives it a place")]
    pub const fn new() -> Self {
        Self {
            gateway: None,
            local: None,
            interface: None,
            announcements: Some(SocketAddrV4::new(ANNOUNCEMENT_GROUP, ANNOUNCEMENT_PORT)),
            schedule: Schedule::RFC,
            backoff: Backoff::DEFAULT,
            external_address_interval: None,
            goodbye: Duration::from_secs(2),
            waits_for_gateway: false,
            clears_on_new_address: false,
            client: PhantomData,
        }
    }

    /// The gateway's address and port; by default it is discovered (see
    /// [`discover_gateway`](crate::discover_gateway)), and discovered again when the routes change. One that is given stays.
    pub const fn gateway(mut self, gateway: SocketAddrV4) -> Self {
        self.gateway = Some(gateway);
        self
    }

    /// The gateway's address, at port 5351.
    pub const fn gateway_address(self, address: Ipv4Addr) -> Self {
        self.gateway(SocketAddrV4::new(address, GATEWAY_PORT))
    }

    /// The local address to send from; by default the system chooses.
    pub const fn local_address(mut self, address: Ipv4Addr) -> Self {
        self.local = Some(address);
        self
    }

    /// The interface to send and hear by, and whose gateway is discovered; by default the system chooses. On Linux only:
    /// elsewhere every request fails with [`Error::NetworkDown`], and [`local_address`](Self::local_address) is to be used instead.
    pub fn interface(mut self, name: impl Into<String>) -> Self {
        self.interface = Some(name.into());
        self
    }

    /// Whether announcements of the gateway are heard (RFC 6886, section 3.2.1); they are by default. If port 5350 cannot
    /// be had the client works without, and says so: `announcement_error`.
    pub const fn announcements(mut self, are_heard: bool) -> Self {
        self.announcements = match are_heard {
            true => Some(SocketAddrV4::new(ANNOUNCEMENT_GROUP, ANNOUNCEMENT_PORT)),
            false => None,
        };
        self
    }

    /// The address to hear announcements on, if it is not 224.0.0.1:5350.
    pub const fn announcement_address(mut self, address: SocketAddrV4) -> Self {
        self.announcements = Some(address);
        self
    }

    /// How patiently a request is pursued: [`Schedule::RFC`] by default, which takes 127.75 s to give up.
    pub const fn schedule(mut self, schedule: Schedule) -> Self {
        self.schedule = schedule;
        self
    }

    /// The pause before what failed is tried again; from 2 s to 64 s by default.
    pub const fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }

    /// How often the external address is asked for while a callback or a watcher (`watch_external_address`) is to
    /// be told of its changes; 300 s by default.
    pub const fn external_address_interval(mut self, interval: Duration) -> Self {
        self.external_address_interval = Some(interval);
        self
    }

    /// How long `KeptMapping::stop` waits for its deletion to be answered, and the drop of the
    /// last handle for the next answer to those that are left; 2 s by default.
    pub const fn goodbye(mut self, bound: Duration) -> Self {
        self.goodbye = bound;
        self
    }

    /// Whether a client is made also when no gateway is given and none is found: then it waits for one, which
    /// [`Event::GatewayChanged`](natpmp_proto::client::Event::GatewayChanged) tells of. Until then its gateway is 0.0.0.0, and
    /// whatever it asks for fails with [`Error::NetworkDown`]. By default that is an error.
    pub const fn wait_for_gateway(mut self, does_wait: bool) -> Self {
        self.waits_for_gateway = does_wait;
        self
    }

    /// Whether, when this host has another address than before, **all** mappings that the gateway has for the new one are
    /// deleted before the client's own are made: an earlier holder of the address may have left them (RFC 6886, section 3.4),
    /// and so may another program on this host. They are left alone by default.
    pub const fn clear_on_new_address(mut self, does_clear: bool) -> Self {
        self.clears_on_new_address = does_clear;
        self
    }

    pub(crate) fn settings(&self) -> Result<ClientOptions, Error> {
        let discover_or_wait = || match discover(self.interface.as_deref()) {
            // Waiting does not help.
            Err(error @ DiscoverError::Unsupported) => Err(error),
            Err(_) if self.waits_for_gateway => Ok(Ipv4Addr::UNSPECIFIED),
            result => result,
        };
        let gateway = match self.gateway {
            Some(gateway) => gateway,
            None => SocketAddrV4::new(discover_or_wait()?, GATEWAY_PORT),
        };
        let mut config = Config::for_gateway(gateway)
            .schedule(self.schedule)
            .backoff(self.backoff)
            .seed(RandomState::new().hash_one(gateway));
        if let Some(interval) = self.external_address_interval {
            config = config.external_address_interval(interval);
        }
        let interface = self.interface.clone();
        let addresses = Addresses { local: self.local, interface, announcements: self.announcements };
        Ok(ClientOptions {
            config,
            addresses,
            goodbye: self.goodbye,
            origin: if self.gateway.is_none() { GatewayOrigin::Discovered } else { GatewayOrigin::Given },
            clears_on_new_address: self.clears_on_new_address,
        })
    }
}

impl<C: Start> ClientBuilder<C> {
    /// Starts the client. It sends nothing yet.
    ///
    /// # Errors
    /// [`Error::Discover`] if no gateway was given and none is found; [`Error::Start`] if the system has no thread or no
    /// descriptor left. A network that is down is no error here.
    pub fn build(self) -> Result<C::Started, Error> {
        C::start(&self.settings()?)
    }
}
