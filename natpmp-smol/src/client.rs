use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_core::Stream;
use natpmp_engine::EventQueue;
use natpmp_engine::client::{Change, ClientConfig, ClientHandle, KeptHandle, MappingReport};
use natpmp_proto::client::{Ending, Event};
use natpmp_proto::{Instant, MapRequest, Mapping, Protocol};

use crate::{Announcement, Call, ClientBuilder, ClientDriver, Error};

/// A client of one gateway. Its calls wait until the gateway has answered or its schedule is used up; its [`ClientDriver`] does the work
/// meanwhile.
///
/// It may be cloned and shared; all clones are the same client, with one driver. Requests go to the gateway one at a time
/// (RFC 6886, section 3.1). Mappings made by [`map`](Self::map) outlive the client; kept ones are deleted when their
/// handle is dropped.
///
/// What its methods return begins before it is polled: a [`Call`] stands for a request that is on its way. It borrows nothing, and may
/// be dropped at any time; what was asked for is done all the same, and
/// [`mappings`](Self::mappings) and [`events`](Self::events) say what became of it. A mapping that nobody knows of,
/// since the [`Call`] of [`map`](Self::map) was dropped, is deleted when the client ends.
///
/// ```no_run
/// use natpmp_smol::{Client, MapRequest, Protocol};
///
/// # async fn example() -> Result<(), natpmp_smol::Error> {
/// let (client, driver) = Client::discover()?;
/// smol::spawn(driver).detach();
/// println!("external address: {}", client.external_address().await?);
/// let mapping = client.map(&MapRequest::new(Protocol::Udp, 4000)).await?;
/// println!("port {} is open for {} s", mapping.external_port, mapping.lifetime);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Client {
    handle: Arc<ClientHandle>,
}

impl Client {
    /// A client of the default gateway, with all defaults, and its driver.
    ///
    /// # Errors
    /// As [`ClientBuilder::build`].
    pub fn discover() -> Result<(Self, ClientDriver), Error> {
        Self::builder().build()
    }

    /// A client with choices: gateway, local address, interface, patience.
    pub const fn builder() -> ClientBuilder {
        ClientBuilder::new()
    }

    pub(crate) fn start(config: &ClientConfig) -> Result<(Self, ClientDriver), Error> {
        let driver = ClientDriver::new(config).map_err(Error::Start)?;
        let handle = ClientHandle::new(Arc::clone(driver.shared()), config, None);
        Ok((Self { handle }, driver))
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

    /// Why announcements of the gateway are not received; `None` if they are, or are not wanted.
    #[must_use]
    pub fn announcement_error(&self) -> Option<io::Error> {
        self.handle.announcement_error()
    }

    /// All mappings that this client holds: kept ones, and those made by [`map`](Self::map) whose lease has not ended. None when
    /// nobody drives it any more.
    #[must_use]
    pub fn mappings(&self) -> Vec<MappingReport> {
        self.handle.mappings()
    }

    /// The time on this client's clock, by which [`Event::Failed`] says when the next attempt will be.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.handle.now()
    }

    /// Asks for the external address (RFC 6886, section 3.2). Whether the internet can reach such an address is said by
    /// [`AddressKind::of`](crate::AddressKind::of).
    ///
    /// The request is on its way as soon as this returns, whether the future is polled or dropped.
    ///
    /// # Errors
    /// [`Error::NoAnswer`], [`Error::PortUnreachable`], [`Error::Refused`], [`Error::NetworkDown`], and [`Error::Stopped`] if
    /// the driver is gone, which every future of a client may fail with.
    pub fn external_address(&self) -> Call<Ipv4Addr> {
        self.handle.external_address()
    }

    /// Makes a mapping, once: it is not renewed, and stays open at the gateway until its lifetime ends or it is unmapped.
    ///
    /// The external port may be another than was suggested, and the lifetime shorter.
    ///
    /// The request is on its way as soon as this returns, whether the future is polled or dropped.
    ///
    /// # Errors
    /// [`Error::NoAnswer`], [`Error::PortUnreachable`], [`Error::Refused`], [`Error::NetworkDown`],
    /// [`Error::BadArgument`], and [`Error::Interrupted`] if another call unmaps it meanwhile.
    pub fn map(&self, request: &MapRequest) -> Call<Mapping> {
        self.handle.map(request)
    }

    /// Renews a mapping that was made earlier, by this client or by another one, also in an earlier run of the program:
    /// the gateway is asked for the same external port, and for the lifetime that it granted then.
    ///
    /// The request is on its way as soon as this returns, whether the future is polled or dropped.
    ///
    /// # Errors
    /// As [`map`](Self::map).
    pub fn refresh(&self, mapping: &Mapping) -> Call<Mapping> {
        self.handle.refresh(mapping)
    }

    /// Deletes a mapping, whether this client made it or not (RFC 6886, section 3.4): [`Ending::Unmapped`], also if there
    /// was none. [`Ending::LeftToLapse`] for internal port 0, whose deletion would delete all mappings.
    ///
    /// The request is on its way as soon as this returns, whether the future is polled or dropped.
    ///
    /// # Errors
    /// [`Error::NoAnswer`], [`Error::PortUnreachable`], [`Error::Refused`], [`Error::NetworkDown`],
    /// [`Error::BadArgument`], and [`Error::Interrupted`] if another call makes it meanwhile.
    pub fn unmap(&self, protocol: Protocol, internal_port: u16) -> Call<Ending> {
        self.handle.unmap(protocol, internal_port)
    }

