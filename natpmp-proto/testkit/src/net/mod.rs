//! A virtual network in virtual time: clients and gateways on one link, from one event to the next without waiting.
//!
//! The same seed gives the same run. A run that never becomes quiet fails, as does a client that does what its
//! [witness](crate::model::witness) does not allow.

mod host;
mod link;
mod run;

use std::net::{Ipv4Addr, SocketAddrV4};

use natpmp_proto::{Client, Discard, Event, Instant};

use crate::Random;
use crate::gateway::Gateway;
use crate::model::witness::{Rules, Watched};
use host::Host;

pub use host::{Punctuality, Sent, TimedEvent};
pub use link::Link;

/// The network with all that is on it.
#[derive(Debug)]
pub struct Sim<const N: usize = 8> {
    now: Instant,
    hosts: Vec<Host<N>>,
    gateways: Vec<(SocketAddrV4, Gateway)>,
    link: Link,
    random: Random,
    flights: Vec<Flight>,
    is_asleep: bool,
}

/// A datagram on its way.
#[derive(Clone, Debug)]
struct Flight {
    at: Instant,
    from: SocketAddrV4,
    to: Target,
    what: Cargo,
}

#[derive(Clone, Copy, Debug)]
enum Target {
    Gateway(usize),
    Host(usize),
}

#[derive(Clone, Debug)]
enum Cargo {
    Request(Vec<u8>),
    Answer(Vec<u8>),
    Announcement(Vec<u8>),
    Unreachable,
}

impl Sim {
    /// One client with room for 8 mappings, with the RFC's schedule, at one gateway, on a perfect link.
    #[must_use]
    pub fn new(gateway: Gateway) -> Self {
        Self::with_rules(gateway, |rules| rules, 1)
    }
}

impl<const N: usize> Sim<N> {
    /// Where the first gateway is.
    pub const GATEWAY: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(192, 168, 1, 1), 5351);

    /// One client at one gateway, on a perfect link.
    #[must_use]
    pub fn with_rules(gateway: Gateway, rule: impl FnOnce(Rules) -> Rules, seed: u64) -> Self {
        let mut sim = Self {
            now: Instant::from_secs(1),
            hosts: Vec::new(),
            gateways: vec![(Self::GATEWAY, gateway)],
            link: Link::perfect(),
            random: Random::new(seed),
            flights: Vec::new(),
            is_asleep: false,
        };
        sim.add_host(rule(Rules::new(Self::GATEWAY).seed(seed)));
        sim
    }

    /// Another client on the link; returns its number (the first is 0).
    pub fn add_host(&mut self, rules: Rules) -> usize {
        let number = self.hosts.len();
        let last = u8::try_from(number).expect("a small link") + 100;
        let address = SocketAddrV4::new(Ipv4Addr::new(192, 168, 1, last), 40_000);
        self.hosts.push(Host::new(address, rules));
        number
    }

    /// Another gateway on the link.
    pub fn add_gateway(&mut self, address: SocketAddrV4, gateway: Gateway) {
        self.gateways.push((address, gateway));
    }

    /// The time.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.now
    }

    /// Changes what the network does to datagrams.
    pub fn set_link(&mut self, link: Link) {
        self.link = link;
    }

    /// Changes when the hosts poll.
    pub fn set_punctuality(&mut self, punctuality: Punctuality) {
        self.hosts.iter_mut().for_each(|host| host.punctuality = punctuality);
    }

    /// Whether announcements are handed to the client as such, or mixed with answers.
    pub fn separate_announcements(&mut self, apart: bool) {
        self.hosts.iter_mut().for_each(|host| host.has_announcement_socket = apart);
    }

    /// The first gateway.
    pub fn gateway(&mut self) -> &mut Gateway {
        &mut self.gateways[0].1
    }

    /// Looks at the first gateway or changes it, and lets it send what is due.
    pub fn with_gateway<T>(&mut self, work: impl FnOnce(&mut Gateway, Instant) -> T) -> T {
        let result = work(&mut self.gateways[0].1, self.now);
        self.settle();
        result
    }

    /// A gateway by its number.
    pub fn gateway_of(&mut self, number: usize) -> &mut Gateway {
        &mut self.gateways[number].1
    }

    /// The first client.
    #[must_use]
    pub fn client(&self) -> &Client<N> {
        &self.hosts[0].client
    }

    /// A client by its number.
    #[must_use]
    pub fn client_of(&self, host: usize) -> &Client<N> {
        &self.hosts[host].client
    }

    /// Gives the first client a command, and lets it do what is due.
    pub fn command<T>(&mut self, work: impl FnOnce(&mut Watched<N>, Instant) -> T) -> T {
        self.command_to(0, work)
    }

    /// Gives a client a command, and lets it do what is due.
    pub fn command_to<T>(&mut self, host: usize, work: impl FnOnce(&mut Watched<N>, Instant) -> T) -> T {
        let result = work(&mut self.hosts[host].client, self.now);
        self.drain(host);
        self.settle();
        result
    }

    /// What the first client sent since [`forget`](Self::forget).
    #[must_use]
    pub fn sent(&self) -> &[Sent] {
        self.sent_by(0)
    }

    /// What a client sent since [`forget`](Self::forget).
    #[must_use]
    pub fn sent_by(&self, host: usize) -> &[Sent] {
        &self.hosts[host].sent
    }

    /// When the first client sent since [`forget`](Self::forget), in milliseconds after `start`.
    #[must_use]
    pub fn send_times(&self, start: Instant) -> Vec<u64> {
        self.sent()
            .iter()
            .map(|sent| sent.at.saturating_since(start).as_millis())
            .map(|millis| u64::try_from(millis).expect("a time of this run"))
            .collect()
    }

    /// The events of the first client, and when, since [`forget`](Self::forget).
    #[must_use]
    pub fn timed_events(&self) -> &[TimedEvent] {
        &self.hosts[0].events
    }

    /// The events of the first client since [`forget`](Self::forget).
    #[must_use]
    pub fn events(&self) -> Vec<Event> {
        self.timed_events().iter().map(|timed| timed.event).collect()
    }

    /// What the first client dropped since [`forget`](Self::forget).
    #[must_use]
    pub fn discarded(&self) -> &[Discard] {
        &self.hosts[0].discarded
    }

    /// Begins the record anew: of the clients, and of what the gateways received.
    pub fn forget(&mut self) {
        for host in &mut self.hosts {
            host.sent.clear();
            host.events.clear();
            host.discarded.clear();
            host.unread.clear();
        }
        self.gateways.iter_mut().for_each(|(_, gateway)| gateway.forget_received());
    }

    /// A datagram for the first client's request socket, from anybody, at once.
    pub fn inject(&mut self, from: SocketAddrV4, bytes: &[u8]) {
        let now = self.now;
        self.hosts[0].receive(now, from, bytes, false);
        self.drain(0);
        self.settle();
    }

    /// A datagram for the first client's announcement socket, from anybody, at once.
    pub fn inject_announcement(&mut self, from: SocketAddrV4, bytes: &[u8]) {
        let now = self.now;
        self.hosts[0].receive(now, from, bytes, true);
        self.drain(0);
        self.settle();
    }

    /// The system tells the first client of port unreachable, whoever caused it.
    pub fn inject_unreachable(&mut self) {
        let now = self.now;
        self.hosts[0].client.handle_unreachable(now);
        self.drain(0);
        self.settle();
    }

    /// Polls all clients, due or not.
    pub fn poke(&mut self) {
        (0..self.hosts.len()).for_each(|host| self.drain(host));
        self.settle();
    }
}
