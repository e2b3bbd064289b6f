//! A gateway for tests: written from the RFC, with the faults met in practice as options. It does no IO.
//!
//! Datagrams go in by [`Gateway::handle`], and come out of [`Gateway::poll_transmit`]; [`Gateway::poll_timeout`] says when
//! to ask for more. [`Served`] runs one on a real socket.

mod answer;
mod faults;
mod served;
mod table;

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use natpmp_proto::wire::{DecodeError, Request, Response};
use natpmp_proto::{Instant, Protocol};

use table::Table;

pub use faults::{Announces, FailureForm, Faults, Grant, Reach, VersionError, Vpn};
pub use served::Served;
pub use table::Lease;

/// The machine.
#[derive(Clone, Debug)]
pub struct Gateway {
    /// Its faults, which may change at any time.
    pub faults: Faults,
    external: Option<Ipv4Addr>,
    epoch_base: u32,
    epoch_from: Instant,
    table: Table,
    series: Option<Series>,
    outbox: Vec<Outgoing>,
    received: Vec<Received>,
    counted: u32,
}

/// A datagram on its way out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// Not before.
    pub at: Instant,
    /// Where to.
    pub to: Destination,
    /// The packet.
    pub bytes: Vec<u8>,
}

/// Where a gateway sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination {
    /// An answer, to the one who asked.
    Host(SocketAddrV4),
    /// An announcement, to all hosts of the link.
    AllHosts,
}

/// A datagram that was received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// When.
    pub at: Instant,
    /// From whom.
    pub from: SocketAddrV4,
    /// The packet.
    pub bytes: Vec<u8>,
    /// What it means.
    pub request: Result<Request, DecodeError>,
}

impl Gateway {
    /// The external address of a new gateway.
    pub const EXTERNAL: Ipv4Addr = Ipv4Addr::new(11, 22, 33, 44);

    /// A gateway that behaves, and came up 1000 s before the origin of time.
    #[must_use]
    pub fn new() -> Self {
        Self::with(Faults::default())
    }

    /// A gateway with faults, that came up 1000 s before the origin of time.
    #[must_use]
    pub fn with(faults: Faults) -> Self {
        Self {
            faults,
            external: Some(Self::EXTERNAL),
            epoch_base: 1_000,
            epoch_from: Instant::ZERO,
            table: Table::default(),
            series: None,
            outbox: Vec::new(),
            received: Vec::new(),
            counted: 0,
        }
    }

    /// A datagram came in. Nothing is heard while the gateway is [`Reach::Closed`]; the network tells the sender.
    pub fn handle(&mut self, now: Instant, from: SocketAddrV4, bytes: &[u8]) {
        self.table.expire(now);
        self.received.push(Received { at: now, from, bytes: bytes.to_vec(), request: Request::decode(bytes) });
        if self.faults.reach != Reach::Open {
            return;
        }
        self.counted = self.counted.wrapping_add(1);
        if self.counted % self.faults.answers_every.max(1) != 0 {
            return;
        }
        let Some(answer) = self.answer(now, *from.ip(), bytes) else { return };
        for _ in 0..=self.faults.repeats {
            let at = now + self.faults.delay;
            self.outbox.push(Outgoing { at, to: Destination::Host(from), bytes: answer.clone() });
        }
    }

    /// The next datagram to be sent, if one is due.
    #[must_use]
    pub fn poll_transmit(&mut self, now: Instant) -> Option<Outgoing> {
        if let Some(index) = self.outbox.iter().position(|outgoing| outgoing.at <= now) {
            return Some(self.outbox.remove(index));
        }
        if !self.series.as_mut()?.send(now) || self.faults.reach != Reach::Open {
            return None;
        }
        let bytes = self.announcement(now);
        Some(Outgoing { at: now, to: Destination::AllHosts, bytes })
    }

