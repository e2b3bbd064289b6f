use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::task::Waker;
use std::thread::JoinHandle;
use std::time::Duration;

use natpmp_proto::client::{Ending, Event, MappingState};
use natpmp_proto::{Instant, MapRequest, Mapping, Protocol};

use super::callbacks::{Callback, CallbackRunner};
use super::sockets::Addresses;
use super::state::{ClientState, NetworkError};
use super::waiters::{Answer, Awaited};
use super::{Call, ClientConfig, Error, KeptHandle, MappingReport};
use crate::os::network::NetworkCheck;
use crate::shared_machine::SharedMachine;
use crate::{Announcement, EventQueue};

/// Gives commands to a client. All clones of a client, its kept mappings and its calls share one; when the last of them is gone, this
/// ends the driver, after the deletions that are under way.
pub struct ClientHandle {
    pub(crate) shared: Arc<ClientShared>,
    worker: Option<JoinHandle<()>>,
    pub(crate) goodbye: Duration,
}

impl ClientHandle {
    /// Makes the handle of a client whose engine shares `shared`. It waits at its end for `worker`, the thread that drives the
    /// engine, if there is one.
    #[must_use]
    pub fn new(shared: Arc<ClientShared>, config: &ClientConfig, worker: Option<JoinHandle<()>>) -> Arc<Self> {
        Arc::new(Self { shared, worker, goodbye: config.goodbye })
    }

    /// Says at which address and port the gateway is asked.
    #[must_use]
    pub fn gateway(&self) -> SocketAddrV4 {
        self.shared.read(|state, _| state.machine.gateway())
    }

    /// Says which local address requests are sent from at present; `None` while the network is down.
    #[must_use]
    pub fn local_address(&self) -> Option<Ipv4Addr> {
        self.shared.addresses.local_address(self.gateway()).ok()
    }

    /// Says why announcements are not received; `None` if they are, or are not wanted.
    #[must_use]
    pub fn announcement_error(&self) -> Option<io::Error> {
        self.shared.read(|state, _| state.announcement_error).map(NetworkError::to_error)
    }

    /// Reads this client's clock.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.shared.now()
    }

    /// Reports all mappings that the client holds; none when nobody drives it any more.
    #[must_use]
    pub fn mappings(&self) -> Vec<MappingReport> {
        self.shared.read(|state, now| match state.is_closed() {
            // What becomes of them nobody knows any more.
            true => Vec::new(),
            false => {
                let external_address = state.machine.external_address();
                state.machine.mappings().map(|status| MappingReport::of(&status, now, external_address)).collect()
            }
        })
    }

    /// Asks for the external address.
    pub fn external_address(self: &Arc<Self>) -> Call<Ipv4Addr> {
        let read = |answer| match answer {
            Answer::Address(address) => Some(address),
            _ => None,
        };
        Call::begin(self, Awaited::ExternalAddress, None, read, |state, now| {
            state.machine.request_external_address(now);
            Ok(None)
        })
    }

    /// Makes a mapping, once.
    pub fn map(self: &Arc<Self>, request: &MapRequest) -> Call<Mapping> {
        let (protocol, port) = (request.protocol(), request.internal_port());
        Call::begin(self, Awaited::Mapping(protocol, port), None, Answer::mapping, |state, now| {
            let before = state.machine.mapping(protocol, port).map(|status| status.state);
            state.machine.map(now, request)?;
            if !matches!(before, Some(MappingState::Open { .. } | MappingState::Closed { .. })) {
                state.owners.add_unreported(protocol, port);
            }
            Ok(None)
        })
    }

    /// Renews a mapping that was made earlier.
    pub fn refresh(self: &Arc<Self>, mapping: &Mapping) -> Call<Mapping> {
        let (protocol, port) = (mapping.protocol, mapping.internal_port);
        Call::begin(self, Awaited::Mapping(protocol, port), None, Answer::mapping, |state, now| {
            if !state.machine.refresh(now, protocol, port) {
                state.machine.map(now, &mapping.request())?;
            }
            Ok(None)
        })
    }

    /// Deletes a mapping.
    pub fn unmap(self: &Arc<Self>, protocol: Protocol, port: u16) -> Call<Ending> {
        Call::begin(self, Awaited::Ending(protocol, port), None, Answer::ending, |state, now| {
            state.machine.unmap(now, protocol, port)?;
            Ok(None)
        })
    }

    /// Deletes all mappings of a protocol.
    pub fn unmap_all(self: &Arc<Self>, protocol: Protocol) -> Call<()> {
        Call::begin(
            self,
            Awaited::UnmappedAll(protocol),
            None,
            |_| Some(()),
            |state, now| {
                state.machine.unmap_all(now, protocol);
                Ok(None)
            },
        )
    }

    /// Keeps a mapping.
    ///
    /// # Errors
    /// [`Error::BadArgument`], [`Error::AlreadyKept`], [`Error::Stopped`].
    pub fn keep(self: &Arc<Self>, request: &MapRequest, callback: Option<Callback>) -> Result<KeptHandle, Error> {
        let (protocol, port) = (request.protocol(), request.internal_port());
        // One that is not taken on is dropped without the lock: it may hold a handle.
        let mut callback = callback;
        let owner = self.shared.command(|state, now| {
            if state.is_closed() {
                return Err(Error::Stopped);
            }
            if state.owners.owner(protocol, port).is_some() {
                return Err(Error::AlreadyKept);
            }
            state.machine.keep(now, request)?;
            if let Some(callback) = callback.take() {
                state.callbacks.add(protocol, port, callback, &mut state.pending_wakers);
                state.update_address_watch(now);
            }
            Ok(state.owners.add(protocol, port))
        })?;
        Ok(KeptHandle::new(Arc::clone(self), protocol, port, owner))
    }

    /// Subscribes to what happens from now on.
    #[must_use]
    pub fn events(&self) -> EventQueue<Event> {
        self.shared.command(|state, _| state.events.subscribe())
    }

    /// Subscribes to the gateway's announcements from now on.
    #[must_use]
    pub fn announcements(&self) -> EventQueue<Announcement> {
        self.shared.command(|state, _| state.announcements.subscribe())
    }

    /// Watches the external address, so that its changes are events, or not any more.
    pub fn watch_external_address(&self, is_watched: bool) {
        self.shared.command(|state, now| state.watch_external_address(now, is_watched));
    }

    /// Renews all that is kept, because the link, the own address or the routing has changed.
    pub fn network_changed(&self) {
        self.shared.command(|state, now| {
            state.network_check = state.network_check.max(NetworkCheck::ChangedByCaller);
            state.machine.network_changed(now);
        });
    }

    /// Asks another gateway for all that is kept, from now on.
    pub fn set_gateway(&self, gateway: SocketAddrV4) {
        self.shared.command(|state, now| {
            state.network_check = NetworkCheck::GatewaySet;
            state.machine.set_gateway(now, gateway);
        });
    }
}

