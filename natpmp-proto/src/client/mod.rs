//! The client's side of NAT-PMP: a machine that brings what the gateway has in line with what is wanted.
//!
//! # Rules
//! - One request is in flight at a time, and the others wait their turn (section 3.1). The [`Schedule`] says when it is sent
//!   again. A packet that the machine drops shortens no wait and extends none. A command, or an announcement that comes during
//!   a long wait, begins the schedule anew, once. A deletion goes before a request that finds no answer.
//! - A slot holds one wanted mapping, known by its protocol and internal port. A gateway that lost its state is asked
//!   for all of them again.
//! - An answer is matched by what it says. The gateway answers a deletion with lifetime 0 and a request with another one, so
//!   that the late answer to the one does not pass for an answer to the other.
//! - Only an answer to a request changes what the machine believes. Any host of the link can forge an announcement, so it is
//!   no more than a reason to ask, at most once a second, and a PCP announcement a reason to renew, at most once a minute.
//! - Silence, port unreachable and a network that is down concern the gateway, and everything that waits for the gateway shares
//!   that verdict. After a growing pause the machine tries one request, whose answer releases the rest. It sends each deletion
//!   once before the deletion shares the verdict. A refusal concerns its mapping only, and so does the silence after a question
//!   that nobody waits for.
//!
//! # Deadlines
//! While a request is in flight, the machine waits for the end of its wait. Otherwise it waits for the earliest thing to ask, but not
//! before the end of the gateway's pause, which deletions and the check of an announcement skip. At any time it waits for the
//! end of each lease, and for the moment when a deletion has become pointless. In the sources each variant of a state names
//! its deadline.

mod commands;
mod deletion;
mod event;
mod exchange;
mod external;
mod input;
mod output;
mod slot;

use core::net::{Ipv4Addr, SocketAddrV4};
use core::time::Duration;

use crate::epoch::Epoch;
use crate::random::Random;
use crate::retry::{Backoff, Schedule};
use crate::time::Instant;
use crate::wire::{GATEWAY_PORT, Protocol};

use deletion::UnmapAll;
use exchange::{Ask, Exchange, Key};
use external::{External, Inquiry};
use slot::Slot;

pub use event::{Ending, Event, LossCause, MapError, MappingState, MappingStatus, Received, RequestError};
pub use output::Output;

/// The client machine, for up to `N` mappings. It does no IO and asks no clock: see the [crate's front page](crate) for the loop that runs it.
///
/// Where the compiler is to fill in the default of 8 mappings, name the type: `let client: Client = Client::new(config);`.
#[derive(Clone, Debug)]
#[repr(C)] // what is used most has the shortest ways to it
pub struct Client<const N: usize = 8> {
    /// Deadline: `Exchange::deadline`.
    in_flight: Option<Exchange>,
    gateway: SocketAddrV4,
    /// How often the gateway could not be asked anything in a row.
    silences: u8,
    gateway_report: GatewayReport,
    external: External,
    /// The end of the pause after silence, port unreachable or a network that was down, before which nothing but deletions and
    /// the check of an announcement is sent.
    quiet_until: Instant,
    unmap_all: [UnmapAll; 2],
    random: Random,
    schedule: Schedule,
    backoff: Backoff,
    /// When the last round of renewals was, or the next one will be, that lost state or a PCP announcement caused. The deadline
    /// itself is `Slot::due` of each mapping.
    round_at: Option<Instant>,
    /// The gateway's epoch by its last answer, if there was one since the gateway or the network changed.
    epoch: Option<Epoch>,
    slots: heapless::Vec<Slot, N>,
}

/// What is to be reported of the gateway itself. No variant has a deadline: the next poll reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum GatewayReport {
    Nothing,
    /// Another gateway was set.
    Changed,
    /// The gateway lost its state.
    Restarted,
    ChangedAndRestarted,
}

impl<const N: usize> Client<N> {
    /// A client that wants nothing yet. It may be a `const` or a `static`'s initial value; then give it a seed of its own at start,
    /// since the one in its [`Config`] is the same in every device that runs the image:
    ///
    /// ```
    /// use std::sync::Mutex;
    /// use natpmp_proto::{Client, Config};
    ///
    /// static CLIENT: Mutex<Client> = Mutex::new(Client::new(Config::new(core::net::Ipv4Addr::new(192, 168, 1, 1))));
    ///
    /// # let mac = [0x02, 0, 0, 0, 0, 0x01];
    /// // From the hardware's randomness where there is some, or else from what differs between devices, such as the MAC address.
    /// let [a, b, c, d, e, f] = mac;
    /// let seed = u64::from_be_bytes([0, 0, a, b, c, d, e, f]);
    /// CLIENT.lock().expect("nobody panicked").set_seed(seed);
    /// ```
    #[must_use]
    pub const fn new(config: Config) -> Self {
        Self {
            gateway: config.gateway,
            schedule: config.schedule,
            backoff: config.backoff,
            random: Random::new(config.seed),
            slots: heapless::Vec::new(),
            in_flight: None,
            epoch: None,
            quiet_until: Instant::ZERO,
            silences: 0,
            external: External::new(config.external_address_interval),
            unmap_all: [UnmapAll::Idle; 2],
            round_at: None,
            gateway_report: GatewayReport::Nothing,
        }
    }
}