    /// When there is something to send next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let series = self.series.and_then(|series| series.due());
        self.outbox.iter().map(|outgoing| outgoing.at).chain(series).min()
    }

    /// Stops and starts: every mapping is lost, and the epoch starts again, unless its faults hide this.
    pub fn restart(&mut self, now: Instant) {
        self.table.clear();
        self.outbox.clear();
        if !self.faults.epoch_is_uptime {
            (self.epoch_base, self.epoch_from) = (0, now);
        }
        self.announce(now);
    }

    /// Another external address, or none.
    pub fn change_address(&mut self, now: Instant, address: Option<Ipv4Addr>) {
        self.external = address;
        self.announce(now);
    }

    /// Announces itself, as its faults have it.
    pub fn announce(&mut self, now: Instant) {
        self.series = None;
        match self.faults.announces {
            Announces::Nothing => {}
            Announces::NatPmp => self.series = Some(Series::new(now)),
            Announces::Pcp => {
                self.outbox.push(Outgoing { at: now, to: Destination::AllHosts, bytes: Self::PCP_ANNOUNCE.to_vec() });
            }
        }
    }

    /// The ANNOUNCE of PCP that some gateways send at their start.
    pub const PCP_ANNOUNCE: [u8; 24] = {
        let mut bytes = [0; 24];
        bytes[0] = 2;
        bytes[1] = 0x80;
        bytes
    };

    /// An announcement of NAT-PMP, as it would be sent at `now`.
    #[must_use]
    pub fn announcement(&self, now: Instant) -> Vec<u8> {
        let address = self.external.unwrap_or(Ipv4Addr::UNSPECIFIED);
        Response::ExternalAddress { epoch: self.epoch(now), address }.encode().to_vec()
    }

    /// Loses its mappings without a sign.
    pub fn drop_mappings(&mut self) {
        self.table.clear();
    }

    /// Seconds since the table was last empty by accident, or so it says.
    #[must_use]
    pub fn epoch(&self, now: Instant) -> u32 {
        let elapsed = now.saturating_since(self.epoch_from).as_secs();
        self.epoch_base.wrapping_add(u32::try_from(elapsed & u64::from(u32::MAX)).unwrap_or(0))
    }

    /// Sets the epoch as it is at `now`.
    pub fn set_epoch(&mut self, now: Instant, seconds: u32) {
        (self.epoch_base, self.epoch_from) = (seconds, now);
    }

    /// The mappings that are alive at `now`.
    #[must_use]
    pub fn leases(&self, now: Instant) -> Vec<Lease> {
        self.table.leases().iter().copied().filter(|lease| now < lease.expires).collect()
    }

    /// The mapping of an internal port that is alive at `now`, whoever asked for it.
    #[must_use]
    pub fn lease(&self, now: Instant, protocol: Protocol, internal_port: u16) -> Option<Lease> {
        self.leases(now).into_iter().find(|lease| (lease.protocol, lease.internal_port) == (protocol, internal_port))
    }

    /// All that was received, the earliest first.
    #[must_use]
    pub fn received(&self) -> &[Received] {
        &self.received
    }

    /// Forgets what was received.
    pub fn forget_received(&mut self) {
        self.received.clear();
    }
}

impl Default for Gateway {
    fn default() -> Self {
        Self::new()
    }
}

/// When announcements are due (section 3.2.1): ten, the first gap 250 ms, each next one doubled.
#[derive(Clone, Copy, Debug)]
struct Series {
    next: Instant,
    sent: u32,
}

impl Series {
    fn new(now: Instant) -> Self {
        Self { next: now, sent: 0 }
    }

    fn due(&self) -> Option<Instant> {
        (self.sent < ANNOUNCEMENTS).then_some(self.next)
    }

    /// Counts one as sent, if one is due.
    fn send(&mut self, now: Instant) -> bool {
        let is_due = self.due().is_some_and(|due| due <= now);
        if is_due {
            self.next = now + FIRST_GAP * 2u32.pow(self.sent);
            self.sent += 1;
        }
        is_due
    }
}

const ANNOUNCEMENTS: u32 = 10;
const FIRST_GAP: Duration = Duration::from_millis(250);
