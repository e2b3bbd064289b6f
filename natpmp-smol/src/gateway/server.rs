use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;

use natpmp_std::gateway::adapter::{Handle, Settings, Start};

use super::nat::Nat;
use super::{Event, GatewayBuilder, Mapping, ServerDriver, ServerError, Sides};
use crate::Subscription;

/// A gateway, which its [`ServerDriver`] makes work, until it is dropped. Then the driver takes the NAT down, and completes; the
/// state stays in its file.
///
/// When the driver is dropped first, the gateway is over: there are no mappings and no external address any more, commands
/// do nothing, and subscriptions end.
#[must_use = "the gateway ends when its server is dropped"]
pub struct Server(Handle);

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
    pub fn events(&self) -> Subscription<Event> {
        Subscription::new(self.0.events())
    }

    /// What is left of the lease of a mapping; `None` if the administrator made it.
    #[must_use]
    pub fn time_left(&self, mapping: &Mapping) -> Option<Duration> {
        self.0.time_left(mapping)
    }

    /// All mappings that the NAT has.
    #[must_use]
    pub fn mappings(&self) -> Vec<Mapping> {
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

/// How a [`Server`] is to be started: `start` returns it together with its [`ServerDriver`]. That blocks for a moment, while the
/// state is read and the NAT starts.
pub type ServerBuilder = GatewayBuilder<Server>;

impl Start for Server {
    type Started = (Self, ServerDriver);

    fn start(settings: Settings) -> Result<Self::Started, ServerError> {
        let driver = ServerDriver::start(settings)?;
        let handle = Handle::new(Arc::clone(driver.shared()), None);
        Ok((Self(handle), driver))
    }
}

/// Where requests are heard.
impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("addresses", &self.addresses()).finish_non_exhaustive()
    }
}
