//! The machine, and whoever waits for what it says. It holds no protocol state: that is the machine's.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::task::Waker;
use std::time::Duration;

use log::debug;
use natpmp_proto::client::{Client as Machine, Config, Ending, Error, Event, Heard, MappingState, Output};
use natpmp_proto::{Instant, Transmit};

use super::callbacks::Callbacks;
use super::owners::Owners;
use super::sockets::Source;
use super::waiters::Waiters;
use crate::Announcement;
use crate::events::Subscribers;
use crate::shared_machine::PendingWakers;

/// How many mappings a client can hold.
pub const CLIENT_CAPACITY: usize = 1_024;

pub(crate) struct Core {
    pub(crate) machine: Box<Machine<CLIENT_CAPACITY>>,
    pub(crate) waiters: Waiters,
    pub(crate) events: Subscribers<Event>,
    pub(crate) announcements: Subscribers<Announcement>,
    pub(crate) callbacks: Callbacks,
    pub(crate) owners: Owners,
    /// What the system said when the network was last found down.
    pub(crate) network_error: NetworkError,
    /// Why announcements are not heard.
    pub(crate) announcement_error: Option<NetworkError>,
    /// The socket is to be opened anew.
    pub(crate) is_socket_stale: bool,
    /// The caller set a gateway, which stays.
    pub(crate) is_gateway_set: bool,
    /// Something was renewed or failed: the way to the gateway may have changed.
    pub(crate) is_network_doubtful: bool,
    /// The caller says that it has.
    pub(crate) is_network_changed: bool,
    /// A deletion was waited for in vain, and nothing was answered since: there is no point in waiting again.
    pub(crate) is_silent: bool,
    /// The caller wants to hear of the external address; callbacks do in any case.
    pub(crate) is_address_watched: bool,
    pub(crate) does_watch: bool,
    /// The last handle is gone: only deletions are waited for, and those not for ever.
    goodbye: Option<Goodbye>,
    pending_wakers: Vec<Waker>,
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
pub(crate) enum Step {
    Send(Transmit),
    /// Nothing, until then or until something happens.
    Wait(Option<Instant>),
    /// Nothing any more.
    End,
}

/// How long the end may take.
struct Goodbye {
    bound: Duration,
    end: Instant,
    /// When deletions that still wait for an answer, or for their turn, are sent a last time.
    hasten_at: Option<Instant>,
}

impl PendingWakers for Core {
    fn pending_wakers(&mut self) -> &mut Vec<Waker> {
        &mut self.pending_wakers
    }
}

impl Core {
    pub(crate) fn new(config: Config) -> Self {
        Self {
            machine: Box::new(Machine::new(config)),
            waiters: Waiters::default(),
            events: Subscribers::new(),
            announcements: Subscribers::new(),
            callbacks: Callbacks::default(),
            owners: Owners::default(),
            network_error: NetworkError { kind: io::ErrorKind::NetworkUnreachable, os_error: None },
            announcement_error: None,
            is_socket_stale: false,
            is_gateway_set: false,
            is_network_doubtful: false,
            is_network_changed: false,
            is_silent: false,
            is_address_watched: false,
            does_watch: false,
            goodbye: None,
            pending_wakers: Vec::new(),
        }
    }

    /// What is to be done next. What happened on the way was told.
    pub(crate) fn step(&mut self, now: Instant) -> Step {
        self.waiters.handle_timeout(now, &mut self.pending_wakers);
        loop {
            match self.machine.poll(now) {
                Output::Transmit(transmit) => return Step::Send(transmit),
                Output::Event(event) => self.tell(now, event),
                Output::Wait(deadline) => {
                    let is_deleting = self.goodbye.is_some() && self.is_deleting();
                    let mut until = None;
                    if let Some(goodbye) = &mut self.goodbye {
                        if goodbye.end <= now || !is_deleting {
                            return Step::End;
                        }
                        if goodbye.hasten_at.is_some_and(|at| at <= now) {
                            goodbye.hasten_at = None;
                            self.machine.hasten_deletions(now);
                            continue;
                        }
                        until = goodbye.hasten_at.or(Some(goodbye.end));
                    }
                    return Step::Wait([deadline, until, self.waiters.poll_timeout()].into_iter().flatten().min());
                }
            }
        }
    }

