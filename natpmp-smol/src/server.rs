//! A NAT-PMP gateway on real sockets: the machine of [`natpmp_proto::gateway`], a NAT behind it, and a file for its state.
//!
//! A server comes with a [`ServerDriver`], a future that you spawn where you like. It serves all clients on that one task. What may
//! block has threads of its own: the NAT one, so that a slow NAT delays nobody else's answer, and the file with the
//! state another one.
//!
//! ```no_run
//! # #[cfg(feature = "relay")] {
//! use natpmp_smol::server::nat::{Relay, RelayLimits};
//! use natpmp_smol::server::{External, Internal, Server};
//! use smol::stream::StreamExt;
//!
//! # async fn example() -> Result<(), natpmp_smol::server::ServerError> {
//! let (server, driver) = Server::builder(|_| Relay::start(RelayLimits::default()))
//!     .internal(Internal::Interface("lan0".into()))
//!     .external(External::Interface("wan0".into()))
//!     .build()?;
//! let driver = smol::spawn(driver);
//! let mut events = server.events();
//! while let Some(event) = events.next().await {
//!     println!("{event:?}");
//! }
//! // The end: the NAT is taken down, and the state is in its file.
//! drop(server);
//! driver.await;
//! # Ok(())
//! # }
//! # }
//! ```

use std::fmt;
use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use async_io::Timer;
use natpmp_engine::server::{ServerEngine, ServerHandle, ServerOptions, StartNat, Turn};
use natpmp_nat::Nat;

use crate::Subscription;
use crate::socket::Socket;

pub use natpmp_engine::server::{
    External, Internal, SERVER_CAPACITY, ServerError, Sides, StateError, StoredMapping, StoredState,
};
pub use natpmp_nat as nat;
pub use natpmp_proto::gateway::{
    CloseCause, Config, Event, Mapping, NatFailure, NatMapping, NatRequest, PortRange, TooManyRanges,
};

/// A gateway, which its [`ServerDriver`] makes work, until it is dropped. Then the driver takes the NAT down, and completes; the
/// state stays in its file.
///
/// When the driver is dropped first, the gateway is over: there are no mappings and no external address any more, commands
/// do nothing, and subscriptions end.
#[must_use = "the gateway ends when its server is dropped"]
pub struct Server(ServerHandle);

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
        self.0.addresses()
    }

    /// Subscribes to what happens from now on. The first call also returns what has happened since the start, mappings that were
    /// taken up again among it. A subscription keeps the latest 4,096 events that were not taken yet.
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

    /// How many requests the server has dropped, because their clients asked more often than
    /// [`requests_per_second`](ServerBuilder::requests_per_second) allows.
    #[must_use]
    pub fn dropped_requests(&self) -> u64 {
        self.0.dropped_requests()
    }

    /// Sets the external address, or takes it away. The server does not follow an interface for it any more.
    pub fn set_external_address(&self, address: Option<Ipv4Addr>) {
        self.0.set_external_address(address);
    }

    /// Says whether clients may make mappings; if not, they get result 2.
    pub fn allow_mapping(&self, is_allowed: bool) {
        self.0.allow_mapping(is_allowed);
    }

    /// Removes all mappings; the epoch begins again at 0.
    pub fn clear(&self) {
        self.0.clear();
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

    /// Starts the server, and returns it with its [`ServerDriver`]. That blocks for a moment, while it reads the state and starts the
    /// NAT.
    ///
    /// # Errors
    /// See [`ServerError`]. Nothing is left running.
    pub fn build(self) -> Result<(Server, ServerDriver), ServerError> {
        let (engine, handle) = ServerEngine::start(self.options, self.start_nat, Socket::new)?;
        Ok((Server(handle), ServerDriver { engine: Some(engine), timer: None }))
    }
}

/// Shows the addresses that the server listened on when it started.
impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("addresses", &self.addresses()).finish_non_exhaustive()
    }
}

/// Makes a [`Server`] work: it answers all clients, and keeps time. Spawn it, or poll it beside your own futures.
///
/// It completes after its server was dropped, as soon as the NAT is down and the state is in its file. Nothing of that blocks
/// the task.
///
/// Dropping it before that ends the server at once: it takes the NAT down, saves the state in its file, so that the next server
/// takes it up, and ends the subscriptions. The drop waits for the NAT and the file, as long as they take.
#[must_use = "a gateway does nothing without its driver"]
pub struct ServerDriver {
    /// Until the driver has completed.
    engine: Option<ServerEngine<Socket>>,
    timer: Option<Timer>,
}

impl Future for ServerDriver {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let driver = &mut *self;
        let Some(engine) = &mut driver.engine else { return Poll::Ready(()) };
        // Before the first turn, so that no command and no outcome of the NAT can come in between unnoticed.
        engine.set_waker(context.waker());
        for _ in 0..MOST_TURNS {
            match engine.turn() {
                Turn::Wait(wait) if is_ready(engine, &mut driver.timer, wait, context) => {}
                Turn::Wait(_) => return Poll::Pending,
                Turn::Yield => break,
                Turn::End => {
                    driver.engine = None;
                    return Poll::Ready(());
                }
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

impl fmt::Debug for ServerDriver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerDriver").finish_non_exhaustive()
    }
}

/// Returns whether there is something to do already; if not, the task is woken when there is.
fn is_ready(
    engine: &ServerEngine<Socket>,
    timer: &mut Option<Timer>,
    wait: Option<Duration>,
    context: &mut Context<'_>,
) -> bool {
    *timer = wait.map(Timer::after);
    let mut is_ready = timer.as_mut().is_some_and(|timer| Pin::new(timer).poll(context).is_ready());
    // Each socket is to wake the task, so the loop polls all of them, also when one is ready.
    for socket in engine.sockets() {
        if let Poll::Ready(result) = socket.poll_readable(context) {
            is_ready = true;
            if let Err(error) = result {
                engine.give_up(&error);
            }
        }
    }
    is_ready
}

/// Turns of the driver before other tasks have theirs.
const MOST_TURNS: u8 = 16;
