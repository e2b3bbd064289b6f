//! The gateway's side of NAT-PMP: a machine that holds the table of mappings, and answers for it.
//!
//! It is driven as the client is: inputs ([`Gateway::handle_datagram`], [`Gateway::handle_nat`], [`Gateway::handle_timeout`]) return
//! nothing to act on, and all that is to be done comes out of [`Gateway::poll`].
//!
//! # Rules
//! - It never says yes before the NAT has it. A request for a mapping brings [`Output::Nat`]; its outcome goes to
//!   [`Gateway::handle_nat`], and only that brings the answer. What the NAT does not take leaves no trace.
//! - An answer leaves by the socket its request came in by: the machine stores the caller's [`SocketId`](crate::SocketId) with the request. An
//!   announcement leaves by every socket.
//! - Every input brings one answer at most, and the machine holds one: poll until there is nothing to send before the next datagram,
//!   which is dropped otherwise ([`Discard::AnswerNotPolled`](crate::Discard::AnswerNotPolled)). What waits for the NAT is no answer yet,
//!   and any number of requests may wait for it.
//! - A request that is repeated while the NAT is asked is not passed on twice: it only says again where to answer.
//! - A mapping is known by its client's address, protocol and internal port (section 3.3). Its external port is reserved
//!   for the same client in the other protocol.
//! - A lease begins when the NAT has the mapping, and anew with every request for it. It ends with the second that follows, so that
//!   no client is cut off early.
//! - Nothing is answered that a client cannot have asked, no answer is larger than 16 bytes or its request, and no client
//!   can take the whole table. How often a client is answered is for a [`RateLimit`] before the machine to bound.
//!
//! # The loop that runs it
//! One datagram, then poll until there is time to wait.
//!
//! ```no_run
//! use std::net::{SocketAddr, UdpSocket};
//! use std::time::Duration;
//! use natpmp_proto::gateway::{Config, Gateway, NatFailure, NatRequest, Output};
//! use natpmp_proto::wire::GATEWAY_PORT;
//! use natpmp_proto::{Instant, SocketId};
//!
//! /// Yours: has the NAT install or remove the mapping.
//! fn apply(request: &NatRequest) -> Result<(), NatFailure> {
//! #   let _ = request;
//! #   Ok(())
//! }
//!
//! fn main() -> std::io::Result<()> {
//!     let mut gateway: Gateway<64> = Gateway::new(Config::new().seed(0x5eed));
//!     // The only one. With more of them, each has its number: the kind of a datagram to be sent says through which it goes.
//!     let (socket, number) = (UdpSocket::bind(("192.168.1.1", GATEWAY_PORT))?, SocketId(0));
//!     let origin = std::time::Instant::now();
//!     let now = || Instant::ZERO + origin.elapsed();
//!
//!     gateway.start(now(), 0);
//!     gateway.set_external_address(now(), Some([11, 22, 33, 44].into()));
//!     let (mut received, mut to_send) = ([0; 1100], [0; 1100]);
//!     let mut length = 0;
//!     loop {
//!         let deadline = match gateway.poll(now()) {
//!             Output::Transmit(transmit) => {
//!                 if let Some(packet) = transmit.write(&received[..length], &mut to_send) {
//!                     // What cannot be sent is lost, as packets are: the client asks again.
//!                     let _ = socket.send_to(packet, transmit.to);
//!                 }
//!                 continue;
//!             }
//!             Output::Nat(request) => {
//!                 let outcome = apply(&request);
//!                 gateway.handle_nat(now(), &request, outcome);
//!                 continue;
//!             }
//!             Output::Event(event) => {
//!                 println!("{event:?}");
//!                 continue;
//!             }
//!             Output::Wait(deadline) => deadline,
//!         };
//!         // A timeout of zero is refused by the system; the clock is read again after the wait.
//!         let wait = deadline.map(|at| at.saturating_since(now()).max(Duration::from_millis(1)));
//!         socket.set_read_timeout(wait)?;
//!         if let Ok((received_length, SocketAddr::V4(from))) = socket.recv_from(&mut received) {
//!             length = received_length;
//!             // What cannot be answered is dropped; the reason may be logged.
//!             let _ = gateway.handle_datagram(now(), number, from, &received[..length]);
//!         }
//!     }
//! }
//! ```
//!
//! A NAT that takes its time is asked in the same way, and its outcome is passed in when it is there: other clients are answered
//! meanwhile. Who serves many clients may read many datagrams before the NAT is asked, so that it gets them in batches: after each
//! of them [`Gateway::poll_transmit`] until there is nothing to send, after all of them [`Gateway::poll_nat`].
//!
//! # Which mapping is where
//! ```text
//!  ToInstall -poll-> Installing -ok-> Open -deleted, lease ended-> ToRemove -poll-> Removing -ok-> (gone)
//!
//!  Open -another external address-> ToUpdate -poll-> Updating -ok-> Open
//! ```
//! A mapping that is wanted again on its way out goes back to `ToInstall` when the NAT has removed it; one that is deleted
//! on its way in goes on to `ToRemove` when the NAT has it. If the address changes while the NAT is at it, it is asked again.
//!
//! # Decided here, where the RFC leaves room
//! - A request with an unknown opcode and less than 4 bytes has no room for a result: it is not answered.
//! - Internal port 0 with a lifetime, and internal port 0 with an external port in a deletion, are refused (result 2): the
//!   one cannot be mapped, and the other may not have meant *all*.
//! - A packet of PCP is answered as one of another version (section 3.5).
//! - A suggested port of 0, or one that cannot be had, brings the client's own port if that is free, and any other if not.
//! - Mappings that the administrator made count towards the limit of their client.

