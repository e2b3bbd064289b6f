//! The worker: carries datagrams and time to the machine, and what the machine says to whoever waits for it.
//!
//! There is one worker thread a client, however many mappings. It holds no protocol state: that is the machine's.

mod sockets;
mod waiters;

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use log::{debug, warn};
use mio::{Events, Poll, Waker};
use natpmp_proto::Instant;
use natpmp_proto::client::{Client as Machine, Config, Event, Heard, MappingState, Output};

use crate::Announcement;
use crate::callback::Callbacks;
use crate::kept::Owners;
use crate::subscription::Subscribers;

use sockets::{Received, Sockets, Which};
use waiters::Waiters;

pub(crate) use sockets::Addresses;
pub(crate) use waiters::{Answer, Awaited, Outcome};

/// How many mappings a client can hold.
pub const CAPACITY: usize = 1_024;

/// What the handles of a client share with its worker.
pub(crate) struct Shared {
    core: Mutex<Core>,
    waker: Waker,
    origin: std::time::Instant,
    addresses: Addresses,
    /// Why announcements are not heard.
    pub(crate) announcement_error: Option<io::Error>,
}

/// The machine, and whoever waits for what it says.
pub(crate) struct Core {
    pub(crate) machine: Box<Machine<CAPACITY>>,
    pub(crate) waiters: Waiters,
    pub(crate) events: Subscribers<Event>,
    pub(crate) announcements: Subscribers<Announcement>,
    pub(crate) callbacks: Callbacks,
    pub(crate) owners: Owners,
    /// What the system said when the network was last found down.
    pub(crate) network_error: NetworkError,
    /// Another gateway was set, or the network changed: the socket is to be opened anew.
    is_socket_stale: bool,
    /// The last handle is gone: only deletions are waited for, and those not for ever.
    goodbye: Option<Goodbye>,
}

/// What the system said.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NetworkError {
    pub(crate) kind: io::ErrorKind,
    pub(crate) os_error: Option<i32>,
}

impl NetworkError {
    fn of(error: &io::Error) -> Self {
        Self { kind: error.kind(), os_error: error.raw_os_error() }
    }
}

impl Shared {
    /// Starts a worker. It ends after [`Shared::leave`].
    pub(crate) fn start(config: Config, addresses: Addresses) -> io::Result<(Arc<Self>, thread::JoinHandle<()>)> {
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), sockets::WAKE)?;
        let gateway = config.gateway();
        let (sockets, announcements) = Sockets::new(poll.registry().try_clone()?, addresses.clone(), gateway);
        if let Err(error) = &announcements {
            warn!("announcements of the gateway cannot be heard ({error}): a restart of it is noticed later");
        }
        let core = Core {
            machine: Box::new(Machine::new(config)),
            waiters: Waiters::default(),
            events: Subscribers::new(),
            announcements: Subscribers::new(),
            callbacks: Callbacks::default(),
            owners: Owners::default(),
            network_error: NetworkError { kind: io::ErrorKind::NetworkUnreachable, os_error: None },
            is_socket_stale: false,
            goodbye: None,
        };
        let shared = Arc::new(Self {
            core: Mutex::new(core),
            waker,
            origin: std::time::Instant::now(),
            addresses,
            announcement_error: announcements.err(),
        });
        let worker = Worker { shared: Arc::clone(&shared), poll, sockets };
        let thread = thread::Builder::new().name("natpmp".into()).spawn(move || worker.run())?;
        Ok((shared, thread))
    }

    /// Gives the machine a command; the worker carries out what follows from it.
    pub(crate) fn command<T>(&self, command: impl FnOnce(&mut Core, Instant) -> T) -> T {
        let result = command(&mut self.lock(), self.now());
        self.wake();
        result
    }

    /// Looks, and changes nothing.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&Core, Instant) -> T) -> T {
        look(&self.lock(), self.now())
    }

    /// Another gateway from now on.
    pub(crate) fn set_gateway(&self, gateway: SocketAddrV4) {
        self.command(|core, now| {
            core.is_socket_stale = true;
            core.machine.set_gateway(now, gateway);
        });
    }

    /// The link, the own address or the routing changed.
    pub(crate) fn network_changed(&self) {
        self.command(|core, now| {
            core.is_socket_stale = true;
            core.machine.network_changed(now);
        });
    }

    /// The last handle is gone: the worker ends when the deletions are through, or `bound` after the last answer.
    /// `is_urgent`: the gateway is known to be silent, so that each deletion is sent once, and no more.
    pub(crate) fn leave(&self, bound: Duration, is_urgent: bool) {
        self.command(|core, now| {
            let hasten_at = if is_urgent { now } else { now + bound / 2 };
            core.goodbye = Some(Goodbye { bound, end: now + bound, hasten_at: Some(hasten_at) });
        });
    }

    /// The local address that requests are sent from at present.
    pub(crate) fn local_address(&self) -> io::Result<Ipv4Addr> {
        let gateway = self.look(|core, _| core.machine.gateway());
        self.addresses.local_address(gateway)
    }

    fn now(&self) -> Instant {
        Instant::ZERO + self.origin.elapsed()
    }

    fn lock(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self) {
        if let Err(error) = self.waker.wake() {
            warn!("the worker cannot be woken: {error}");
        }
    }
}

