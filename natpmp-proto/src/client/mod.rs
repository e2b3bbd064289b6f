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
mod deletion;
mod event;
mod external;
mod input;
mod output;
mod slot;
mod status;

use core::net::SocketAddrV4;

use crate::epoch::Epoch;
use crate::mapping::MapRequest;
use crate::random::Random;
use crate::retry::{Backoff, Schedule};
use crate::time::Instant;
use crate::wire::Protocol;

use ask::{Ask, Exchange, Key};
use deletion::UnmapAll;
use external::{External, Inquiry};
use slot::{Hold, Slot};

pub use config::Config;
pub use event::{Discard, Ending, Error, Event, Heard, LossCause, MapError};
pub use output::{Output, Transmit};
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
    /// When the last round of renewals was, or the next one will be, that lost state or a PCP announcement caused; zero before the first.
    round_at: Instant,
    /// Of the last answer, if there was one since the gateway or the network changed.
    epoch: Epoch,
    slots: heapless::Vec<Slot, N>,
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

    /// Another gateway from now on. What is kept is asked for there; it stays open at the old gateway until its lease
    /// ends there, and so do mappings held once, which end here. [`Event::GatewayChanged`] says so. The same gateway again: as [`network_changed`](Self::network_changed).
    pub fn set_gateway(&mut self, now: Instant, gateway: SocketAddrV4) {
        if gateway != self.gateway {
            self.gateway = gateway;
            self.gateway_news = true;
            self.in_flight = None;
            // How soon what is announced is believed again was the old gateway's.
            self.round_at = Instant::ZERO;
            self.external.forget();
            for slot in &mut self.slots {
                slot.lost(now, LossCause::GatewayChanged);
                slot.is_unanswered = false;
                if !slot.is_wanted() {
                    slot.failed(Error::GatewayChanged);
                }
            }
            self.end_unmap_all(Error::GatewayChanged);
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
            exchange.restart_on_hint(now, &self.schedule);
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
            exchange.restart_on_hint(now, &self.schedule);
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

    /// How patiently this is asked for: a deletion that waited behind a silence is sent once (section 3.4), and a question
    /// that nobody waits for does not hold up renewals for long.
    fn schedule(&self, ask: Ask) -> Schedule {
        match ask {
            Ask::ExternalAddress if self.external.inquiry != Inquiry::Request => self.schedule.at_most(Schedule::QUICK),
            _ if self.is_sent_once(ask) => self.schedule.once(),
            _ => self.schedule,
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

#[cfg(test)]
mod tests;
