use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::task::Waker;

use natpmp_proto::Instant;
use natpmp_proto::gateway::{Event, Gateway};

use crate::adapter::{Driven, News, Subscribers, Woken};
use crate::gateway::state::unix_time;
use crate::gateway::{State, StoredMapping};

/// How many mappings a server can hold; its table takes 3 MB.
pub const CAPACITY: usize = 65_534;

/// What a server shares with its driver.
pub struct Shared {
    driven: Driven<Core>,
    pub(super) addresses: Vec<SocketAddrV4>,
    /// Requests that were above the rate of their client.
    pub(super) dropped: AtomicU64,
}

pub(super) struct Core {
    pub(super) gateway: Box<Gateway<CAPACITY>>,
    pub(super) events: Subscribers<Event>,
    /// All since the start, for who asks first.
    pub(super) first_events: Option<News<Event>>,
    /// To be carried out by the driver.
    pub(super) commands: Vec<Command>,
    /// The driver is to end.
    pub(super) is_stopped: bool,
    /// There is no driver any more.
    pub(super) is_over: bool,
    pub(super) woken: Vec<Waker>,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Command {
    ExternalAddress(Option<Ipv4Addr>),
    AllowMapping(bool),
    Clear,
}

impl Core {
    /// As it is to be in the file.
    pub(super) fn state(&self, now: Instant) -> State {
        let saved_at = unix_time();
        // Whoever else wants the core waits meanwhile: the room is asked for once.
        let mut mappings = Vec::with_capacity(self.gateway.len());
        mappings.extend(self.gateway.mappings().filter_map(|open| {
            let left = open.expires?.saturating_since(now);
            Some(StoredMapping { mapping: open.mapping, expires_at: saved_at.saturating_add(left.as_secs()) })
        }));
        State { saved_at, epoch: self.gateway.epoch(now), is_final: false, mappings }
    }
}

impl Woken for Core {
    fn woken(&mut self) -> &mut Vec<Waker> {
        &mut self.woken
    }
}

impl Shared {
    pub(super) fn new(gateway: Box<Gateway<CAPACITY>>, addresses: Vec<SocketAddrV4>) -> Arc<Self> {
        let mut events = Subscribers::new();
        let first_events = Some(events.subscribe());
        let core = Core {
            gateway,
            events,
            first_events,
            commands: Vec::new(),
            is_stopped: false,
            is_over: false,
            woken: Vec::new(),
        };
        Arc::new(Self { driven: Driven::new(core), addresses, dropped: AtomicU64::new(0) })
    }

    /// Who is to be woken when there is something to do.
    pub fn set_waker(&self, waker: &Waker) {
        self.driven.set_waker(waker);
    }

    /// The driver is to end: as when the server is dropped.
    pub fn stop(&self) {
        self.command(|core| core.is_stopped = true);
    }

    /// There is no driver any more: whoever listens is told.
    pub(super) fn close(&self) {
        self.with(|core, _| {
            core.is_over = true;
            core.events.close(&mut core.woken);
        });
        self.driven.set_waker(Waker::noop());
    }

    /// Wakes whoever drives at that time.
    pub(super) fn waker(&self) -> Waker {
        self.driven.waker()
    }

    /// Leaves something for the driver, if there is one.
    pub(super) fn command(&self, command: impl FnOnce(&mut Core)) {
        self.driven.command(|core, _| {
            if !core.is_over {
                command(core);
            }
        });
    }

    /// Has the core for itself.
    pub(super) fn with<T>(&self, work: impl FnOnce(&mut Core, Instant) -> T) -> T {
        self.driven.with(work)
    }

    pub(super) fn now(&self) -> Instant {
        self.driven.now()
    }
}