    /// Deletes a mapping that was made earlier: [`unmap`](Self::unmap) for what it is known by.
    ///
    /// The request is on its way as soon as this returns, whether the future is polled or dropped.
    ///
    /// # Errors
    /// As [`unmap`](Self::unmap).
    pub fn delete(&self, mapping: &Mapping) -> Call<Ending> {
        self.unmap(mapping.protocol, mapping.internal_port)
    }

    /// Deletes **all** mappings of `protocol` that the gateway has for this host, those of other programs too (RFC 6886,
    /// section 3.4). Mappings of the other protocol that are kept here are renewed, since some gateways delete them as well.
    ///
    /// The request is on its way as soon as this returns, whether the future is polled or dropped.
    ///
    /// # Errors
    /// [`Error::NoAnswer`], [`Error::PortUnreachable`], [`Error::Refused`], [`Error::NetworkDown`].
    pub fn unmap_all(&self, protocol: Protocol) -> Call<()> {
        self.handle.unmap_all(protocol)
    }

    /// Keeps a mapping: it is asked for, renewed, and asked for again after every failure, for as long as the handle that
    /// is returned exists. Returns at once; what becomes of it is said by the handle and by [`events`](Self::events).
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
    /// Callbacks are called by the driver, one after the other, and renewal waits for them: one that takes long is better
    /// made of [`events`](Self::events). One that panics is called again at the next change; nothing else is harmed. They may
    /// call the client.
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

    /// Whether changes of the external address are events: it is asked for now, after every announcement, and
    /// every 300 s or at the [interval chosen](ClientBuilder::external_address_interval). While there are
    /// callbacks it is watched for them in any case.
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

/// The gateway.
impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("gateway", &self.gateway()).finish_non_exhaustive()
    }
}

/// A mapping that is kept for as long as this handle exists: renewed, and asked for again after every failure.
///
/// Dropping it deletes the mapping without waiting; [`stop`](Self::stop) waits and says whether that came through.
#[must_use = "the mapping is deleted when this handle is dropped"]
pub struct KeptMapping(KeptHandle);

impl KeptMapping {
    pub(crate) const fn new(kept: KeptHandle) -> Self {
        Self(kept)
    }

    /// The protocol that is mapped.
    #[must_use]
    pub const fn protocol(&self) -> Protocol {
        self.0.protocol()
    }

    /// The client's own port.
    #[must_use]
    pub const fn internal_port(&self) -> u16 {
        self.0.internal_port()
    }

    /// Where it stands now. Asks nobody.
    #[must_use]
    pub fn state(&self) -> MappingReport {
        self.0.state()
    }

    /// Waits until the mapping is open, for no longer than `timeout` from this call on. It is the driver that keeps the time.
    ///
    /// # Errors
    /// Why the last attempt failed, or [`Error::NoAnswer`] if there was none yet: then the mapping is not open by that time, and is
    /// asked for again. [`Error::Interrupted`] if it was unmapped by another call.
    pub fn wait_open(&self, timeout: Duration) -> Call<Mapping> {
        self.0.wait_open(timeout)
    }

    /// Renews it now, or tries again now to make it. It stays kept whatever the gateway says.
    ///
    /// The request is on its way as soon as this returns, whether the future is polled or dropped.
    ///
    /// # Errors
    /// [`Error::NoAnswer`], [`Error::PortUnreachable`], [`Error::Refused`], [`Error::NetworkDown`], and
    /// [`Error::Interrupted`] if it was unmapped by another call.
    pub fn refresh(&self) -> Call<Mapping> {
        self.0.refresh()
    }

    /// Deletes it, and waits for the gateway's answer within the client's
    /// [goodbye](ClientBuilder::goodbye).
    ///
    /// [`Ending::Unmapped`] if the gateway said yes or never had it; [`Ending::LeftToLapse`] for internal port 0, which
    /// cannot be deleted alone.
    ///
    /// The deletion is on its way as soon as this returns, whether the future is polled or dropped.
    ///
    /// # Errors
    /// [`Error::NoAnswer`], [`Error::PortUnreachable`], [`Error::Refused`], [`Error::NetworkDown`]: the mapping stays open
    /// at the gateway until its lease ends. After [`Error::NoAnswer`] its deletion is still tried as long as the client exists.
    pub fn stop(self) -> Call<Ending> {
        self.0.stop()
    }
}

/// What it is known by, and its state.
impl fmt::Debug for KeptMapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Events of a client, one after the other: a stream that ends when the client is gone.
///
/// It begins with what happens after it was made. A subscriber that does not keep up loses the oldest: 4,096 are kept.
pub struct Subscription<T>(EventQueue<T>);

impl<T> Subscription<T> {
    pub(crate) const fn new(events: EventQueue<T>) -> Self {
        Self(events)
    }
}

impl<T> Stream for Subscription<T> {
    type Item = T;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        self.0.poll_next(context)
    }
}

impl<T> fmt::Debug for Subscription<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription").finish_non_exhaustive()
    }
}
