//! The machine of a client, and whoever waits for what it says. It holds no protocol state: that is the machine's.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::task::Waker;
use std::time::Duration;

use log::debug;
use natpmp_proto::client::{Client as Machine, Config, Ending, Event, MappingState, Output, Received, RequestError};
use natpmp_proto::{Instant, Protocol, Transmit};

use super::callbacks::{CallbackRunner, Callbacks};
use super::sockets::Source;
use super::waiters::Waiters;
use crate::Announcement;
use crate::events::Subscribers;
use crate::os::network::NetworkCheck;
use crate::shared_machine::PendingWakers;

/// All that the handles of a client share with its driver, under one lock.
///
/// No event stays in the machine when the lock is given back: a call that comes next does not get what belongs to an earlier one.
pub(crate) struct ClientState {
    pub(crate) machine: Box<Machine<CLIENT_CAPACITY>>,
    pub(crate) waiters: Waiters,
    pub(crate) events: Subscribers<Event>,
    pub(crate) announcements: Subscribers<Announcement>,
    pub(crate) callbacks: Callbacks,
    pub(crate) owners: Owners,
    /// What the system said when the network was last found down.
    pub(crate) network_error: NetworkError,
    /// Why announcements are not received.
    pub(crate) announcement_error: Option<NetworkError>,
    /// What the driver is to look at in its next turn.
    pub(crate) network_check: NetworkCheck,
    /// A deletion was waited for in vain, and nothing was answered since: there is no point in waiting again.
    pub(crate) is_gateway_silent: bool,
    address_watch: AddressWatch,
    lifecycle: ClientLifecycle,
    pub(crate) pending_wakers: Vec<Waker>,
}

/// How far a client is from its end.
#[derive(Clone, Copy, Debug)]
enum ClientLifecycle {
    /// Handles exist. It has no deadline.
    Running,
    /// The last handle is gone, and deletions are under way. Deadline: `resend_at`, when each deletion that has no answer yet, or has
    /// not had its turn, is sent a last time; or `until`, if that comes first.
    Deleting { bound: Duration, resend_at: Instant, until: Instant },
    /// All deletions were sent a last time. Deadline: `until`, which is `bound` after the last answer.
    AwaitingLastAnswers { bound: Duration, until: Instant },
    /// Nobody drives the machine any more, and no call gets an answer. It has no deadline.
    Closed,
}

/// For whom the machine watches the external address. No variant has a deadline: the machine has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AddressWatch {
    /// Nobody.
    Off,
    /// Callbacks only: with the last of them the watch ends.
    ForCallbacks,
    /// The caller, whether there are callbacks or not.
    ForCaller,
}

/// What the system said.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NetworkError {
    pub(crate) kind: io::ErrorKind,
    pub(crate) os_error: Option<i32>,
}

impl NetworkError {
    pub(crate) fn of(error: &io::Error) -> Self {
        Self { kind: error.kind(), os_error: error.raw_os_error() }
    }

    pub(crate) fn to_error(self) -> io::Error {
        self.os_error.map_or_else(|| self.kind.into(), io::Error::from_raw_os_error)
    }
}

/// What is to be done now.
#[derive(Debug)]
pub(crate) enum ClientStep {
    /// Send this.
    Send(Transmit),
    /// Wait until then, or until something happens.
    Wait(Option<Instant>),
    /// End: there is nothing to be done any more.
    End,
}

impl PendingWakers for ClientState {
    fn pending_wakers(&mut self) -> &mut Vec<Waker> {
        &mut self.pending_wakers
    }
}

impl ClientState {
    pub(crate) fn new(config: Config) -> (Self, CallbackRunner) {
        let (callbacks, runner) = Callbacks::new();
        let state = Self {
            machine: Box::new(Machine::new(config)),
            waiters: Waiters::default(),
            events: Subscribers::new(),
            announcements: Subscribers::new(),
            callbacks,
            owners: Owners::default(),
            network_error: NetworkError { kind: io::ErrorKind::NetworkUnreachable, os_error: None },
            announcement_error: None,
            network_check: NetworkCheck::None,
            is_gateway_silent: false,
            address_watch: AddressWatch::Off,
            lifecycle: ClientLifecycle::Running,
            pending_wakers: Vec::new(),
        };
        (state, runner)
    }

