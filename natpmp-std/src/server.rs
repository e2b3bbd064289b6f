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
//!     .build()?;
//! for event in server.events() {
//!     println!("{event:?}");
//! }
//! # }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use mio::{Events, Poll, Token};
use natpmp_engine::server::{ServerEngine, ServerHandle, ServerOptions, StartNat, Turn};
use natpmp_nat::Nat;

use crate::Subscription;
use crate::poller::{Socket, waker};

pub use natpmp_engine::server::{
    External, Internal, SERVER_CAPACITY, ServerError, Sides, StateError, StoredMapping, StoredState,
};
pub use natpmp_nat as nat;
pub use natpmp_proto::gateway::{
    CloseCause, Config, Event, Mapping, NatFailure, NatMapping, NatRequest, PortRange, TooManyRanges,
};

/// A gateway that runs on a thread of its own until it is dropped. Dropping it takes the NAT down and waits for that; the state
/// stays in its file.
pub struct Server {
    handle: ServerHandle,
    /// Until the drop waits for its end.
    worker: Option<JoinHandle<()>>,
}

impl Server {
    /// Prepares a server with the NAT that `start_nat` starts. The server calls it last, when the sockets are open and the state is
    /// read, so that a server that cannot start leaves the NAT of another one alone.
    pub fn builder<N: Nat + 'static>(start_nat: impl FnOnce(&Sides) -> io::Result<N> + 'static) -> ServerBuilder {
        let start_nat = move |sides: &Sides| Ok(Box::new(start_nat(sides)?) as Box<dyn Nat>);
        ServerBuilder { options: ServerOptions::default(), start_nat: Box::new(start_nat) }
    }

    /// The addresses that the server listened on when it started. An interface that is served by its name may have others later.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddrV4] {
        self.handle.addresses()
    }

    /// Subscribes to what happens from now on. The first call also returns what has happened since the start, mappings that were
    /// taken up again among it. A subscription keeps the latest 4,096 events that were not taken yet.
    #[must_use]
    pub fn events(&self) -> Subscription<Event> {
        Subscription::new(self.handle.events())
    }

    /// What is left of the lease of a mapping; `None` if the administrator made it.
    #[must_use]
    pub fn time_left(&self, mapping: &Mapping) -> Option<Duration> {
        self.handle.time_left(mapping)
    }

    /// All mappings that the NAT has.
    #[must_use]
    pub fn mappings(&self) -> Vec<Mapping> {
        self.handle.mappings()
    }

    /// The external address.
    #[must_use]
    pub fn external_address(&self) -> Option<Ipv4Addr> {
        self.handle.external_address()
    }

    /// How many requests the server has dropped, because their clients asked more often than
    /// [`requests_per_second`](ServerBuilder::requests_per_second) allows.
    #[must_use]
    pub fn dropped_requests(&self) -> u64 {
        self.handle.dropped_requests()
    }

    /// Sets the external address, or takes it away. The server does not follow an interface for it any more.
    pub fn set_external_address(&self, address: Option<Ipv4Addr>) {
        self.handle.set_external_address(address);
    }

    /// Says whether clients may make mappings; if not, they get result 2.
    pub fn allow_mapping(&self, is_allowed: bool) {
        self.handle.allow_mapping(is_allowed);
    }

    /// Removes all mappings; the epoch begins again at 0.
    pub fn clear(&self) {
        self.handle.clear();
    }
}

/// How a [`Server`] is to be started: [`Server::builder`] makes one, and [`build`](Self::build) starts the server.
#[must_use]
pub struct ServerBuilder {
    options: ServerOptions,
    start_nat: StartNat,
}

impl ServerBuilder {
    /// Serves this address or interface as well. At least one is needed. The server does not hear requests that arrive by another
    /// interface, as far as the system can tell them apart (Linux).
    pub fn internal(mut self, internal: Internal) -> Self {
        self.options.internal.push(internal);
        self
    }

    /// The side towards the internet; none by default.
    pub fn external(mut self, external: External) -> Self {
        self.options.external = external;
        self
    }

    /// Leases, ports and limits.
    pub fn config(mut self, config: Config) -> Self {
        self.options.config = config;
        self
    }

    /// How many requests a second of one client are answered, after as many as two seconds bring at once; 1,000 by default, and any
    /// number for `None`. The server drops those above without an answer, and counts them: see [`Server::dropped_requests`]. It
    /// bounds what a client costs, and what a host is sent in whose name another one asks.
    pub fn requests_per_second(mut self, requests: Option<u32>) -> Self {
        self.options.requests_per_second = requests;
        self
    }

    /// Adds a mapping that lives as long as the server does, and that its client cannot delete.
    pub fn static_mapping(mut self, mapping: NatMapping) -> Self {
        self.options.static_mappings.push(mapping);
        self
    }

    /// The UDP port to listen on; 5351 by default, and 0 for any (see [`Server::addresses`]).
    pub fn port(mut self, port: u16) -> Self {
        self.options.port = port;
        self
    }

    /// Where announcements go; to 224.0.0.1:5350 by default, out of each internal interface.
    pub fn announce_to(mut self, address: SocketAddrV4) -> Self {
        self.options.announce_to = address;
        self
    }

    /// Keeps the state in this file, and takes up what is in it: the mappings, and the epoch if the server before ended in order.
    /// After a crash the epoch begins at 0, since the last mappings may not have come to the file: clients see that, and ask again. A
    /// server that crashes in the first seconds of its epoch cannot show them (RFC 6886, section 3.6).
    pub fn state_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.options.state_file = Some(path.into());
        self
    }

    /// Starts the server.
    ///
    /// # Errors
    /// See [`ServerError`]. Nothing is left running.
    pub fn build(self) -> Result<Server, ServerError> {
        let poll = Poll::new().map_err(ServerError::System)?;
        let waker = waker(poll.registry(), WAKE).map_err(ServerError::System)?;
        // The engine opens sockets anew while the thread waits on the poll.
        let registry = poll.registry().try_clone().map_err(ServerError::System)?;
        let register = move |socket| Socket::register(&registry, READ, socket);
        let (engine, handle) = ServerEngine::start(self.options, self.start_nat, register)?;
        engine.set_waker(&waker);
        let worker = thread::Builder::new().name("natpmp gateway".into()).spawn(move || run(engine, poll));
        Ok(Server { handle, worker: Some(worker.map_err(ServerError::System)?) })
    }
}

/// The thread of a server: waits for sockets, outcomes of the NAT, commands and time, and calls the engine.
fn run(mut engine: ServerEngine<Socket>, mut poll: Poll) {
    let mut ready = Events::with_capacity(64);
    loop {
        let wait = match engine.turn() {
            Turn::Yield => Some(Duration::ZERO),
            Turn::Wait(wait) => wait,
            Turn::End => return,
        };
        match poll.poll(&mut ready, wait) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return engine.give_up(&error),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.handle.stop();
        if let Some(worker) = self.worker.take() {
            // A worker that panicked has nothing more to say.
            let _ = worker.join();
        }
    }
}

/// Shows the addresses that the server listened on when it started.
impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("addresses", &self.addresses()).finish_non_exhaustive()
    }
}

const READ: Token = Token(0);
const WAKE: Token = Token(1);