/// How long the end may take.
struct Goodbye {
    bound: Duration,
    end: Instant,
    /// When deletions that still wait for an answer, or for their turn, are sent a last time.
    hasten_at: Option<Instant>,
}

struct Worker {
    shared: Arc<Shared>,
    poll: Poll,
    sockets: Sockets,
}

impl Worker {
    fn run(mut self) {
        let mut ready = Events::with_capacity(8);
        while let Some(wait) = self.drain() {
            match self.poll.poll(&mut ready, wait) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    warn!("waiting for packets failed ({error}): the worker ends");
                    break;
                }
            }
            self.receive(Which::Request);
            self.receive(Which::Announcements);
        }
    }
}

/// Whoever still waits is told that nobody will answer, however the worker ends.
impl Drop for Worker {
    fn drop(&mut self) {
        let mut core = self.shared.lock();
        core.waiters = Waiters::closed();
        core.events = Subscribers::new();
        core.announcements = Subscribers::new();
        core.callbacks = Callbacks::default();
    }
}

impl Worker {
    /// Does all that the machine has to do now. The wait that follows, or `None` when there is nothing to wait for any more.
    fn drain(&mut self) -> Option<Option<Duration>> {
        let shared = Arc::clone(&self.shared);
        let mut core = shared.lock();
        if std::mem::take(&mut core.is_socket_stale) {
            self.sockets.set_gateway(core.machine.gateway());
        }
        loop {
            match core.machine.poll(shared.now()) {
                Output::Transmit(transmit) => {
                    debug!("to {}: {:?} (resends: {})", transmit.to, transmit.payload, transmit.resends);
                    if let Err(error) = self.sockets.send(&transmit.payload, transmit.resends) {
                        self.send_failed(&mut core, shared.now(), &error);
                    }
                }
                Output::Event(event) => {
                    debug!("{event:?}");
                    core.tell(shared.now(), event);
                }
                Output::Wait(deadline) => {
                    let now = shared.now();
                    let is_deleting = core.is_deleting();
                    let mut until = None;
                    if let Some(goodbye) = &mut core.goodbye {
                        if goodbye.end <= now || !is_deleting {
                            return None;
                        }
                        if goodbye.hasten_at.is_some_and(|at| at <= now) {
                            goodbye.hasten_at = None;
                            core.machine.hasten_deletions(now);
                            continue;
                        }
                        until = goodbye.hasten_at.or(Some(goodbye.end));
                    }
                    let deadline = [deadline, until].into_iter().flatten().min();
                    return Some(deadline.map(|deadline| deadline.saturating_since(now)));
                }
            }
        }
    }

    fn send_failed(&mut self, core: &mut Core, now: Instant, error: &io::Error) {
        debug!("sending failed: {error}");
        if error.kind() == io::ErrorKind::ConnectionRefused {
            core.machine.handle_unreachable(now);
        } else {
            core.network_error = NetworkError::of(error);
            core.machine.handle_network_down(now);
        }
        self.sockets.forget_request();
    }

    /// Hands all that a socket has to the machine.
    fn receive(&mut self, which: Which) {
        let mut buffer = [0; LONGEST_DATAGRAM];
        let shared = Arc::clone(&self.shared);
        loop {
            let received = self.sockets.receive(which, &mut buffer);
            let mut core = shared.lock();
            let now = shared.now();
            match received {
                Received::Nothing => return,
                Received::Unreachable => core.machine.handle_unreachable(now),
                Received::Down(error) => {
                    core.network_error = NetworkError::of(&error);
                    core.machine.handle_network_down(now);
                }
                Received::Datagram(from, bytes) => core.hear(now, which, from, bytes),
            }
            drop(core);
            // A flood on one socket does not keep the machine from sending.
            if self.drain().is_none() {
                return;
            }
        }
    }
}

impl Core {
    fn hear(&mut self, now: Instant, which: Which, from: SocketAddrV4, bytes: &[u8]) {
        let heard = match which {
            Which::Request => self.machine.handle_datagram(now, from, bytes),
            Which::Announcements => self.machine.handle_announcement(now, from, bytes),
        };
        debug!("from {from}: {bytes:02x?}: {heard:?}");
        match heard {
            Ok(Heard::Announcement { epoch, address }) => {
                self.announcements.tell(&Announcement {
                    gateway: from,
                    epoch: Some(epoch),
                    external_address: Some(address),
                });
            }
            Ok(Heard::PcpAnnouncement) => {
                self.announcements.tell(&Announcement { gateway: from, epoch: None, external_address: None });
            }
            Ok(_) | Err(_) => {}
        }
    }

    fn tell(&mut self, now: Instant, event: Event) {
        if let (Event::Ended { .. }, Some(goodbye)) = (event, &mut self.goodbye) {
            // It goes on, and may as long as it does.
            goodbye.end = now + goodbye.bound;
        }
        self.waiters.tell(&event);
        self.owners.tell(&event);
        self.events.tell(&event);
        let address = self.machine.external_address();
        self.callbacks.tell(&event, address);
    }

    fn is_deleting(&self) -> bool {
        self.machine.mappings().any(|mapping| mapping.state == MappingState::Closing)
    }
}

/// Longer ones are cut; NAT-PMP has 16 bytes at most, and PCP 1,100.
const LONGEST_DATAGRAM: usize = 1_100;