    /// What is to be done next. The events on the way there are dispatched.
    pub(crate) fn step(&mut self, now: Instant) -> ClientStep {
        self.waiters.handle_timeout(now, &mut self.pending_wakers);
        loop {
            match self.machine.poll(now) {
                Output::Transmit(transmit) => return ClientStep::Send(transmit),
                Output::Event(event) => self.dispatch_event(now, event),
                Output::Wait(deadline) => {
                    let until = match self.lifecycle {
                        ClientLifecycle::Running => None,
                        ClientLifecycle::Deleting { until, .. }
                        | ClientLifecycle::AwaitingLastAnswers { until, .. }
                            if until <= now || !self.is_deleting() =>
                        {
                            return ClientStep::End;
                        }
                        ClientLifecycle::Deleting { bound, resend_at, until } if resend_at <= now => {
                            self.lifecycle = ClientLifecycle::AwaitingLastAnswers { bound, until };
                            self.machine.hasten_deletions(now);
                            continue;
                        }
                        ClientLifecycle::Deleting { resend_at, .. } => Some(resend_at),
                        ClientLifecycle::AwaitingLastAnswers { until, .. } => Some(until),
                        ClientLifecycle::Closed => return ClientStep::End,
                    };
                    return ClientStep::Wait(
                        [deadline, until, self.waiters.poll_timeout()].into_iter().flatten().min(),
                    );
                }
            }
        }
    }

    /// Begins the end, since the last handle is gone: it comes when the deletions are through, or `bound` after the last answer.
    /// If the gateway is known to be silent, each deletion is sent once, and no more.
    pub(crate) fn begin_goodbye(&mut self, now: Instant, bound: Duration) {
        if self.is_closed() {
            return;
        }
        for (protocol, port) in self.owners.take_unreported() {
            if self.machine.mapping(protocol, port).is_some() {
                // It has a slot: there is nothing to fail.
                let _ = self.machine.unmap(now, protocol, port);
            }
        }
        let resend_at = if self.is_gateway_silent { now } else { now + bound / 2 };
        self.lifecycle = ClientLifecycle::Deleting { bound, resend_at, until: now + bound };
    }

    /// The network is down, as the system says.
    pub(crate) fn handle_network_down(&mut self, now: Instant, error: &io::Error) {
        self.network_error = NetworkError::of(error);
        self.machine.handle_network_down(now);
    }

    pub(crate) fn handle_datagram(&mut self, now: Instant, source: Source, from: SocketAddrV4, bytes: &[u8]) {
        let result = match source {
            Source::Announcements => self.machine.handle_announcement(now, from, bytes),
            _ => self.machine.handle_datagram(now, from, bytes),
        };
        debug!("from {from}: {bytes:02x?}: {result:?}");
        match result {
            Ok(Received::Announcement { epoch, address }) => self.announce(from, Some(epoch), Some(address)),
            Ok(Received::PcpAnnouncement) => self.announce(from, None, None),
            Ok(_) | Err(_) => {}
        }
    }

    /// Dispatches all events of the machine. To be called after each command and each input, before the lock is given back.
    pub(crate) fn dispatch_events(&mut self, now: Instant) {
        while let Some(event) = self.machine.poll_event() {
            self.dispatch_event(now, event);
        }
    }

    /// Watches the external address for the caller, or not any more. A caller who asks again gets the address again.
    pub(crate) fn watch_external_address(&mut self, now: Instant, is_watched: bool) {
        let wanted = match is_watched {
            true => AddressWatch::ForCaller,
            false => self.watch_for_callbacks(),
        };
        self.set_address_watch(now, wanted, is_watched);
    }

    /// Watches the external address for as long as there are callbacks, or the caller wants it. To be called when callbacks came
    /// or went.
    pub(crate) fn update_address_watch(&mut self, now: Instant) {
        if self.address_watch != AddressWatch::ForCaller {
            self.set_address_watch(now, self.watch_for_callbacks(), false);
        }
    }

    /// Whether there is no driver any more.
    pub(crate) const fn is_closed(&self) -> bool {
        matches!(self.lifecycle, ClientLifecycle::Closed)
    }

    /// Ends all calls, queues and callbacks: nobody will answer any more.
    pub(crate) fn close(&mut self) {
        self.lifecycle = ClientLifecycle::Closed;
        self.waiters.close(&mut self.pending_wakers);
        self.events.close(&mut self.pending_wakers);
        self.announcements.close(&mut self.pending_wakers);
        self.callbacks.close(&mut self.pending_wakers);
    }

    fn announce(&mut self, gateway: SocketAddrV4, epoch: Option<u32>, external_address: Option<Ipv4Addr>) {
        let announcement = Announcement { gateway, epoch, external_address };
        self.announcements.push(&announcement, &mut self.pending_wakers);
    }

