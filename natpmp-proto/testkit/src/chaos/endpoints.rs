//! What is at both ends of the gateway: hosts with a client each, and a NAT that keeps a record.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use natpmp_proto::gateway::{NatFailure, NatMapping, NatRequest};
use natpmp_proto::{Event, Instant, MapRequest, Protocol};

use crate::Random;
use crate::model::witness::{Rules, Watched};
use crate::net::Punctuality;

/// The client of a host.
pub type Client = Watched<4>;

/// One host.
#[derive(Debug)]
pub struct Host {
    /// Where it is.
    pub address: SocketAddrV4,
    /// The machine, under the eyes of its witness.
    pub client: Client,
    /// What it keeps.
    pub wants: BTreeMap<(Protocol, u16), MapRequest>,
    /// The last events of its client.
    pub events: Vec<Event>,
    /// When it polls its client.
    pub punctuality: Punctuality,
    /// It is not polled and hears nothing.
    pub is_asleep: bool,
    /// When it is polled next, by the time of the network.
    pub(super) wake_at: Option<Instant>,
    /// By how much its clock is ahead of the network's time.
    ahead: Duration,
}

impl Host {
    pub(super) fn new(number: u16, seed: u64) -> Self {
        let [high, low] = (number + 512).to_be_bytes();
        let seed = seed.wrapping_mul(31).wrapping_add(number.into());
        Self {
            address: SocketAddrV4::new(Ipv4Addr::new(192, 168, high, low), 40_000),
            client: Watched::new(Rules::new(GATEWAY).seed(seed)),
            wants: BTreeMap::new(),
            events: Vec::new(),
            punctuality: Punctuality::Exact,
            is_asleep: false,
            wake_at: None,
            ahead: Duration::ZERO,
        }
    }

    /// What its clock says.
    #[must_use]
    pub fn clock(&self, now: Instant) -> Instant {
        now + self.ahead
    }

    /// The network's time of a moment on its clock.
    #[must_use]
    pub fn moment(&self, local: Instant) -> Instant {
        let ahead = u64::try_from(self.ahead.as_micros()).expect("a time of this run");
        Instant::from_micros(local.as_micros().saturating_sub(ahead))
    }

    pub(super) fn jump(&mut self, by: Duration) {
        self.ahead += by;
    }

    /// Polls its client until it is quiet; what is to be sent comes back.
    pub(super) fn drain(&mut self, now: Instant, random: &mut Random) -> Vec<Vec<u8>> {
        let local = self.clock(now);
        let drained = self.client.drain(local);
        let wake_at = drained.deadline.map(|at| self.punctuality.wake(local, at, random));
        self.wake_at = wake_at.map(|at| self.moment(at));
        if self.events.len() > MOST_EVENTS {
            self.events.drain(..MOST_EVENTS / 2);
        }
        self.events.extend(drained.events);
        let sent = drained.transmits.into_iter().map(|transmit| {
            assert_eq!(transmit.to, GATEWAY, "to somebody else than the gateway");
            transmit.payload.to_vec()
        });
        sent.collect()
    }
}

/// A NAT that keeps a record of what it has, and that is slow or fails when the test sets that.
#[derive(Debug, Default)]
pub struct Nat {
    /// Who is behind each port.
    pub held: BTreeMap<(Protocol, u16), SocketAddrV4>,
    /// The longest time it takes.
    pub delay: Duration,
    /// In percent.
    pub failures: u8,
    /// How many things it was asked and has not done.
    pub(super) pending: usize,
    /// Counts its reboots.
    pub(super) life: u64,
}

impl Nat {
    /// It begins anew.
    pub(super) fn forget(&mut self) {
        self.held.clear();
        (self.pending, self.life) = (0, self.life + 1);
    }

    pub(super) fn work(&mut self, request: &NatRequest, random: &mut Random) -> Result<(), NatFailure> {
        let NatMapping { protocol, internal, external_port } = *request.mapping();
        let id = (protocol, external_port);
        self.pending -= 1;
        if random.chance(self.failures) {
            let failure = if random.chance(50) { NatFailure::Network } else { NatFailure::Resources };
            if matches!(request, NatRequest::Install(_)) {
                self.held.remove(&id);
            }
            return Err(failure);
        }
        match request {
            NatRequest::Install(_) => {
                for other in Protocol::ALL {
                    let holder = self.held.get(&(other, external_port));
                    assert!(holder.is_none_or(|holder| holder.ip() == internal.ip()), "G09: it is another client's");
                }
                let before = self.held.insert(id, internal);
                assert!(before.is_none_or(|before| before == internal), "it is another mapping's");
            }
            NatRequest::Remove(_) => assert_eq!(self.held.remove(&id), Some(internal), "it does not have it"),
        }
        Ok(())
    }
}

/// Where the gateway is.
pub(super) const GATEWAY: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(192, 168, 0, 1), 5351);
const MOST_EVENTS: usize = 1_000;
