use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use natpmp_proto::client::{Ending, Event};
use natpmp_proto::{MapRequest, Mapping, Protocol};

use crate::callback::{Callback, Change};
use crate::driver::{Answer, Awaited, Core, Outcome, Shared};
use crate::kept::KeptMapping;
use crate::subscription::Subscription;
use crate::{Announcement, Builder, Error};

/// A client of one gateway. Its calls block until the gateway has answered or its schedule is used up.
///
/// It may be cloned and shared; all clones are the same client, with one worker thread. Requests go to the gateway one at
/// a time (RFC 6886, section 3.1). Mappings made by [`map`](Self::map) outlive the client; kept ones are deleted when
/// their handle is dropped.
///
/// ```no_run
/// use natpmp_std::{Client, MapRequest, Protocol};
///
/// let client = Client::discover()?;
/// println!("external address: {}", client.external_address()?);
/// let mapping = client.map(&MapRequest::new(Protocol::Udp, 4000))?;
/// println!("port {} is open for {} s", mapping.external_port, mapping.lifetime);
/// # Ok::<(), natpmp_std::Error>(())
/// ```
#[derive(Clone)]
pub struct Client {
    pub(crate) handle: Arc<Handle>,
}

impl Client {
    /// A client of the default gateway, with all defaults.
    ///
    /// # Errors
    /// As [`Builder::build`].
    pub fn discover() -> Result<Self, Error> {
        Self::builder().build()
    }

    /// A client with choices: gateway, local address, interface, patience.
    pub const fn builder() -> Builder {
        Builder::new()
    }

    /// The gateway's address and port.
    #[must_use]
    pub fn gateway(&self) -> SocketAddrV4 {
        self.handle.gateway()
    }

    /// The local address that requests are sent from at present; `None` while the network is down.
    #[must_use]
    pub fn local_address(&self) -> Option<Ipv4Addr> {
        self.handle.shared.local_address().ok()
    }

    /// Why announcements of the gateway are not heard; `None` if they are, or are not to be.
    #[must_use]
    pub fn announcement_error(&self) -> Option<&io::Error> {
        self.handle.shared.announcement_error.as_ref()
    }

    /// Asks for the external address (RFC 6886, section 3.2). Whether the internet can reach such an address is told by
    /// [`AddressKind::of`](crate::AddressKind::of).
    ///
    /// # Errors
    /// [`Error::NoAnswer`], [`Error::PortUnreachable`], [`Error::Refused`], [`Error::NetworkDown`].
    pub fn external_address(&self) -> Result<Ipv4Addr, Error> {
        let answer = self.handle.ask(Awaited::ExternalAddress, |core, now| {
            core.machine.request_external_address(now);
            Ok(())
        })?;
        match answer {
            Answer::Address(address) => Ok(address),
            _ => Err(Error::Interrupted),
        }
    }

    /// Makes a mapping, once: it is not renewed, and stays open at the gateway until its lifetime ends or it is unmapped.
    ///
    /// The external port may be another than was suggested, and the lifetime shorter.
    ///
    /// # Errors
    /// [`Error::NoAnswer`], [`Error::PortUnreachable`], [`Error::Refused`], [`Error::NetworkDown`],
    /// [`Error::BadArgument`], and [`Error::Interrupted`] if another call unmaps it meanwhile.
    pub fn map(&self, request: &MapRequest) -> Result<Mapping, Error> {
        let awaited = Awaited::Mapping(request.protocol(), request.internal_port());
        self.handle.ask_for_mapping(awaited, |core, now| Ok(core.machine.map(now, request)?))
    }

    /// Renews a mapping that was made earlier, by this client or by another one, also in an earlier run of the program:
    /// the gateway is asked for the same external port, and for the lifetime that it granted then.
    ///
    /// # Errors
    /// As [`map`](Self::map).
    pub fn refresh(&self, mapping: &Mapping) -> Result<Mapping, Error> {
        let (protocol, port) = (mapping.protocol, mapping.internal_port);
        self.handle.ask_for_mapping(Awaited::Mapping(protocol, port), |core, now| {
            if !core.machine.refresh(now, protocol, port) {
                core.machine.map(now, &mapping.request())?;
            }
            Ok(())
        })
    }