mod answer;
mod config;
mod delete_all;
mod event;
mod nat;
mod output;
mod rate;
mod request;
mod table;

use core::net::{Ipv4Addr, SocketAddrV4};

use crate::datagram::Transmit;
use crate::random::Random;
use crate::time::Instant;
use crate::wire::Protocol;

use delete_all::{DeletionOfAll, MOST_DELETIONS};
use output::{MOST_EVENTS, Service};
use table::{Entry, Key, Owner, Phase, Table};

pub use config::{Config, PortRange, TooManyRanges};
pub use event::{CloseCause, Event, Mapping, NatFailure, NatMapping, NatRequest};
pub use output::Output;
pub use rate::RateLimit;

/// The gateway machine, with room for `N` mappings, 1 to 65,534. It does no IO, no NAT, and asks no clock.
///
/// It is large for a large `N`, about 48 bytes a mapping: give it a `static`, or a place on the heap that was made there.
///
/// ```
/// use natpmp_proto::gateway::{Gateway, Config, NatRequest, Output};
/// use natpmp_proto::{Instant, SocketId, TransmitKind};
///
/// let mut gateway: Gateway<16> = Gateway::new(Config::new());
/// let now = Instant::ZERO;
/// gateway.start(now, 0);
/// gateway.set_external_address(now, Some([11, 22, 33, 44].into()));
/// let Output::Transmit(announcement) = gateway.poll(now) else { panic!("to be announced") };
/// assert_eq!(announcement.kind, TransmitKind::Announcement);
///
/// // A client asks for UDP port 4000: the NAT comes first, then the answer, through the socket of the request.
/// let client = "192.168.1.2:50000".parse().unwrap();
/// let request = [0, 1, 0, 0, 0x0f, 0xa0, 0x0f, 0xa0, 0, 0, 0, 120];
/// let socket = SocketId(0);
/// gateway.handle_datagram(now, socket, client, &request).unwrap();
/// let Output::Nat(nat_request) = gateway.poll(now) else { panic!("the NAT is asked") };
/// let NatRequest::Install(mapping) = nat_request else { panic!("to be installed") };
/// assert_eq!(mapping.external_port, 4000);
/// // … the NAT takes it on …
/// gateway.handle_nat(now, &nat_request, Ok(()));
/// let Output::Transmit(answer) = gateway.poll(now) else { panic!("to be answered") };
/// assert_eq!((answer.to, answer.kind), (client, TransmitKind::Answer { socket }));
/// ```
#[derive(Debug)]
pub struct Gateway<const N: usize> {
    config: Config,
    table: Table<N>,
    random: Random,
    external_address: Option<Ipv4Addr>,
    /// The epoch was `epoch` at this moment.
    epoch_at: Instant,
    epoch: u32,
    service: Service,
    grants: Grants,
    deletions: [Option<DeletionOfAll>; MOST_DELETIONS],
    /// To the last input, if it brought one that was not polled yet.
    outgoing: Option<Transmit>,
    events: heapless::Deque<Event, MOST_EVENTS>,
}

