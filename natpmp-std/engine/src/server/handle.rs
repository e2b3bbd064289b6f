//! What the owner of a server has of it, and what owner and driver share under one lock.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Waker;
use std::time::Duration;

use natpmp_proto::Instant;
use natpmp_proto::gateway::{Event, Gateway, Mapping};

use super::store::unix_time;
use super::{StoredMapping, StoredState};
use crate::events::{EventQueue, EventSender, Subscribers};
use crate::shared_machine::{PendingWakers, SharedMachine};

/// The owner's end of a server: what the public types of both adapters cover. Dropping it ends the driver.
pub struct ServerHandle {
    shared: Arc<ServerShared>,
    /// The engine ends with it.
    commands: EventSender<Command>,
}

impl ServerHandle {
    pub(super) const fn new(shared: Arc<ServerShared>, commands: EventSender<Command>) -> Self {
        Self { shared, commands }
    }

    /// Tells the driver to end, as dropping the handle does.
    pub fn stop(&self) {
        self.shared.with(|state, _| self.commands.close(&mut state.pending_wakers));
    }

    /// The addresses that the server listened on when it started.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddrV4] {
        &self.shared.addresses
    }

    /// Subscribes to what happens from now on. The first call also returns what has happened since the start.
    #[must_use]
    pub fn events(&self) -> EventQueue<Event> {
        self.shared.with(|state, _| state.first_events.take().unwrap_or_else(|| state.events.subscribe()))
    }

    /// What is left of the lease of a mapping; `None` if the administrator made it.
    #[must_use]
    pub fn time_left(&self, mapping: &Mapping) -> Option<Duration> {
        mapping.expires.map(|expires| expires.saturating_since(self.shared.now()))
    }

    /// All mappings that the NAT has; none when the driver is gone.
    #[must_use]
    pub fn mappings(&self) -> Vec<Mapping> {
        self.shared.with(|state, _| match state.lifecycle {
            ServerLifecycle::Over => Vec::new(),
            ServerLifecycle::Running | ServerLifecycle::Stopping | ServerLifecycle::Ending => {
                state.gateway.mappings().collect()
            }
        })
    }

    /// The external address; none when the driver is gone.
    #[must_use]
    pub fn external_address(&self) -> Option<Ipv4Addr> {
        self.shared
            .with(|state, _| state.gateway.external_address().filter(|_| state.lifecycle != ServerLifecycle::Over))
    }

    /// How many requests were dropped, since their clients asked too often.
    #[must_use]
    pub fn dropped_requests(&self) -> u64 {
        self.shared.dropped.load(Ordering::Relaxed)
    }

    /// Sets the external address, or takes it away.
    pub fn set_external_address(&self, address: Option<Ipv4Addr>) {
        self.command(Command::SetExternalAddress(address));
    }

    /// Says whether clients may make mappings.
    pub fn allow_mapping(&self, is_allowed: bool) {
        self.command(Command::AllowMapping(is_allowed));
    }

    /// Removes all mappings; the epoch begins again at 0.
    pub fn clear(&self) {
        self.command(Command::Clear);
    }

    fn command(&self, command: Command) {
        // Under the lock, so that a step of the engine that is under way is over when this returns: the command counts for whatever
        // comes after it.
        self.shared.with(|state, _| self.commands.push(command, &mut state.pending_wakers));
    }
}

/// What the owner of a server and its driver share.
pub(super) struct ServerShared {
    machine: SharedMachine<SharedState>,
    pub(super) addresses: Vec<SocketAddrV4>,
    /// How many requests were above the rate of their client, and dropped.
    pub(super) dropped: AtomicU64,
}

/// What the lock of [`ServerShared`] protects.
pub(super) struct SharedState {
    pub(super) gateway: Box<Gateway<SERVER_CAPACITY>>,
    pub(super) events: Subscribers<Event>,
    /// All events since the start, for the first who subscribes.
    pub(super) first_events: Option<EventQueue<Event>>,
    pub(super) lifecycle: ServerLifecycle,
    pub(super) pending_wakers: Vec<Waker>,
}

/// How far a server has come on the way to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ServerLifecycle {
    /// It serves its clients. Its deadlines are those of the machine, of the state file and of the interfaces.
    Running,
    /// The owner is gone, or the adapter cannot wait any more. No deadline: the engine begins the end with its next turn.
    Stopping,
    /// The engine has closed its sockets, and waits for the NAT and the state file. No deadline: both wake it when they are done.
    Ending,
    /// There is no driver any more, and no mapping. No deadline.
    Over,
}

/// What the owner asks for, and the driver does.
#[derive(Clone, Copy, Debug)]
pub(super) enum Command {
    SetExternalAddress(Option<Ipv4Addr>),
    AllowMapping(bool),
    Clear,
}

impl SharedState {
    /// The state of the machine as the file is to have it.
    pub(super) fn to_stored(&self, now: Instant) -> StoredState {
        let saved_at = unix_time();
        // Others wait for the lock meanwhile: one allocation is faster than several.
        let mut mappings = Vec::with_capacity(self.gateway.len());
        mappings.extend(self.gateway.mappings().filter_map(|open| {
            let left = open.expires?.saturating_since(now);
            Some(StoredMapping { mapping: open.mapping, expires_at: saved_at.saturating_add(left.as_secs()) })
        }));
        StoredState { saved_at, epoch: self.gateway.epoch(now), is_final: false, mappings }
    }
}

impl SharedState {
    /// The engine is to end, if it has not begun to already.
    pub(super) fn stop(&mut self) {
        if self.lifecycle == ServerLifecycle::Running {
            self.lifecycle = ServerLifecycle::Stopping;
        }
    }
}

impl PendingWakers for SharedState {
    fn pending_wakers(&mut self) -> &mut Vec<Waker> {
        &mut self.pending_wakers
    }
}

impl ServerShared {
    pub(super) fn new(gateway: Box<Gateway<SERVER_CAPACITY>>, addresses: Vec<SocketAddrV4>) -> Arc<Self> {
        let mut events = Subscribers::new();
        let first_events = Some(events.subscribe());
        let state = SharedState {
            gateway,
            events,
            first_events,
            lifecycle: ServerLifecycle::Running,
            pending_wakers: Vec::new(),
        };
        Arc::new(Self { machine: SharedMachine::new(state), addresses, dropped: AtomicU64::new(0) })
    }

    /// Sets who drives the server from now on: it is woken when there is something to do.
    pub(super) fn set_waker(&self, waker: &Waker) {
        self.machine.set_waker(waker);
    }

    /// There is no driver any more: ends the subscriptions.
    pub(super) fn close(&self) {
        self.with(|state, _| {
            state.lifecycle = ServerLifecycle::Over;
            state.events.close(&mut state.pending_wakers);
        });
        self.machine.set_waker(Waker::noop());
    }

    /// A waker of whoever drives the server at the time of waking.
    pub(super) fn waker(&self) -> Waker {
        self.machine.waker()
    }

    /// Works on the state under its lock.
    pub(super) fn with<T>(&self, work: impl FnOnce(&mut SharedState, Instant) -> T) -> T {
        self.machine.with(work)
    }

    pub(super) fn now(&self) -> Instant {
        self.machine.now()
    }
}

/// How many mappings a server can hold; its table takes 3 MB.
pub const SERVER_CAPACITY: usize = 65_534;