    /// Deletes a mapping, whether this client made it or not (RFC 6886, section 3.4): [`Ending::Unmapped`], also if there
    /// was none. [`Ending::LeftToLapse`] for internal port 0, whose deletion would delete all mappings.
    ///
    /// # Errors
    /// [`Error::NoAnswer`], [`Error::PortUnreachable`], [`Error::Refused`], [`Error::NetworkDown`],
    /// [`Error::BadArgument`], and [`Error::Interrupted`] if another call makes it meanwhile.
    pub fn unmap(&self, protocol: Protocol, internal_port: u16) -> Result<Ending, Error> {
        let awaited = Awaited::Ending(protocol, internal_port);
        let answer = self.handle.ask(awaited, |core, now| Ok(core.machine.unmap(now, protocol, internal_port)?))?;
        ending(answer)
    }

    /// Deletes a mapping that was made earlier: [`unmap`](Self::unmap) for what it is known by.
    ///
    /// # Errors
    /// As [`unmap`](Self::unmap).
    pub fn delete(&self, mapping: &Mapping) -> Result<Ending, Error> {
        self.unmap(mapping.protocol, mapping.internal_port)
    }

    /// Deletes **all** mappings of `protocol` that the gateway has for this host, those of other programs too (RFC 6886,
    /// section 3.4). Mappings of the other protocol that are kept here are renewed, since some gateways delete them as well.
    ///
    /// # Errors
    /// [`Error::NoAnswer`], [`Error::PortUnreachable`], [`Error::Refused`], [`Error::NetworkDown`].
    pub fn unmap_all(&self, protocol: Protocol) -> Result<(), Error> {
        let unmap_all = |core: &mut Core, now| {
            core.machine.unmap_all(now, protocol);
            Ok(())
        };
        self.handle.ask(Awaited::UnmappedAll(protocol), unmap_all).map(|_| ())
    }

    /// Keeps a mapping: it is asked for, renewed, and asked for again after every failure, for as long as the handle that
    /// is returned exists. Returns at once; what becomes of it is told by the handle and by [`events`](Self::events).
    ///
    /// # Errors
    /// [`Error::BadArgument`], [`Error::AlreadyKept`].
    pub fn keep(&self, request: &MapRequest) -> Result<KeptMapping, Error> {
        self.keep_mapping(request, None)
    }

    /// Keeps a mapping, and calls `callback` whenever its external port or the external address changes: the first time
    /// too, and when the mapping is lost.
    ///
    /// A callback that holds a clone of this client keeps the client alive, and so its mappings: call
    /// [`KeptMapping::stop`] before the end of the program then.
    ///
    /// Callbacks run one after the other on a thread of their own, so that a slow one delays no renewal. One that panics
    /// is called again at the next change; nothing else is harmed. They may call the client.
    ///
    /// # Errors
    /// [`Error::BadArgument`], [`Error::AlreadyKept`], and [`Error::Start`] if the system has no thread left.
    pub fn keep_with(
        &self,
        request: &MapRequest,
        callback: impl FnMut(&Change) + Send + 'static,
    ) -> Result<KeptMapping, Error> {
        self.keep_mapping(request, Some(Box::new(callback)))
    }

    /// What happens from now on.
    #[must_use]
    pub fn events(&self) -> Subscription<Event> {
        self.handle.shared.command(|core, _| core.events.subscribe())
    }

    /// The gateway's announcements from now on (RFC 6886, section 3.2.1).
    #[must_use]
    pub fn announcements(&self) -> Subscription<Announcement> {
        self.handle.shared.command(|core, _| core.announcements.subscribe())
    }

    /// Whether changes of the external address are told as events: it is asked for now, after every announcement, and
    /// every 300 s or at the [interval chosen](Builder::external_address_interval). While there are callbacks it is
    /// watched for them in any case.
    pub fn watch_external_address(&self, is_watched: bool) {
        self.handle.shared.command(|core, now| {
            let is_watched = is_watched || !core.callbacks.is_empty();
            core.machine.watch_external_address(now, is_watched);
        });
    }

    /// The link, the own address or the routing changed: all that is kept is renewed now.
    pub fn network_changed(&self) {
        self.handle.shared.network_changed();
    }

    /// Another gateway from now on: all that is kept is asked for there.
    pub fn set_gateway(&self, gateway: SocketAddrV4) {
        self.handle.shared.set_gateway(gateway);
    }