/// Which new mappings clients get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Grants {
    /// On any port that is free.
    AnyPort,
    /// On the ports only that they have for the other protocol: a search found that all others are taken, and none has come free
    /// since.
    CompanionPorts,
    /// None: the administrator does not allow it.
    Nothing,
}

/// Commands.
impl<const N: usize> Gateway<N> {
    /// A gateway with an empty table and no external address yet, switched on. Begin with [`start`](Self::start).
    #[must_use]
    pub const fn new(config: Config) -> Self {
        let random = Random::new(config.seed);
        Self {
            table: Table::new(random.state()),
            config,
            random,
            external_address: None,
            epoch_at: Instant::ZERO,
            epoch: 0,
            service: Service::Answering,
            grants: Grants::AnyPort,
            deletions: [None; MOST_DELETIONS],
            outgoing: None,
            events: heapless::Deque::new(),
        }
    }

    /// The gateway has booted. `epoch` is 0 unless its mappings are restored from storage: then it goes on from what was stored,
    /// and the time since (section 3.6). Announces.
    #[inline(never)] // many call it, and firmware has more time than flash
    pub fn start(&mut self, now: Instant, epoch: u32) {
        self.epoch_at = now;
        self.epoch = epoch;
        self.announce(now);
    }

    /// Takes on a mapping that was in the table before a restart, for what is left of its lease in seconds. The NAT is asked to
    /// install it: call this once there is an [external address](Self::set_external_address).
    ///
    /// `false` if the table is full, its port is taken or not allowed, or the lease has ended.
    pub fn restore(&mut self, mapping: &NatMapping, lifetime: u32) -> bool {
        if lifetime == 0 || !self.config.allows(mapping.external_port) {
            return false;
        }
        self.add(mapping, lifetime.min(self.config.longest_lifetime)).is_some()
    }

    /// A mapping that the administrator makes: no lease, no deletion by its client (section 3.4). Any port will do, also
    /// one outside of the range or denied. The NAT is asked to install it.
    ///
    /// `false` if the table is full, or the port or the client's port are taken.
    pub fn add_static(&mut self, mapping: &NatMapping) -> bool {
        let added = self.add(mapping, u32::MAX).and_then(|index| self.table.get_mut(index));
        match added {
            Some(entry) => {
                entry.set_owner(Owner::Administrator);
                true
            }
            None => false,
        }
    }

    /// Removes a mapping, whoever made it. `false` if there is none.
    pub fn remove(&mut self, protocol: Protocol, internal: SocketAddrV4) -> bool {
        let key = Key { client: *internal.ip(), protocol, internal_port: internal.port() };
        let Some(index) = self.table.find(&key) else { return false };
        self.mark_for_removal(index);
        true
    }

    /// Removes all mappings but those that the administrator made; the epoch begins again at 0 (section 3.6). Announces.
    pub fn clear(&mut self, now: Instant) {
        for index in self.table.indices() {
            if self.table.get(index).is_some_and(|entry| !entry.is_static()) {
                self.mark_for_removal(index);
            }
        }
        self.start(now, 0);
    }

    /// The external address is this from now on, or there is none. If it is a new one, announces, and asks the NAT to
    /// bring all mappings up to date.
    pub fn set_external_address(&mut self, now: Instant, address: Option<Ipv4Addr>) {
        if self.external_address == address {
            return;
        }
        self.external_address = address;
        if address.is_none() {
            return;
        }
        self.announce(now);
        for index in self.table.indices() {
            let Some(entry) = self.table.get_mut(index) else { continue };
            match entry.phase {
                Phase::Open => self.table.enqueue(index, Phase::ToUpdate),
                Phase::Installing => entry.phase = Phase::InstallingOutdated,
                Phase::Updating => entry.phase = Phase::UpdatingOutdated,
                _ => {}
            }
        }
    }

