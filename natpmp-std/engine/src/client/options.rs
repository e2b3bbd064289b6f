//! The options of a client, and what the system is asked for where none was given.

use std::hash::{BuildHasher, RandomState};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use natpmp_proto::client::Config;
use natpmp_proto::wire::{ANNOUNCEMENT_GROUP, ANNOUNCEMENT_PORT, GATEWAY_PORT};
use natpmp_proto::{Backoff, Schedule};

use super::Error;
use super::sockets::Addresses;
use crate::os::network::{GatewayOrigin, discover};
use crate::os::routes::DiscoverError;

/// How a client is to be made. The builders of the adapters fill this in.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// The gateway's address and port. `None`: it is discovered (see [`discover_gateway`](crate::os::routes::discover_gateway)), and
    /// discovered again when the routes change. One that is given stays.
    pub gateway: Option<SocketAddrV4>,
    /// The local address to send from. `None`: the system chooses.
    pub local_address: Option<Ipv4Addr>,
    /// The interface to send and receive by, and whose gateway is discovered. `None`: the system chooses. On Linux only: elsewhere
    /// every request fails with [`Error::NetworkDown`].
    pub interface: Option<String>,
    /// Where announcements of the gateway are received (RFC 6886, section 3.2.1). `None`: they are not.
    pub announcements: Option<SocketAddrV4>,
    /// How patiently a request is pursued.
    pub schedule: Schedule,
    /// The pause before what failed is tried again.
    pub backoff: Backoff,
    /// How often the external address is asked for while a callback or the caller watches it. `None`: every
    /// 300 s.
    pub external_address_interval: Option<Duration>,
    /// How long the stop of a kept mapping waits for its deletion to be answered, and the drop of the last handle for the next answer
    /// to those that are left.
    pub goodbye: Duration,
    /// Whether a client is made also when no gateway is given and none is found: then it waits for one, and its gateway is 0.0.0.0
    /// until then.
    pub waits_for_gateway: bool,
    /// Whether, when this host has another address than before, **all** mappings that the gateway has for the new one are deleted
    /// before the client's own are made (RFC 6886, section 3.4).
    pub clears_on_new_address: bool,
}

impl ClientOptions {
    /// The options that a client has by default: it discovers its gateway, receives announcements at 224.0.0.1:5350, and is as patient
    /// as the RFC says.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            gateway: None,
            local_address: None,
            interface: None,
            announcements: Some(Self::ANNOUNCEMENTS),
            schedule: Schedule::RFC,
            backoff: Backoff::DEFAULT,
            external_address_interval: None,
            goodbye: Duration::from_secs(2),
            waits_for_gateway: false,
            clears_on_new_address: false,
        }
    }

    /// Asks the system for what was not given: the gateway, unless there is one, and a seed.
    ///
    /// # Errors
    /// [`Error::Discover`] if no gateway was given and none is found, and the client is not to wait for one.
    pub fn resolve(&self) -> Result<ClientConfig, Error> {
        let (gateway, origin) = match self.gateway {
            Some(gateway) => (gateway, GatewayOrigin::Given),
            None => (SocketAddrV4::new(self.discover_or_wait()?, GATEWAY_PORT), GatewayOrigin::Discovered),
        };
        let mut machine = Config::for_gateway(gateway)
            .schedule(self.schedule)
            .backoff(self.backoff)
            .seed(RandomState::new().hash_one(gateway));
        if let Some(interval) = self.external_address_interval {
            machine = machine.external_address_interval(interval);
        }
        let addresses = Addresses {
            local: self.local_address,
            interface: self.interface.clone(),
            announcements: self.announcements,
        };
        let Self { goodbye, clears_on_new_address, .. } = *self;
        Ok(ClientConfig { machine, addresses, origin, goodbye, clears_on_new_address })
    }

    fn discover_or_wait(&self) -> Result<Ipv4Addr, DiscoverError> {
        match discover(self.interface.as_deref()) {
            // Waiting does not help.
            Err(error @ DiscoverError::Unsupported) => Err(error),
            Err(_) if self.waits_for_gateway => Ok(Ipv4Addr::UNSPECIFIED),
            result => result,
        }
    }

    /// Where gateways send their announcements.
    pub const ANNOUNCEMENTS: SocketAddrV4 = SocketAddrV4::new(ANNOUNCEMENT_GROUP, ANNOUNCEMENT_PORT);
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self::new()
    }
}

/// What a client is made from: its options, with what the system was asked for.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    pub(crate) machine: Config,
    pub(crate) addresses: Addresses,
    pub(crate) origin: GatewayOrigin,
    pub(crate) goodbye: Duration,
    pub(crate) clears_on_new_address: bool,
}
