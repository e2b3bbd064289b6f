//! The client's side of NAT-PMP: a machine that brings what the gateway has in line with what is wanted.
//!
//! # Rules
//! - One request is in flight at a time; the others wait their turn (section 3.1). It is sent again by the [`Schedule`].
//!   No packet that is dropped shortens or extends a wait; a command, or an announcement that comes in a long wait, begins
//!   the schedule anew, once. A deletion goes before a request that finds no answer.
//! - What is wanted is kept in slots, one a mapping, known by protocol and internal port. A gateway that lost its state
//!   is asked for all of it again.
//! - An answer is matched by what it says. Deletions are answered with lifetime 0 and requests are not, so that a late
//!   answer to the one is not taken for an answer to the other.
//! - Only an answer to a request can change what is believed. An announcement can be forged by any host of the link; it
//!   is a reason to ask, at most once a second, and for a PCP announcement to renew, at most once a minute.
//! - Silence, port unreachable and a network that is down concern the gateway, and everything that waits for it shares
//!   the verdict: one request is tried after a growing pause, and its answer releases the rest. Deletions are sent once
//!   before they share it. A refusal concerns its mapping only, and so does the silence after a question that nobody waits for.
//!
//! # Deadlines
//! While a request is in flight: the end of its wait. Otherwise: the earliest thing to ask, but not before the end of the
//! gateway's pause, for which deletions and the check of an announcement do not wait. At any time: the end of a lease, and the moment when a deletion has become pointless.

mod ask;
mod config;
mod event;
mod input;
mod output;
mod slot;
mod status;

use core::net::{Ipv4Addr, SocketAddrV4};
use core::time::Duration;

use crate::epoch::Epoch;
use crate::mapping::MapRequest;
use crate::random::Random;
use crate::retry::{Backoff, Schedule, millis};
use crate::time::Instant;
use crate::wire::Protocol;

use ask::{Ask, Exchange, Key};
use slot::{Hold, Slot};

pub use config::Config;
pub use event::{Ending, Error, Event, Heard, LossCause, MapError};
pub use output::Output;
pub use status::{MappingState, MappingStatus};

/// The client machine, for up to `N` mappings. It does no IO and asks no clock: see the [crate's front page](crate) for the loop that runs it.
///
/// Where the compiler is to fill in the default of 8 mappings, name the type: `let client: Client = Client::new(config);`.
#[derive(Clone, Debug)]
#[repr(C)] // what is used most has the shortest ways to it
pub struct Client<const N: usize = 8> {
    in_flight: Option<Exchange>,
    restart_news: bool,
    gateway_news: bool,
    /// An announcement is to be checked by a question to the gateway, but not before `question_from`.
    question: bool,
    /// How often the gateway could not be asked anything in a row.
    silences: u8,
    external: External,
    /// Nothing is sent before: the pause after silence, port unreachable or a network that was down.
    quiet_until: Instant,
    unmap_all: [UnmapAll; 2],
    gateway: SocketAddrV4,
    is_epoch_known: bool,
    random: Random,
    schedule: Schedule,
    backoff: Backoff,
    question_from: Instant,
    /// When the last round of renewals was, or the next one will be, that lost state or a PCP announcement caused; zero before the first.
    round_at: Instant,
    /// Of the last answer, if there was one since the gateway or the network changed.
    epoch: Epoch,
    slots: heapless::Vec<Slot, N>,
}

/// The external address, and what is to be done about it.
#[derive(Clone, Copy, Debug)]
struct External {
    address: Option<Ipv4Addr>,
    error: Option<Error>,
    /// The caller waits for an answer.
    is_asked: bool,
    /// Changes are to be told.
    is_watched: bool,
    /// So is the next answer, change or not.
    is_first: bool,
    news: Option<Result<Ipv4Addr, Error>>,
    /// In milliseconds, while it is watched.
    interval_ms: u32,
    /// When to ask next, while it is watched.
    ask_at: Instant,
}

/// The deletion of all mappings of one protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum UnmapAll {
    Idle,
    Wanted,
    /// The gateway does not answer: it is sent once, and given up.
    LastTry,
    /// It is sent once, whether the gateway answers or not.
    Clearing,
    Done(Result<(), Error>),
}

