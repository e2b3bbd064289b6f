use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use mio::{Poll, Token, Waker};
use natpmp_proto::Instant;
use natpmp_proto::gateway::{Gateway, GatewayConfig, GatewayEvent, GatewayMapping};

use super::ServerError;
use super::builder::{External, Internal, ServerBuilder, Sides};
use super::interfaces::{LocalAddress, local_addresses};
use super::nat::Nat;
use super::nat_thread::NatThread;
use super::sockets::Sockets;
use super::state::State;
use super::worker::{Before, ExternalSource, Worker};
use crate::subscription::{Subscribers, Subscription};

/// How many mappings a server can hold; its table takes 3 MB.
pub const CAPACITY: usize = 65_534;

/// A gateway that runs on a thread of its own until it is dropped. Then its NAT is taken down; the state stays in its file.
pub struct Server {
    shared: Arc<Shared>,
    addresses: Vec<SocketAddrV4>,
    /// All since the start, for who asks first.
    first_events: Mutex<Option<Subscription<GatewayEvent>>>,
    worker: Option<JoinHandle<()>>,
}

impl Server {
    /// A server with the NAT that `start_nat` starts. It is called last, when the sockets are open and the state is read: a server
    /// that cannot start leaves the NAT of another one alone.
    pub fn builder<N: Nat + 'static>(start_nat: impl FnOnce(&Sides) -> io::Result<N> + 'static) -> ServerBuilder {
        ServerBuilder::new(Box::new(|sides| Ok(Box::new(start_nat(sides)?) as Box<dyn Nat>)))
    }

    pub(super) fn start(builder: ServerBuilder) -> Result<Self, ServerError> {
        let ServerBuilder { start_nat, internal, external, config, statics, port, announce_to, state_file } = builder;
        let internal = resolve(&internal)?;
        let poll = Poll::new().map_err(ServerError::System)?;
        let sockets = Sockets::open(poll.registry(), &internal, port, announce_to)?;
        let addresses = sockets.addresses();
        if internal.iter().any(|local| external == External::Address(local.address)) {
            return Err(ServerError::SameSides);
        }
        let state = state_file.as_deref().map(State::load).transpose()?.flatten();
        if let Some(path) = &state_file {
            // Better now than when there is something to lose.
            state.clone().unwrap_or_else(State::now).save(path)?;
        }
        let waker = Arc::new(Waker::new(poll.registry(), WAKE).map_err(ServerError::System)?);
        let gateway = boxed(config.seed(RandomState::new().hash_one(port))).map_err(ServerError::System)?;
        let nat = start_nat(&sides(&internal, &external)).map_err(ServerError::Nat)?;
        let nat = NatThread::start(nat, Arc::clone(&waker)).map_err(ServerError::System)?;
        let mut events = Subscribers::new();
        let first_events = Mutex::new(Some(events.subscribe()));
        let core = Core { gateway, events, commands: Vec::new(), is_stopped: false };
        let shared = Arc::new(Shared { core: Mutex::new(core), waker, origin: std::time::Instant::now() });
        let before = Before { statics, state };
        let external = ExternalSource::new(external);
        let worker = Worker::new(Arc::clone(&shared), poll, sockets, nat, external, state_file, before);
        let thread = thread::Builder::new().name("natpmp gateway".into()).spawn(move || worker.run());
        Ok(Self { shared, addresses, first_events, worker: Some(thread.map_err(ServerError::System)?) })
    }

    /// Where requests are heard.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddrV4] {
        &self.addresses
    }

    /// What happens from now on. The first call tells of all since the start: mappings that were taken up again among it.
    #[must_use]
    pub fn events(&self) -> Subscription<GatewayEvent> {
        let first = self.first_events.lock().unwrap_or_else(PoisonError::into_inner).take();
        first.unwrap_or_else(|| self.shared.lock().events.subscribe())
    }

    /// What is left of the lease of a mapping; `None` if the administrator made it.
    #[must_use]
    pub fn time_left(&self, mapping: &GatewayMapping) -> Option<Duration> {
        mapping.expires.map(|expires| expires.saturating_since(self.shared.now()))
    }

    /// All mappings that the NAT has.
    #[must_use]
    pub fn mappings(&self) -> Vec<GatewayMapping> {
        self.shared.lock().gateway.mappings().collect()
    }

    /// The external address.
    #[must_use]
    pub fn external_address(&self) -> Option<Ipv4Addr> {
        self.shared.lock().gateway.external_address()
    }

    /// Another external address from now on, or none. An interface that was given is not looked at any more.
    pub fn set_external_address(&self, address: Option<Ipv4Addr>) {
        self.shared.command(Command::ExternalAddress(address));
    }

    /// Whether clients may make mappings; if not, they are told result 2.
    pub fn allow_mapping(&self, is_allowed: bool) {
        self.shared.command(Command::AllowMapping(is_allowed));
    }

    /// Removes all mappings; the epoch begins again at 0.
    pub fn clear(&self) {
        self.shared.command(Command::Clear);
    }
}

