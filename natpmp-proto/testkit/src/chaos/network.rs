//! One gateway with a NAT behind it, clients, and a bad network between them, in virtual time.

use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeMap, BinaryHeap};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use natpmp_proto::gateway::{Config, Gateway, NatRequest};
use natpmp_proto::{Instant, MapRequest, Protocol};

use super::endpoints::{Client, Host, Nat};
use super::statistics::Statistics;
use crate::Random;
use crate::net::Link;

/// The network with all that is on it; `N` is the size of the gateway's table.
///
/// It panics where anything does what it must not: a [witness](crate::model::witness) watches each client, the NAT keeps a record,
/// the gateway answers nobody who did not ask, and nothing larger than it may.
#[derive(Debug)]
pub struct Net<const N: usize> {
    /// The time.
    pub now: Instant,
    /// The gateway.
    pub gateway: Box<Gateway<N>>,
    /// The clients' hosts.
    pub hosts: Vec<Host>,
    /// What is behind the gateway.
    pub nat: Nat,
    /// What the network does to datagrams.
    pub link: Link,
    /// Bytes are changed as well as cut off, as if there were no checksum.
    pub flips: bool,
    /// What happened.
    pub statistics: Statistics,
    pub(super) config: Config,
    /// Until then the gateway does not even refuse.
    pub(super) down_until: Instant,
    pub(super) random: Random,
    pub(super) queue: BinaryHeap<Reverse<Scheduled>>,
    pub(super) numbers: BTreeMap<Ipv4Addr, usize>,
    /// How many requests came from each address that were not answered.
    pub(super) unanswered: BTreeMap<SocketAddrV4, u64>,
}

impl<const N: usize> Net<N> {
    /// So many hosts, with clients that want nothing yet, on a perfect link. The seed decides all that is random.
    #[must_use]
    pub fn new(seed: u64, hosts: u16, config: Config) -> Self {
        let hosts: Vec<Host> = (0..hosts).map(|number| Host::new(number, seed)).collect();
        let mut net = Self {
            now: Instant::from_secs(1_000),
            gateway: Box::new(Gateway::new(config)),
            numbers: hosts.iter().enumerate().map(|(number, host)| (*host.address.ip(), number)).collect(),
            hosts,
            nat: Nat::default(),
            link: Link::perfect(),
            flips: false,
            statistics: Statistics::default(),
            config,
            down_until: Instant::ZERO,
            random: Random::new(seed),
            queue: BinaryHeap::new(),
            unanswered: BTreeMap::new(),
        };
        net.gateway.start(net.now, 0);
        net.gateway.set_external_address(net.now, Some(ADDRESS));
        net.settle();
        net
    }

    /// A host keeps a mapping from now on.
    pub fn keep(&mut self, host: usize, request: MapRequest) {
        let host_now = self.hosts[host].clock(self.now);
        let kept = self.hosts[host].client.keep(host_now, &request);
        if kept.is_ok() {
            self.hosts[host].wants.insert((request.protocol(), request.internal_port()), request);
        }
        self.run_host(host);
    }

    /// A host does not want a mapping any more.
    pub fn unmap(&mut self, host: usize, protocol: Protocol, port: u16) {
        let now = self.hosts[host].clock(self.now);
        let host_ = &mut self.hosts[host];
        if host_.wants.remove(&(protocol, port)).is_some() {
            host_.client.unmap(now, protocol, port).expect("it has a slot");
        }
        self.run_host(host);
    }

    /// A host deletes all that it has of a protocol.
    pub fn unmap_all(&mut self, host: usize, protocol: Protocol) {
        self.hosts[host].wants.retain(|(other, _), _| *other != protocol);
        self.command(host, |client, now| client.unmap_all(now, protocol));
    }

    /// Gives a client any other command.
    pub fn command<T>(&mut self, host: usize, work: impl FnOnce(&mut Client, Instant) -> T) -> T {
        let now = self.hosts[host].clock(self.now);
        let result = work(&mut self.hosts[host].client, now);
        self.run_host(host);
        result
    }

    /// A host is gone without a word. It may come back, as one that wants nothing.
    pub fn vanish(&mut self, host: usize) {
        let seed = self.random.bits();
        let number = u16::try_from(host).expect("there are no more");
        self.hosts[host] = Host::new(number, seed);
        self.hosts[host].is_asleep = true;
    }

    /// A host sleeps: it is not polled, and hears nothing.
    pub fn sleep(&mut self, host: usize, is_asleep: bool) {
        self.hosts[host].is_asleep = is_asleep;
        self.run_host(host);
    }

    /// The clock of a host jumps forward.
    pub fn jump(&mut self, host: usize, by: Duration) {
        self.hosts[host].jump(by);
        self.run_host(host);
    }

    /// The external address is 11.22.33.x from now on, or there is none.
    pub fn set_address(&mut self, last: Option<u8>) {
        let address = last.map(|last| Ipv4Addr::new(11, 22, 33, last));
        self.gateway.set_external_address(self.now, address);
        self.settle();
    }

    /// The gateway and its NAT begin anew after `pause`, with what was in the table or without.
    pub fn reboot(&mut self, pause: Duration, with_state: bool) {
        let kept: Vec<_> = self.gateway.mappings().collect();
        let (address, epoch, off_at) = (self.gateway.external_address(), self.gateway.epoch(self.now), self.now);
        *self.gateway = Gateway::new(self.config);
        self.nat.forget();
        self.unanswered.clear();
        self.down_until = self.now + pause;
        self.run_for(pause);
        let away = u32::try_from(self.now.saturating_since(off_at).as_secs()).expect("a time of this run");
        self.gateway.start(self.now, if with_state { epoch + away } else { 0 });
        self.gateway.set_external_address(self.now, address);
        for open in kept.iter().filter(|_| with_state) {
            let Some(expires) = open.expires else { continue };
            let left = u32::try_from(expires.saturating_since(self.now).as_secs()).expect("a lease");
            assert_eq!(self.gateway.restore(&open.mapping, left), left > 0);
        }
        self.settle();
    }

    /// The gateway tells another epoch than it should, though it lost nothing.
    pub fn set_epoch(&mut self, epoch: u32) {
        self.gateway.start(self.now, epoch);
        self.settle();
    }
}

/// What is to happen at a moment.
#[derive(Debug)]
pub(super) struct Scheduled {
    pub(super) at: Instant,
    /// What was put in first happens first.
    pub(super) number: u64,
    pub(super) what: Happening,
}

/// Something that happens to the gateway, a host or the NAT.
#[derive(Debug)]
pub(super) enum Happening {
    /// A datagram comes to the gateway, from this address.
    Request(SocketAddrV4, Vec<u8>),
    /// A datagram comes to a host's socket for requests, from this address.
    Answer(usize, SocketAddrV4, Vec<u8>),
    /// A datagram comes to a host's socket for announcements, from this address.
    Announcement(usize, SocketAddrV4, Vec<u8>),
    /// Port unreachable comes to a host.
    Unreachable(usize),
    /// A host is to be polled.
    Wake(usize),
    /// The NAT of this life has done what it was asked.
    Nat(u64, NatRequest),
}

impl PartialEq for Scheduled {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl Eq for Scheduled {}

impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Scheduled {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

const ADDRESS: Ipv4Addr = Ipv4Addr::new(11, 22, 33, 44);