    fn keep_mapping(&self, request: &MapRequest, callback: Option<Callback>) -> Result<KeptMapping, Error> {
        let (protocol, port) = (request.protocol(), request.internal_port());
        let owner = self.handle.shared.command(|core, now| {
            if core.owners.owner(protocol, port).is_some() {
                return Err(Error::AlreadyKept);
            }
            let has_callback = callback.is_some();
            if let Some(callback) = callback {
                core.callbacks.add(protocol, port, callback).map_err(Error::Start)?;
            }
            if let Err(error) = core.machine.keep(now, request) {
                core.callbacks.remove(protocol, port);
                return Err(error.into());
            }
            if has_callback {
                core.machine.watch_external_address(now, true);
            }
            Ok(core.owners.add(protocol, port))
        })?;
        Ok(KeptMapping::new(Arc::clone(&self.handle), protocol, port, owner))
    }
}

/// The gateway.
impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("gateway", &self.gateway()).finish_non_exhaustive()
    }
}

/// What all clones of a client and its kept mappings share; with the last of them the worker ends.
pub(crate) struct Handle {
    pub(crate) shared: Arc<Shared>,
    worker: Mutex<Option<JoinHandle<()>>>,
    goodbye: Duration,
    /// A deletion was waited for in vain: there is no point in waiting again.
    is_silent: AtomicBool,
}

impl Handle {
    pub(crate) fn new(shared: Arc<Shared>, worker: JoinHandle<()>, goodbye: Duration) -> Self {
        Self { shared, worker: Mutex::new(Some(worker)), goodbye, is_silent: AtomicBool::new(false) }
    }

    /// Gives a command, and waits for what comes of it.
    pub(crate) fn ask(
        &self,
        awaited: Awaited,
        command: impl FnOnce(&mut Core, natpmp_proto::Instant) -> Result<(), Error>,
    ) -> Result<Answer, Error> {
        let began = Instant::now();
        let receiver = self.send(awaited, command)?;
        let outcome = receiver.recv().map_err(|_| Error::Stopped)?;
        self.answer(outcome, began.elapsed())
    }

    /// The same for a deletion, but waits no longer than the goodbye.
    pub(crate) fn ask_to_end(
        &self,
        awaited: Awaited,
        command: impl FnOnce(&mut Core, natpmp_proto::Instant) -> Result<(), Error>,
    ) -> Result<Answer, Error> {
        let began = Instant::now();
        let receiver = self.send(awaited, command)?;
        match receiver.recv_timeout(self.goodbye) {
            Ok(outcome) => self.answer(outcome, began.elapsed()),
            Err(RecvTimeoutError::Timeout) => {
                self.is_silent.store(true, Ordering::Relaxed);
                Err(Error::NoAnswer { gateway: self.gateway(), waited: self.goodbye })
            }
            Err(RecvTimeoutError::Disconnected) => Err(Error::Stopped),
        }
    }

    pub(crate) fn ask_for_mapping(
        &self,
        awaited: Awaited,
        command: impl FnOnce(&mut Core, natpmp_proto::Instant) -> Result<(), Error>,
    ) -> Result<Mapping, Error> {
        match self.ask(awaited, command)? {
            Answer::Mapping(mapping) => Ok(mapping),
            _ => Err(Error::Interrupted),
        }
    }

    fn gateway(&self) -> SocketAddrV4 {
        self.shared.look(|core, _| core.machine.gateway())
    }

    /// The command and the wait begin under one lock, so that no event can come between.
    fn send(
        &self,
        awaited: Awaited,
        command: impl FnOnce(&mut Core, natpmp_proto::Instant) -> Result<(), Error>,
    ) -> Result<Receiver<Outcome>, Error> {
        self.shared.command(|core, now| {
            command(core, now)?;
            Ok(core.waiters.wait_for(awaited))
        })
    }

    fn answer(&self, outcome: Outcome, waited: Duration) -> Result<Answer, Error> {
        match outcome {
            Outcome::Answered(answer) => Ok(answer),
            Outcome::Interrupted => Err(Error::Interrupted),
            Outcome::Failed(error) => {
                let network = self.shared.look(|core, _| core.network_error);
                Err(Error::from_machine(error, self.gateway(), waited, network))
            }
        }
    }
}

/// Waits for deletions that are under way, within the bound.
impl Drop for Handle {
    fn drop(&mut self) {
        let is_silent = self.is_silent.load(Ordering::Relaxed);
        self.shared.leave(self.goodbye, is_silent);
        let worker = self.worker.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(worker) = worker {
            // A worker that panicked has nothing more to say.
            let _ = worker.join();
        }
    }
}

pub(crate) fn ending(answer: Answer) -> Result<Ending, Error> {
    match answer {
        Answer::Ended(ending) => Ok(ending),
        _ => Err(Error::Interrupted),
    }
}