/// Where requests are heard.
impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("addresses", &self.addresses).finish_non_exhaustive()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.lock().is_stopped = true;
        self.shared.wake();
        if let Some(worker) = self.worker.take() {
            // A worker that panicked has nothing more to say.
            let _ = worker.join();
        }
    }
}

/// What a server shares with its worker.
pub(super) struct Shared {
    core: Mutex<Core>,
    waker: Arc<Waker>,
    origin: std::time::Instant,
}

pub(super) struct Core {
    pub(super) gateway: Box<Gateway<CAPACITY>>,
    pub(super) events: Subscribers<GatewayEvent>,
    /// To be carried out by the worker.
    pub(super) commands: Vec<Command>,
    pub(super) is_stopped: bool,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Command {
    ExternalAddress(Option<Ipv4Addr>),
    AllowMapping(bool),
    Clear,
}

impl Shared {
    pub(super) fn lock(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn now(&self) -> Instant {
        Instant::ZERO + self.origin.elapsed()
    }

    fn command(&self, command: Command) {
        self.lock().commands.push(command);
        self.wake();
    }

    /// Makes the worker come back at once.
    pub(super) fn wake(&self) {
        if let Err(error) = self.waker.wake() {
            log::warn!("the gateway cannot be woken: {error}");
        }
    }
}

/// The addresses to be served, and their interfaces.
fn resolve(internal: &[Internal]) -> Result<Vec<LocalAddress>, ServerError> {
    let locals = local_addresses().map_err(ServerError::System)?;
    let mut resolved: Vec<LocalAddress> = Vec::new();
    for each in internal {
        let found = locals.iter().filter(|local| match each {
            Internal::Interface(name) => local.interface == *name,
            Internal::Address(address) => local.address == *address || is_loopback_of(local, *address),
        });
        let before = resolved.len();
        for local in found {
            let address = match each {
                Internal::Address(address) => *address,
                Internal::Interface(_) => local.address,
            };
            resolved.push(LocalAddress { address, interface: local.interface.clone() });
        }
        if resolved.len() == before {
            return Err(match each {
                Internal::Interface(interface) => ServerError::NoAddress { interface: interface.clone() },
                Internal::Address(address) => ServerError::NotLocal { address: *address },
            });
        }
    }
    resolved.sort_by_key(|local| local.address);
    resolved.dedup_by_key(|local| local.address);
    if resolved.is_empty() { Err(ServerError::NoInternal) } else { Ok(resolved) }
}

fn sides(internal: &[LocalAddress], external: &External) -> Sides {
    let mut interfaces: Vec<String> = internal.iter().map(|local| local.interface.clone()).collect();
    interfaces.sort();
    interfaces.dedup();
    let external = match external {
        External::Interface(interface) => Some(interface.clone()),
        External::Address(address) => interface_of(*address),
        External::None => None,
    };
    Sides { internal: interfaces, external }
}

fn interface_of(address: Ipv4Addr) -> Option<String> {
    local_addresses().ok()?.into_iter().find(|local| local.address == address).map(|local| local.interface)
}

/// All of 127/8 belongs to the loopback interface, which shows one address only.
fn is_loopback_of(local: &LocalAddress, address: Ipv4Addr) -> bool {
    address.is_loopback() && local.address.is_loopback()
}

/// The table is too large for an ordinary stack, also on its way to the heap where the compiler does not see through it.
fn boxed(config: GatewayConfig) -> io::Result<Box<Gateway<CAPACITY>>> {
    let thread = thread::Builder::new().stack_size(ROOM).spawn(move || Box::new(Gateway::new(config)))?;
    thread.join().map_err(|_| io::Error::from(io::ErrorKind::OutOfMemory))
}

const ROOM: usize = 32 << 20;
pub(super) const WAKE: Token = Token(usize::MAX);