/// Commands.
impl<const N: usize> Client<N> {
    /// A client that wants nothing yet. It may be a `const` or a `static`'s initial value.
    #[must_use]
    pub const fn new(config: Config) -> Self {
        Self {
            gateway: config.gateway,
            schedule: config.schedule,
            backoff: config.backoff,
            random: Random::new(config.seed),
            slots: heapless::Vec::new(),
            in_flight: None,
            epoch: Epoch::new(0, Instant::ZERO),
            is_epoch_known: false,
            quiet_until: Instant::ZERO,
            silences: 0,
            external: External::new(config.external_address_interval),
            unmap_all: [UnmapAll::Idle; 2],
            question: false,
            question_from: Instant::ZERO,
            round_at: Instant::ZERO,
            restart_news: false,
            gateway_news: false,
        }
    }

    /// Asks for a mapping once: it is not renewed, and its end is reported by [`Event::Ended`].
    /// The answer comes as [`Event::Mapped`], or as [`Event::Ended`] with [`Ending::NotMapped`].
    ///
    /// A mapping of the same protocol and internal port is asked for again, on the port it has if it is open; one that
    /// is kept stays kept.
    ///
    /// # Errors
    /// [`MapError::TableFull`], and [`MapError::ZeroLifetime`] or [`MapError::ZeroRefreshInterval`] for such a request.
    pub fn map(&mut self, now: Instant, request: &MapRequest) -> Result<(), MapError> {
        self.want(now, request, Hold::Once)
    }

    /// Keeps a mapping: asks for it, renews it at half of the lifetime granted (section 3.3) or at its own interval, asks again after
    /// every failure with a growing pause, and recreates it when the gateway has lost it, until
    /// [`unmap`](Self::unmap) or [`unmap_all`](Self::unmap_all).
    ///
    /// A mapping of the same protocol and internal port is asked for again, on the port it has if it is open, and kept from now on.
    ///
    /// # Errors
    /// As [`map`](Self::map).
    pub fn keep(&mut self, now: Instant, request: &MapRequest) -> Result<(), MapError> {
        self.want(now, request, Hold::Kept)
    }

    /// Deletes a mapping, whether this machine made it or not. The answer comes as [`Event::Ended`].
    ///
    /// A mapping with internal port 0 is forgotten and left to lapse ([`Ending::LeftToLapse`]), since its deletion would
    /// delete all mappings.
    ///
    /// # Errors
    /// [`MapError::TableFull`] if the machine does not hold the mapping, and has no slot free to pursue its deletion.
    pub fn unmap(&mut self, now: Instant, protocol: Protocol, internal_port: u16) -> Result<(), MapError> {
        let key = Key { protocol, internal_port };
        let is_unknown = self.slot(key).is_none();
        if is_unknown {
            self.push(key, now)?;
        }
        if let Some(slot) = self.slot_mut(key) {
            slot.is_unanswered |= is_unknown;
            slot.unmap(now, false);
        }
        self.drop_exchange(Ask::Map(key));
        self.make_way();
        self.attend(now);
        Ok(())
    }

    /// Deletes **all** mappings of `protocol` that the gateway has for this host, those of other programs too (section
    /// 3.4). The answer comes as [`Event::UnmappedAll`], and as [`Event::Ended`] for each mapping held here.
    ///
    /// Some gateways delete the other protocol's mappings as well: those that are kept here are renewed at once.
    pub fn unmap_all(&mut self, now: Instant, protocol: Protocol) {
        for slot in self.slots.iter_mut().filter(|slot| slot.key.protocol == protocol) {
            slot.unmap(now, true);
        }
        let doomed = self.in_flight.and_then(|exchange| exchange.ask.key());
        if doomed.is_some_and(|key| key.protocol == protocol) {
            self.in_flight = None;
        }
        *self.unmap_all_mut(protocol) = UnmapAll::Wanted;
        self.make_way();
        self.attend(now);
    }

    /// Deletes **all** mappings of both protocols that the gateway has for this host, those of other programs too, and makes anew
    /// what is kept here: for a host that has taken a new address, whose earlier holder may have left some (section 3.4).
    /// What is held once and open ends. The answers come as [`Event::UnmappedAll`].
    ///
    /// Each deletion is sent once, and its silence is no verdict: what is kept does not wait for it.
    pub fn clear(&mut self, now: Instant) {
        self.unmap_all = [UnmapAll::Clearing; 2];
        self.make_way();
        self.attend(now);
    }

