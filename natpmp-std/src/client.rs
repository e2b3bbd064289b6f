use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;

use natpmp_proto::client::{Ending, Event, MappingStatus};
use natpmp_proto::{Instant, MapRequest, Mapping, Protocol};

use crate::worker::{self, wait};
use crate::{Announcement, ClientBuilder, Error};
use crate::{KeptMapping, Subscription};
use natpmp_engine::client::{Change, ClientHandle, ClientOptions, Start};

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
    handle: Arc<ClientHandle>,
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
        self.handle.local_address()
    }

    /// Why announcements of the gateway are not heard; `None` if they are, or are not to be.
    #[must_use]
    pub fn announcement_error(&self) -> Option<io::Error> {
        self.handle.announcement_error()
    }

    /// All mappings that this client holds: kept ones, and those made by [`map`](Self::map) whose lease has not ended. None when
    /// nobody drives it any more.
    #[must_use]
    pub fn mappings(&self) -> Vec<MappingStatus> {
        self.handle.mappings()
    }

    /// The time on this client's clock, by which [`Event::Failed`] and [`MappingState`](crate::MappingState) say when something
    /// will be.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.handle.now()
    }

    /// Asks for the external address (RFC 6886, section 3.2). Whether the internet can reach such an address is told by
    /// [`AddressKind::of`](crate::AddressKind::of).
    ///
    /// # Errors
    /// [`Error::NoAnswer`], [`Error::PortUnreachable`], [`Error::Refused`], [`Error::NetworkDown`].
    pub fn external_address(&self) -> Result<Ipv4Addr, Error> {
        wait(self.handle.external_address())
    }

    /// Makes a mapping, once: it is not renewed, and stays open at the gateway until its lifetime ends or it is unmapped.
    ///
    /// The external port may be another than was suggested, and the lifetime shorter.
    ///
    /// # Errors
    /// [`Error::NoAnswer`], [`Error::PortUnreachable`], [`Error::Refused`], [`Error::NetworkDown`],
    /// [`Error::BadArgument`], and [`Error::Interrupted`] if another call unmaps it meanwhile.
    pub fn map(&self, request: &MapRequest) -> Result<Mapping, Error> {
        wait(self.handle.map(request))
    }

    /// Renews a mapping that was made earlier, by this client or by another one, also in an earlier run of the program:
    /// the gateway is asked for the same external port, and for the lifetime that it granted then.
    ///
    /// # Errors
    /// As [`map`](Self::map).
    pub fn refresh(&self, mapping: &Mapping) -> Result<Mapping, Error> {
        wait(self.handle.refresh(mapping))
    }

    /// Deletes a mapping, whether this client made it or not (RFC 6886, section 3.4): [`Ending::Unmapped`], also if there
    /// was none. [`Ending::LeftToLapse`] for internal port 0, whose deletion would delete all mappings.
    ///
    /// # Errors
    /// [`Error::NoAnswer`], [`Error::PortUnreachable`], [`Error::Refused`], [`Error::NetworkDown`],
    /// [`Error::BadArgument`], and [`Error::Interrupted`] if another call makes it meanwhile.
    pub fn unmap(&self, protocol: Protocol, internal_port: u16) -> Result<Ending, Error> {
        wait(self.handle.unmap(protocol, internal_port))
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
        wait(self.handle.unmap_all(protocol))
    }

    /// Keeps a mapping: it is asked for, renewed, and asked for again after every failure, for as long as the handle that
    /// is returned exists. Returns at once; what becomes of it is told by the handle and by [`events`](Self::events).
    ///
    /// # Errors
    /// [`Error::BadArgument`], [`Error::AlreadyKept`], and [`Error::Stopped`] if nobody drives the client any more.
    pub fn keep(&self, request: &MapRequest) -> Result<KeptMapping, Error> {
        self.handle.keep(request, None).map(KeptMapping::new)
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
    /// As [`keep`](Self::keep).
    pub fn keep_with(
        &self,
        request: &MapRequest,
        callback: impl FnMut(&Change) + Send + 'static,
    ) -> Result<KeptMapping, Error> {
        self.handle.keep(request, Some(Box::new(callback))).map(KeptMapping::new)
    }

    /// What happens from now on.
    #[must_use]
    pub fn events(&self) -> Subscription<Event> {
        Subscription::new(self.handle.events())
    }

    /// The gateway's announcements from now on (RFC 6886, section 3.2.1).
    #[must_use]
    pub fn announcements(&self) -> Subscription<Announcement> {
        Subscription::new(self.handle.announcements())
    }

    /// Whether changes of the external address are told as events: it is asked for now, after every announcement, and
    /// every 300 s or at the [interval chosen](Builder::external_address_interval). While there are callbacks it is
    /// watched for them in any case.
    pub fn watch_external_address(&self, is_watched: bool) {
        self.handle.watch_external_address(is_watched);
    }

    /// The link, the own address or the routing changed: all that is kept is renewed now.
    pub fn network_changed(&self) {
        self.handle.network_changed();
    }

    /// Another gateway from now on: all that is kept is asked for there.
    pub fn set_gateway(&self, gateway: SocketAddrV4) {
        self.handle.set_gateway(gateway);
    }
}

/// How a [`Client`] is to be made.
pub type Builder = ClientBuilder<Client>;

impl Start for Client {
    type Started = Self;

    fn start(settings: &ClientOptions) -> Result<Self, Error> {
        let (shared, worker) = worker::start(settings).map_err(Error::Start)?;
        Ok(Self { handle: ClientHandle::new(shared, settings, Some(worker)) })
    }
}

/// The gateway.
impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("gateway", &self.gateway()).finish_non_exhaustive()
    }
}
