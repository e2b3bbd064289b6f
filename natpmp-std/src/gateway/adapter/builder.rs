use std::io;
use std::marker::PhantomData;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;

use natpmp_proto::gateway::{Config, NatMapping};
use natpmp_proto::wire::{ANNOUNCEMENT_GROUP, ANNOUNCEMENT_PORT, GATEWAY_PORT};

use crate::gateway::ServerError;
use crate::gateway::nat::Nat;

/// The side that is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Internal {
    /// One of this host's own addresses, and the hosts behind its interface. When the address is gone, it is served again within 2 s
    /// of its return.
    Address(Ipv4Addr),
    /// An interface, by all IPv4 addresses that it has; changes of them are noticed within 2 s.
    Interface(String),
}

/// The side towards the internet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum External {
    /// This address, which stays until `Server::set_external_address` is called.
    Address(Ipv4Addr),
    /// The address that this interface has; changes of it are noticed within 2 s.
    Interface(String),
    /// None yet: clients are told result 3 until `Server::set_external_address` is called.
    None,
}

/// The interfaces of both sides, for a NAT that is to be started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sides {
    /// Those of the internal addresses.
    pub internal: Vec<String>,
    /// The one of the external address, if it is known.
    pub external: Option<String>,
}

/// How a gateway is to be started.
#[must_use]
pub struct GatewayBuilder<S> {
    settings: Settings,
    server: PhantomData<fn() -> S>,
}

/// A server that can be started.
pub trait Start {
    /// What there is then.
    type Started;

    /// Starts one.
    ///
    /// # Errors
    /// See [`ServerError`]. Nothing is left running.
    fn start(settings: Settings) -> Result<Self::Started, ServerError>;
}

/// What a builder has come to.
pub struct Settings {
    pub(super) start_nat: StartNat,
    pub(super) internal: Vec<Internal>,
    pub(super) external: External,
    pub(super) config: Config,
    pub(super) statics: Vec<NatMapping>,
    pub(super) port: u16,
    pub(super) announce_to: SocketAddrV4,
    pub(super) state_file: Option<PathBuf>,
    pub(super) requests_per_second: Option<u32>,
}

/// Starts the NAT, once everything else is ready.
pub(super) type StartNat = Box<dyn FnOnce(&Sides) -> io::Result<Box<dyn Nat>>>;

impl<S> GatewayBuilder<S> {
    /// All defaults, and this NAT.
    pub fn new<N: Nat + 'static>(start_nat: impl FnOnce(&Sides) -> io::Result<N> + 'static) -> Self {
        let settings = Settings {
            start_nat: Box::new(|sides| Ok(Box::new(start_nat(sides)?) as Box<dyn Nat>)),
            internal: Vec::new(),
            external: External::None,
            config: Config::new(),
            statics: Vec::new(),
            port: GATEWAY_PORT,
            announce_to: SocketAddrV4::new(ANNOUNCEMENT_GROUP, ANNOUNCEMENT_PORT),
            state_file: None,
            requests_per_second: Some(REQUESTS_PER_SECOND),
        };
        Self { settings, server: PhantomData }
    }

    /// Serves this address or interface as well. At least one is needed. Requests that arrive by another interface are not heard,
    /// as far as the system can tell them apart (Linux).
    pub fn internal(mut self, internal: Internal) -> Self {
        self.settings.internal.push(internal);
        self
    }

    /// The side towards the internet.
    pub fn external(mut self, external: External) -> Self {
        self.settings.external = external;
        self
    }

    /// Leases, ports and limits.
    pub fn config(mut self, config: Config) -> Self {
        self.settings.config = config;
        self
    }

    /// How many requests a second of one client are answered, after as many as two seconds bring at once; 1,000 by default, and any
    /// number for `None`. Those above are dropped without a word, and counted: see `Server::dropped_requests`. It bounds what a
    /// client costs, and what a host is sent in whose name another one asks.
    pub fn requests_per_second(mut self, requests: Option<u32>) -> Self {
        self.settings.requests_per_second = requests;
        self
    }

    /// A mapping that stands for as long as the gateway does, and that its client cannot delete.
    pub fn static_mapping(mut self, mapping: NatMapping) -> Self {
        self.settings.statics.push(mapping);
        self
    }

    /// The UDP port that is listened on; 5351 by default, and 0 for any (see `Server::addresses`).
    pub fn port(mut self, port: u16) -> Self {
        self.settings.port = port;
        self
    }

    /// Where announcements go; to 224.0.0.1:5350 by default, out of each internal interface.
    pub fn announce_to(mut self, address: SocketAddrV4) -> Self {
        self.settings.announce_to = address;
        self
    }

    /// Keeps the state in this file, and takes up what is in it: the mappings, and the epoch if the gateway before ended in order. After
    /// a crash the epoch begins anew, since the last mappings may not have come to the file: their clients learn of it and ask again. One that
    /// crashes in the first seconds of its epoch cannot tell them (RFC 6886, section 3.6).
    pub fn state_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.settings.state_file = Some(path.into());
        self
    }
}

impl<S: Start> GatewayBuilder<S> {
    /// Starts it.
    ///
    /// # Errors
    /// See [`ServerError`]. Nothing is left running.
    pub fn start(self) -> Result<S::Started, ServerError> {
        S::start(self.settings)
    }
}

/// Far more than a client has a use for: it waits for one answer before it asks for the next, and has 64 mappings by default.
const REQUESTS_PER_SECOND: u32 = 1_000;