    /// Renews a mapping now, or tries again now to make it. The answer comes as [`Event::Renewed`],
    /// [`Event::PortChanged`], [`Event::Mapped`], [`Event::Failed`] or [`Event::Ended`].
    ///
    /// `false` if the machine does not hold it, or is deleting it: then nothing happens.
    pub fn refresh(&mut self, now: Instant, protocol: Protocol, internal_port: u16) -> bool {
        let key = Key { protocol, internal_port };
        let Some(slot) = self.slot_mut(key).filter(|slot| slot.is_wanted()) else {
            return false;
        };
        slot.ask_now(now);
        self.attend(now);
        true
    }

    /// Asks for the external address (section 3.2). The answer comes as [`Event::ExternalAddress`].
    pub fn request_external_address(&mut self, now: Instant) {
        self.external.is_asked = true;
        self.attend(now);
    }

    /// There is not much time left: every deletion that is still to be answered is sent once more, one after the other, and
    /// given up if its answer does not come within the first wait of the schedule.
    pub fn hasten_deletions(&mut self, now: Instant) {
        for slot in &mut self.slots {
            slot.is_last_try = true;
        }
        for protocol in Protocol::ALL {
            let unmap_all = self.unmap_all_mut(protocol);
            if *unmap_all == UnmapAll::Wanted {
                *unmap_all = UnmapAll::LastTry;
            }
        }
        self.in_flight = None;
        self.attend(now);
    }

    /// Whether changes of the external address are to be told as [`Event::ExternalAddress`]: it is asked for now, after
    /// every announcement, and at the interval of the [`Config`].
    pub fn watch_external_address(&mut self, now: Instant, is_watched: bool) {
        let was_due = if self.external.is_watched { self.external.ask_at } else { now };
        self.external.is_watched = is_watched;
        self.external.ask_at = now.min(was_due);
        if is_watched {
            // The first answer is told, whatever was known.
            self.external.is_first = true;
            self.attend(now);
        }
    }

    /// Another gateway from now on. What is kept is asked for there; it stays open at the old gateway until its lease
    /// ends there, and so do mappings held once, which end here. [`Event::GatewayChanged`] says so. The same gateway again: as [`network_changed`](Self::network_changed).
    pub fn set_gateway(&mut self, now: Instant, gateway: SocketAddrV4) {
        if gateway != self.gateway {
            self.gateway = gateway;
            self.gateway_news = true;
            self.in_flight = None;
            // How soon what is announced is believed again was the old gateway's.
            self.round_at = Instant::ZERO;
            self.external.address = None;
            self.external.error = None;
            // What the old gateway said is no answer any more.
            self.external.is_asked |= self.external.news.take().is_some();
            for slot in &mut self.slots {
                slot.lost(now, LossCause::GatewayChanged);
                slot.is_unanswered = false;
                if !slot.is_wanted() {
                    slot.failed(Error::GatewayChanged);
                }
            }
            for unmap_all in &mut self.unmap_all {
                unmap_all.end(Err(Error::GatewayChanged));
            }
        }
        self.network_changed(now);
    }

    /// The link, the own address or the routing changed: whatever was learned about the gateway's silence and epoch is
    /// forgotten (section 3.1), all that is kept is renewed now, and the schedule of the request in flight begins anew.
    pub fn network_changed(&mut self, now: Instant) {
        self.is_epoch_known = false;
        self.silences = 0;
        self.quiet_until = Instant::ZERO;
        for slot in self.slots.iter_mut().filter(|slot| slot.is_kept()) {
            slot.ask_now(now);
        }
        // Before all that is due: whoever is told of a mapping is to know the address.
        self.external.ask_at = Instant::ZERO;
        if let Some(exchange) = &mut self.in_flight {
            exchange.hurry(now, &self.schedule);
        }
    }
}

/// Shared by commands, inputs and outputs.
impl<const N: usize> Client<N> {
    fn want(&mut self, now: Instant, request: &MapRequest, hold: Hold) -> Result<(), MapError> {
        if request.requested_lifetime() == 0 {
            return Err(MapError::ZeroLifetime);
        }
        if request.chosen_refresh_interval() == Some(0) {
            return Err(MapError::ZeroRefreshInterval);
        }
        let key = Key { protocol: request.protocol(), internal_port: request.internal_port() };
        if self.slot(key).is_none() {
            self.push(key, now)?;
        }
        let is_asked = self.in_flight.is_some_and(|exchange| exchange.ask == Ask::Map(key));
        if let Some(slot) = self.slot_mut(key) {
            slot.want(now, request, hold, is_asked);
        }
        self.drop_exchange(Ask::Unmap(key));
        self.attend(now);
        Ok(())
    }