    fn dispatch_event(&mut self, now: Instant, event: Event) {
        debug!("{event:?}");
        let is_silence = matches!(event, Event::Ended { ending: Ending::NotUnmapped(RequestError::NoAnswer), .. });
        if let (Event::Ended { .. }, false) = (event, is_silence) {
            self.extend_goodbye(now);
        }
        match event {
            Event::Mapped(_)
            | Event::Renewed(_)
            | Event::PortChanged { .. }
            | Event::Ended { ending: Ending::Unmapped, .. }
            | Event::ExternalAddress(Ok(_))
            | Event::UnmappedAll { result: Ok(()), .. } => self.is_gateway_silent = false,
            _ => {}
        }
        if makes_network_doubtful(&event) {
            self.network_check = self.network_check.max(NetworkCheck::Doubtful);
        }
        self.waiters.dispatch_event(&event, &mut self.pending_wakers);
        self.owners.dispatch_event(&event);
        self.events.push(&event, &mut self.pending_wakers);
        let address = self.machine.external_address();
        self.callbacks.dispatch_event(&event, address, &mut self.pending_wakers);
        if let Event::Ended { .. } = event {
            self.update_address_watch(now);
        }
    }

    /// The deletions go on, and may for as long as they do.
    fn extend_goodbye(&mut self, now: Instant) {
        match &mut self.lifecycle {
            ClientLifecycle::Deleting { bound, until, .. } | ClientLifecycle::AwaitingLastAnswers { bound, until } => {
                *until = now + *bound;
            }
            ClientLifecycle::Running | ClientLifecycle::Closed => {}
        }
    }

    fn watch_for_callbacks(&self) -> AddressWatch {
        if self.callbacks.is_empty() { AddressWatch::Off } else { AddressWatch::ForCallbacks }
    }

    fn set_address_watch(&mut self, now: Instant, wanted: AddressWatch, is_asked_again: bool) {
        let was_watched = self.address_watch != AddressWatch::Off;
        let is_watched = wanted != AddressWatch::Off;
        self.address_watch = wanted;
        if is_watched != was_watched || is_asked_again {
            self.machine.watch_external_address(now, is_watched);
        }
    }

    fn is_deleting(&self) -> bool {
        self.machine.mappings().any(|mapping| mapping.state == MappingState::Closing)
    }
}

/// Whether this event is a reason to look whether the way to the gateway has changed, where the system does not report changes:
/// something was renewed or has failed.
const fn makes_network_doubtful(event: &Event) -> bool {
    match event {
        Event::Renewed(_)
        | Event::Failed { .. }
        | Event::Lost { .. }
        | Event::ExternalAddress(Err(_))
        | Event::Ended { ending: Ending::NotMapped(_) | Ending::NotUnmapped(_), .. } => true,
        Event::UnmappedAll { result, .. } => result.is_err(),
        _ => false,
    }
}

/// Which handle owns which kept mapping, and which mappings no caller knows of.
#[derive(Debug, Default)]
pub(crate) struct Owners {
    owners: Vec<(Protocol, u16, u64)>,
    last: u64,
    /// Asked for by calls that have no outcome yet, and may be dropped before they have one.
    unreported: Vec<(Protocol, u16)>,
}

impl Owners {
    pub(crate) fn owner(&self, protocol: Protocol, port: u16) -> Option<u64> {
        self.owners.iter().find(|owner| (owner.0, owner.1) == (protocol, port)).map(|owner| owner.2)
    }

    pub(crate) fn add(&mut self, protocol: Protocol, port: u16) -> u64 {
        self.last = self.last.saturating_add(1);
        self.owners.push((protocol, port, self.last));
        self.last
    }

    /// `false` if it is owned by another handle, or by none.
    pub(crate) fn remove(&mut self, protocol: Protocol, port: u16, owner: u64) -> bool {
        let before = self.owners.len();
        self.owners.retain(|&entry| entry != (protocol, port, owner));
        self.owners.len() < before
    }

    /// A call asks for this mapping, which no caller holds.
    pub(crate) fn add_unreported(&mut self, protocol: Protocol, port: u16) {
        self.mark_reported(protocol, port);
        self.unreported.push((protocol, port));
    }

    /// A caller knows of this mapping now.
    pub(crate) fn mark_reported(&mut self, protocol: Protocol, port: u16) {
        self.unreported.retain(|&unreported| unreported != (protocol, port));
    }

    /// Takes the mappings that no caller knows of, when no caller is left.
    pub(crate) fn take_unreported(&mut self) -> Vec<(Protocol, u16)> {
        std::mem::take(&mut self.unreported)
    }

    /// Forgets the owner of a mapping that is over.
    pub(crate) fn dispatch_event(&mut self, event: &Event) {
        if let Event::Ended { protocol, internal_port, .. } = *event {
            self.owners.retain(|owner| (owner.0, owner.1) != (protocol, internal_port));
            self.mark_reported(protocol, internal_port);
        }
    }
}

/// How many mappings a client can hold.
pub const CLIENT_CAPACITY: usize = 1_024;
