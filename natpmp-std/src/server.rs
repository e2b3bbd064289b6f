//! A NAT-PMP gateway on real sockets: the machine of [`natpmp_proto::gateway`], a NAT behind it, and a file for its state.
//!
//! ```no_run
//! # #[cfg(feature = "relay")] {
//! use natpmp_std::server::nat::{Relay, RelayLimits};
//! use natpmp_std::server::{External, Internal, Server};
//!
//! let server = Server::builder(|_| Relay::start(RelayLimits::default()))
//!     .internal(Internal::Interface("lan0".into()))
//!     .external(External::Interface("wan0".into()))
//!     .start()?;
//! for event in server.events() {
//!     println!("{event:?}");
//! }
//! # }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

pub use natpmp_proto::gateway::{GatewayEvent, GatewayMapping};

use natpmp_engine::server::{ServerHandle, ServerOptions, Start};
use natpmp_nat::Nat;

use crate::{Subscription, server_worker as worker};

pub use natpmp_engine::server::{
    External, Internal, SERVER_CAPACITY, ServerError, Sides, State, StateError, StoredMapping,
};
pub use natpmp_nat as nat;
pub use natpmp_proto::gateway::{
    CloseCause, GatewayConfig, NatFailure, NatMapping, NatRequest, PortRange, TooManyRanges,
};

/// A gateway that runs on a thread of its own until it is dropped. Then its NAT is taken down; the state stays in its file.
pub struct Server(ServerHandle);

impl Server {
    /// A server with the NAT that `start_nat` starts. It is called last, when the sockets are open and the state is read: a server
    /// that cannot start leaves the NAT of another one alone.
    pub fn builder<N: Nat + 'static>(start_nat: impl FnOnce(&Sides) -> io::Result<N> + 'static) -> ServerBuilder {
        ServerBuilder::new(start_nat)
    }

    /// Where requests are heard, as of the start. An interface that is served by its name may have other addresses later.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddrV4] {
        self.0.addresses()
    }

    /// What happens from now on. The first call also tells of what has happened since the start, mappings that were taken up again
    /// among it. Of what nobody has taken yet, the latest 4,096 at most are kept.
    #[must_use]
    pub fn events(&self) -> Subscription<GatewayEvent> {
        Subscription::new(self.0.events())
    }

    /// What is left of the lease of a mapping; `None` if the administrator made it.
    #[must_use]
    pub fn time_left(&self, mapping: &GatewayMapping) -> Option<Duration> {
        self.0.time_left(mapping)
    }

    /// All mappings that the NAT has.
    #[must_use]
    pub fn mappings(&self) -> Vec<GatewayMapping> {
        self.0.mappings()
    }

    /// The external address.
    #[must_use]
    pub fn external_address(&self) -> Option<Ipv4Addr> {
        self.0.external_address()
    }

    /// How many requests were dropped, since their clients asked more often than the builder's `requests_per_second` allows.
    #[must_use]
    pub fn dropped_requests(&self) -> u64 {
        self.0.dropped_requests()
    }

    /// Another external address from now on, or none. An interface that was given is not looked at any more.
    pub fn set_external_address(&self, address: Option<Ipv4Addr>) {
        self.0.set_external_address(address);
    }

    /// Whether clients may make mappings; if not, they are told result 2.
    pub fn allow_mapping(&self, is_allowed: bool) {
        self.0.allow_mapping(is_allowed);
    }

    /// Removes all mappings; the epoch begins again at 0.
    pub fn clear(&self) {
        self.0.clear();
    }
}

/// How a [`Server`] is to be started.
pub type ServerBuilder = natpmp_engine::server::ServerBuilder<Server>;

impl Start for Server {
    type Started = Self;

    fn start(settings: ServerOptions) -> Result<Self, ServerError> {
        worker::start(settings).map(Self)
    }
}

/// Where requests are heard.
impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("addresses", &self.addresses()).finish_non_exhaustive()
    }
}