/// Getters.
impl<const N: usize> Client<N> {
    /// The gateway's address and port.
    #[must_use]
    pub const fn gateway(&self) -> SocketAddrV4 {
        self.gateway
    }

    /// A mapping by what it is known by; `None` if the machine does not hold it.
    #[must_use]
    pub fn mapping(&self, protocol: Protocol, internal_port: u16) -> Option<MappingStatus> {
        let key = Key { protocol, internal_port };
        self.slot(key).map(|slot| slot.status(self.quiet_until))
    }

    /// All mappings that the machine holds, in no particular order.
    pub fn mappings(&self) -> impl Iterator<Item = MappingStatus> {
        self.slots.iter().map(|slot| slot.status(self.quiet_until))
    }

    /// How many mappings it can hold: `N`.
    #[must_use]
    pub const fn capacity(&self) -> usize {
        N
    }
}

/// How a client behaves. Everything but the gateway has a default.
///
/// ```
/// use core::net::Ipv4Addr;
/// use natpmp_proto::{Config, Schedule};
///
/// let config = Config::new(Ipv4Addr::new(192, 168, 1, 1)).schedule(Schedule::QUICK).seed(0x5eed);
/// assert_eq!(config.gateway().port(), 5351);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    gateway: SocketAddrV4,
    schedule: Schedule,
    backoff: Backoff,
    external_address_interval: Duration,
    seed: u64,
}

impl Config {
    /// For the gateway at `address`, port 5351.
    #[must_use]
    pub const fn new(address: Ipv4Addr) -> Self {
        Self::for_gateway(SocketAddrV4::new(address, GATEWAY_PORT))
    }

    /// For the gateway at `gateway`, whatever its port.
    #[must_use]
    pub const fn for_gateway(gateway: SocketAddrV4) -> Self {
        Self {
            gateway,
            schedule: Schedule::RFC,
            backoff: Backoff::DEFAULT,
            external_address_interval: Duration::from_secs(300),
            seed: 0,
        }
    }

    /// How patiently a request is pursued; [`Schedule::RFC`] by default.
    #[must_use]
    pub const fn schedule(self, schedule: Schedule) -> Self {
        Self { schedule, ..self }
    }

    /// The pause before what failed is tried again; from 2 s to 64 s by default.
    #[must_use]
    pub const fn backoff(self, backoff: Backoff) -> Self {
        Self { backoff, ..self }
    }

    /// How often the external address is asked for while changes of it are to be reported
    /// ([`watch_external_address`](Client::watch_external_address)); 300 s by default, at least 1 s.
    /// Gateways announce such changes, but not all of them, and announcements get lost.
    #[must_use]
    pub const fn external_address_interval(self, interval: Duration) -> Self {
        Self { external_address_interval: interval, ..self }
    }

    /// Where the randomness comes from that spreads clients in time (section 3.7): give each client another seed. Where the
    /// configuration is a constant of the program, [`Client::set_seed`] does it at start.
    #[must_use]
    pub const fn seed(self, seed: u64) -> Self {
        Self { seed, ..self }
    }

    /// The gateway's address and port.
    #[must_use]
    pub const fn gateway(&self) -> SocketAddrV4 {
        self.gateway
    }
}

/// What commands, inputs and outputs share.
impl<const N: usize> Client<N> {
    /// Takes a slot for a mapping that has none.
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

    /// How patiently to ask for this: a deletion that waited behind a silence is sent once (section 3.4), and a question
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

impl GatewayReport {
    /// Adds that another gateway was set.
    fn add_change(&mut self) {
        let is_alone = matches!(self, Self::Nothing | Self::Changed);
        *self = if is_alone { Self::Changed } else { Self::ChangedAndRestarted };
    }

    /// Adds that the gateway lost its state.
    fn add_restart(&mut self) {
        let is_alone = matches!(self, Self::Nothing | Self::Restarted);
        *self = if is_alone { Self::Restarted } else { Self::ChangedAndRestarted };
    }
}

#[cfg(test)]
mod tests;