/// Has the driver finish the deletions that are under way, within the bound of the goodbye, and waits for the end of a worker.
impl Drop for ClientHandle {
    fn drop(&mut self) {
        self.shared.command(|state, now| state.begin_goodbye(now, self.goodbye));
        if let Some(worker) = self.worker.take() {
            // A worker that panicked has nothing more to say.
            let _ = worker.join();
        }
    }
}

/// The machine of a client under its lock, which handles and driver share.
pub struct ClientShared {
    machine_lock: SharedMachine<ClientState>,
    addresses: Addresses,
}

impl ClientShared {
    pub(crate) fn new(config: &ClientConfig, announcement_error: Option<NetworkError>) -> (Arc<Self>, CallbackRunner) {
        let (mut state, callbacks) = ClientState::new(config.machine);
        state.announcement_error = announcement_error;
        let shared = Self { machine_lock: SharedMachine::new(state), addresses: config.addresses.clone() };
        (Arc::new(shared), callbacks)
    }

    /// Sets whom commands wake: the driver, when it has something to do.
    pub fn set_waker(&self, waker: &Waker) {
        self.machine_lock.set_waker(waker);
    }

    /// Gives the machine a command, dispatches the events that it leads to at once, and wakes the driver for the rest.
    pub(crate) fn command<T>(&self, command: impl FnOnce(&mut ClientState, Instant) -> T) -> T {
        self.machine_lock.command(|state, now| {
            let result = command(state, now);
            state.dispatch_events(now);
            result
        })
    }

    /// Takes the lock and looks at the state, without a change.
    pub(crate) fn read<T>(&self, read: impl FnOnce(&ClientState, Instant) -> T) -> T {
        self.machine_lock.with(|state, now| read(state, now))
    }

    /// Takes the lock and works on the state; for the driver, which dispatches the events itself.
    pub(crate) fn with<T>(&self, work: impl FnOnce(&mut ClientState, Instant) -> T) -> T {
        self.machine_lock.with(work)
    }

    pub(crate) fn now(&self) -> Instant {
        self.machine_lock.now()
    }

    /// Lets the client's clock go on by this much, as if the computer had slept.
    #[cfg(test)]
    pub(crate) fn sleep(&self, duration: Duration) {
        self.machine_lock.clock.sleep(duration);
    }
}
