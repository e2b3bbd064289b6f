use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use natpmp_engine::client::ClientOptions;
use natpmp_proto::wire::GATEWAY_PORT;
use natpmp_proto::{Backoff, Schedule};

use crate::{Client, ClientDriver, Error};

/// How a [`Client`] is to be made, begun by [`Client::builder`]. Everything has a default.
#[derive(Clone, Debug)]
#[must_use = "nothing starts before `build`"]
pub struct ClientBuilder {
    options: ClientOptions,
}

impl ClientBuilder {
    pub(crate) const fn new() -> Self {
        Self { options: ClientOptions::new() }
    }

    /// The gateway's address and port; by default it is discovered (see [`discover_gateway`](crate::discover_gateway)), and
    /// discovered again when the routes change. One that is given stays.
    pub const fn gateway(mut self, gateway: SocketAddrV4) -> Self {
        self.options.gateway = Some(gateway);
        self
    }

    /// The gateway's address, at port 5351.
    pub const fn gateway_address(self, address: Ipv4Addr) -> Self {
        self.gateway(SocketAddrV4::new(address, GATEWAY_PORT))
    }

    /// The local address to send from; by default the system chooses.
    pub const fn local_address(mut self, address: Ipv4Addr) -> Self {
        self.options.local_address = Some(address);
        self
    }

    /// The interface to send and receive by, and whose gateway is discovered; by default the system chooses. On Linux only:
    /// elsewhere every request fails with [`Error::NetworkDown`], and [`local_address`](Self::local_address) is to be used instead.
    pub fn interface(mut self, name: impl Into<String>) -> Self {
        self.options.interface = Some(name.into());
        self
    }

    /// Whether announcements of the gateway are received (RFC 6886, section 3.2.1); they are by default. If port 5350 cannot
    /// be had the client works without, and says so: [`Client::announcement_error`].
    pub const fn announcements(mut self, are_heard: bool) -> Self {
        self.options.announcements = if are_heard { Some(ClientOptions::ANNOUNCEMENTS) } else { None };
        self
    }

    /// The address to receive announcements on, if it is not 224.0.0.1:5350.
    pub const fn announcement_address(mut self, address: SocketAddrV4) -> Self {
        self.options.announcements = Some(address);
        self
    }

    /// How patiently a request is pursued: [`Schedule::RFC`] by default, which takes 127.75 s to give up.
    pub const fn schedule(mut self, schedule: Schedule) -> Self {
        self.options.schedule = schedule;
        self
    }

    /// The pause before what failed is tried again; from 2 s to 64 s by default.
    pub const fn backoff(mut self, backoff: Backoff) -> Self {
        self.options.backoff = backoff;
        self
    }

    /// How often the external address is asked for while a callback or
    /// [`Client::watch_external_address`] watches it; every 300 s by default.
    pub const fn external_address_interval(mut self, interval: Duration) -> Self {
        self.options.external_address_interval = Some(interval);
        self
    }

    /// How long [`KeptMapping::stop`](crate::KeptMapping::stop) waits for its deletion to be answered, and the drop of the last handle
    /// for the next answer to those that are left; 2 s by default.
    pub const fn goodbye(mut self, bound: Duration) -> Self {
        self.options.goodbye = bound;
        self
    }

    /// Whether a client is made also when no gateway is given and none is found: then it waits for one, and
    /// [`Event::GatewayChanged`](crate::Event::GatewayChanged) says so when there is one. Until then its gateway is 0.0.0.0, and whatever it asks for
    /// fails with [`Error::NetworkDown`]. By default that is an error.
    pub const fn wait_for_gateway(mut self, does_wait: bool) -> Self {
        self.options.waits_for_gateway = does_wait;
        self
    }

    /// Whether, when this host has another address than before, **all** mappings that the gateway has for the new one are
    /// deleted before the client's own are made: an earlier holder of the address may have left them (RFC 6886, section 3.4),
    /// and so may another program on this host. They are left alone by default.
    pub const fn clear_on_new_address(mut self, does_clear: bool) -> Self {
        self.options.clears_on_new_address = does_clear;
        self
    }

    /// Makes the client and its driver, which is to be spawned or polled. It sends nothing yet.
    ///
    /// # Errors
    /// [`Error::Discover`] if no gateway was given and none is found; [`Error::Start`] if the system has no descriptor left. A
    /// network that is down is no error here.
    pub fn build(self) -> Result<(Client, ClientDriver), Error> {
        Client::start(&self.options.resolve()?)
    }
}