    /// Whether clients may make mappings. If not, they get result 2 (section 3.5); what they have stays until its lease ends.
    pub fn allow_mapping(&mut self, is_allowed: bool) {
        if !is_allowed {
            self.grants = Grants::Nothing;
        } else if self.grants == Grants::Nothing {
            self.grants = Grants::AnyPort;
        }
    }

    /// Whether NAT is on. While it is off, nothing is answered or announced (section 3.8): close the socket, so that
    /// clients get port unreachable. Announces when it is switched on.
    pub fn switch(&mut self, now: Instant, is_on: bool) {
        if !is_on {
            self.service = Service::Off;
            self.outgoing = None;
        } else if self.service == Service::Off {
            self.service = Service::Answering;
            self.announce(now);
        }
    }
}

/// Getters.
impl<const N: usize> Gateway<N> {
    /// Seconds since the table was last empty by accident (section 3.6).
    #[must_use]
    #[inline(never)] // many call it, and firmware has more time than flash
    pub fn epoch(&self, now: Instant) -> u32 {
        self.epoch.saturating_add(now.span_since(self.epoch_at).whole_secs())
    }

    /// The external address.
    #[must_use]
    pub const fn external_address(&self) -> Option<Ipv4Addr> {
        self.external_address
    }

    /// All mappings that the NAT has, in no particular order.
    pub fn mappings(&self) -> impl Iterator<Item = Mapping> {
        let stands = |entry: &Entry| {
            matches!(entry.phase, Phase::Open | Phase::ToUpdate | Phase::Updating | Phase::UpdatingOutdated)
        };
        self.table.iter().filter(move |(_, entry)| stands(entry)).map(|(key, entry)| mapping_of(key, entry))
    }

    /// How many mappings there are, those that wait for the NAT among them.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether there is no mapping at all.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many mappings there can be: `N`.
    #[must_use]
    pub const fn capacity(&self) -> usize {
        N
    }
}

/// Shared by commands, requests and outcomes.
impl<const N: usize> Gateway<N> {
    fn add(&mut self, mapping: &NatMapping, lifetime: u32) -> Option<u16> {
        let NatMapping { protocol, internal, external_port } = *mapping;
        let key = Key { client: *internal.ip(), protocol, internal_port: internal.port() };
        if external_port == 0
            || key.internal_port == 0
            || self.table.find(&key).is_some()
            || !self.table.is_port_free(external_port, protocol, key.client)
        {
            return None;
        }
        let index = self.table.insert(&key, external_port)?;
        self.table.get_mut(index)?.term = lifetime;
        self.table.enqueue(index, Phase::ToInstall);
        Some(index)
    }

    /// Marks a mapping for removal. The NAT removes it once it has finished what it is doing with it.
    fn mark_for_removal(&mut self, index: u16) {
        let Some(entry) = self.table.get_mut(index) else { return };
        entry.set_owner(Owner::Nobody);
        if entry.phase == Phase::Open {
            self.table.enqueue(index, Phase::ToRemove);
        }
    }
}

fn nat_mapping(key: Key, entry: &Entry) -> NatMapping {
    let internal = SocketAddrV4::new(key.client, key.internal_port);
    NatMapping { protocol: key.protocol, internal, external_port: entry.external_port }
}

#[inline(never)] // many call it, and firmware has more time than flash
fn mapping_of(key: Key, entry: &Entry) -> Mapping {
    let expires = (!entry.is_static()).then(|| Instant::from_secs(entry.expires.into()));
    Mapping { mapping: nat_mapping(key, entry), expires }
}

/// Whole seconds on the caller's clock; 32 bits of them are 136 years.
fn seconds(now: Instant) -> u32 {
    now.span_since(Instant::ZERO).whole_secs()
}

#[cfg(test)]
mod tests;