    /// The last handle is gone: the end comes when the deletions are through, or `bound` after the last answer.
    /// If the gateway is known to be silent, each deletion is sent once, and no more.
    pub(crate) fn leave(&mut self, now: Instant, bound: Duration) {
        for (protocol, port) in self.owners.take_unheard() {
            if self.machine.mapping(protocol, port).is_some() {
                // It has a slot: there is nothing to fail.
                let _ = self.machine.unmap(now, protocol, port);
            }
        }
        let hasten_at = if self.is_silent { now } else { now + bound / 2 };
        self.goodbye = Some(Goodbye { bound, end: now + bound, hasten_at: Some(hasten_at) });
    }

    /// The network is down, as the system says.
    pub(crate) fn network_down(&mut self, now: Instant, error: &io::Error) {
        self.network_error = NetworkError::of(error);
        self.machine.handle_network_down(now);
    }

    pub(crate) fn hear(&mut self, now: Instant, source: Source, from: SocketAddrV4, bytes: &[u8]) {
        let heard = match source {
            Source::Announcements => self.machine.handle_announcement(now, from, bytes),
            _ => self.machine.handle_datagram(now, from, bytes),
        };
        debug!("from {from}: {bytes:02x?}: {heard:?}");
        match heard {
            Ok(Heard::Announcement { epoch, address }) => self.announce(from, Some(epoch), Some(address)),
            Ok(Heard::PcpAnnouncement) => self.announce(from, None, None),
            Ok(_) | Err(_) => {}
        }
    }

    /// Whether there is no driver any more.
    pub(crate) const fn is_closed(&self) -> bool {
        self.waiters.is_closed
    }

    /// Whoever still waits is told that nobody will answer.
    pub(crate) fn close(&mut self) {
        self.waiters.close(&mut self.pending_wakers);
        self.events.close(&mut self.pending_wakers);
        self.announcements.close(&mut self.pending_wakers);
    }

    fn announce(&mut self, gateway: SocketAddrV4, epoch: Option<u32>, external_address: Option<Ipv4Addr>) {
        let announcement = Announcement { gateway, epoch, external_address };
        self.announcements.push(&announcement, &mut self.pending_wakers);
    }

    fn tell(&mut self, now: Instant, event: Event) {
        debug!("{event:?}");
        let is_silence = matches!(event, Event::Ended { ending: Ending::NotUnmapped(Error::NoAnswer), .. });
        if let (Event::Ended { .. }, false, Some(goodbye)) = (event, is_silence, &mut self.goodbye) {
            // It goes on, and may as long as it does.
            goodbye.end = now + goodbye.bound;
        }
        match event {
            Event::Mapped(_)
            | Event::Renewed(_)
            | Event::PortChanged { .. }
            | Event::Ended { ending: Ending::Unmapped, .. }
            | Event::ExternalAddress(Ok(_))
            | Event::UnmappedAll { result: Ok(()), .. } => self.is_silent = false,
            _ => {}
        }
        self.is_network_doubtful |= match event {
            Event::Renewed(_) | Event::Failed { .. } | Event::Lost { .. } | Event::ExternalAddress(Err(_)) => true,
            Event::Ended { ending: Ending::NotMapped(_) | Ending::NotUnmapped(_), .. } => true,
            Event::UnmappedAll { result, .. } => result.is_err(),
            _ => false,
        };
        self.waiters.tell(&event, &mut self.pending_wakers);
        self.owners.tell(&event);
        self.events.push(&event, &mut self.pending_wakers);
        let address = self.machine.external_address();
        self.callbacks.tell(&event, address);
        if let Event::Ended { .. } = event {
            self.watch_address(now);
        }
    }

    /// Watches the external address for as long as somebody is to hear of it.
    pub(crate) fn watch_address(&mut self, now: Instant) {
        let is_watched = self.is_address_watched || !self.callbacks.is_empty();
        if is_watched != std::mem::replace(&mut self.does_watch, is_watched) {
            self.machine.watch_external_address(now, is_watched);
        }
    }

    fn is_deleting(&self) -> bool {
        self.machine.mappings().any(|mapping| mapping.state == MappingState::Closing)
    }
}