    /// The caller wants something: a pause ends, and a long wait is cut to the first wait of the schedule.
    #[inline(never)] // many call it, and firmware has more time than flash
    fn attend(&mut self, now: Instant) {
        self.quiet_until = Instant::ZERO;
        if let Some(exchange) = &mut self.in_flight {
            exchange.hurry(now, &self.schedule);
        }
    }

    #[inline(never)]
    fn push(&mut self, key: Key, now: Instant) -> Result<(), MapError> {
        self.slots.push(Slot::new(key, now)).map_err(|_| MapError::TableFull { capacity: N })
    }

    #[inline(never)]
    fn slot(&self, key: Key) -> Option<&Slot> {
        self.slots.iter().find(|slot| slot.key == key)
    }

    #[inline(never)]
    fn slot_mut(&mut self, key: Key) -> Option<&mut Slot> {
        self.slots.iter_mut().find(|slot| slot.key == key)
    }

    fn unmap_all_of(&self, protocol: Protocol) -> UnmapAll {
        let [udp, tcp] = self.unmap_all;
        if protocol == Protocol::Udp { udp } else { tcp }
    }

    fn unmap_all_mut(&mut self, protocol: Protocol) -> &mut UnmapAll {
        let [udp, tcp] = &mut self.unmap_all;
        match protocol {
            Protocol::Udp => udp,
            Protocol::Tcp => tcp,
        }
    }

    /// How patiently this is asked for: a deletion that waited behind a silence is sent once (section 3.4), and a question
    /// that nobody waits for does not hold up renewals for long.
    fn schedule(&self, ask: Ask) -> Schedule {
        let is_last_try = match ask {
            Ask::Unmap(key) => self.slot(key).is_some_and(|slot| slot.is_last_try),
            Ask::UnmapAll(protocol) => {
                matches!(self.unmap_all_of(protocol), UnmapAll::LastTry | UnmapAll::Clearing)
            }
            Ask::ExternalAddress if !self.external.is_asked => return self.schedule.at_most(Schedule::QUICK),
            Ask::ExternalAddress | Ask::Map(_) => false,
        };
        if is_last_try { self.schedule.once() } else { self.schedule }
    }

    /// A deletion does not wait behind a request that finds no answer. That one is asked again later.
    #[inline(never)]
    fn make_way(&mut self) {
        let is_deletion = |ask| matches!(ask, Ask::Unmap(_) | Ask::UnmapAll(_));
        if self.in_flight.is_some_and(|exchange| exchange.is_waiting_long() && !is_deletion(exchange.ask)) {
            self.in_flight = None;
        }
    }

    /// Stops waiting for an answer that is not wanted any more.
    #[inline(never)]
    fn drop_exchange(&mut self, ask: Ask) {
        if self.in_flight.is_some_and(|exchange| exchange.ask == ask) {
            self.in_flight = None;
        }
    }
}

impl External {
    const fn new(interval: Duration) -> Self {
        Self {
            address: None,
            error: None,
            is_asked: false,
            is_watched: false,
            is_first: false,
            news: None,
            interval_ms: clamp(millis(interval)),
            ask_at: Instant::ZERO,
        }
    }

    /// What was learned; told if the caller waits for it, or watches and it is new.
    fn learn(&mut self, answer: Result<Ipv4Addr, Error>) {
        let is_new = match answer {
            Ok(address) => self.error.is_some() || self.address != Some(address),
            Err(error) => self.error != Some(error),
        };
        match answer {
            Ok(address) => (self.address, self.error) = (Some(address), None),
            Err(error) => self.error = Some(error),
        }
        if self.is_asked || (self.is_watched && (is_new || self.is_first)) {
            self.news = Some(answer);
        }
        self.is_asked = false;
        self.is_first = false;
    }
}

impl UnmapAll {
    fn is_wanted(self) -> bool {
        matches!(self, Self::Wanted | Self::LastTry | Self::Clearing)
    }

    fn end(&mut self, result: Result<(), Error>) {
        if self.is_wanted() {
            *self = Self::Done(result);
        }
    }
}

/// Milliseconds, a second of them at least.
const fn clamp(millis: u32) -> u32 {
    // `<=` would do as well: a second is a second.
    if millis < 1_000 { 1_000 } else { millis }
}

#[cfg(test)]
mod tests;
