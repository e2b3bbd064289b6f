//! One gateway with a NAT behind it, some clients, and a bad network between them, in virtual time.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use natpmp_proto::client::MappingState;
use natpmp_proto::gateway::{Discard, Gateway, GatewayConfig, NatMapping, Reply};
use natpmp_proto::{Client, Config, Event, Instant, MapRequest, Protocol};

use super::nat::Nat;
use crate::net::Link;
use crate::random::Random;

const GATEWAY: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(192, 168, 1, 1), 5351);
const ADDRESS: Ipv4Addr = Ipv4Addr::new(11, 22, 33, 44);

pub struct Net<const N: usize> {
    pub now: Instant,
    pub gateway: Box<Gateway<N>>,
    config: GatewayConfig,
    /// Until then it does not even refuse.
    down_until: Instant,
    pub hosts: Vec<Host>,
    pub nat: Nat,
    pub link: Link,
    /// Bytes are changed as well as cut off, as if there were no checksum.
    pub flips: bool,
    random: Random,
    flights: Vec<Flight>,
}

pub struct Host {
    address: SocketAddrV4,
    pub client: Client<4>,
    /// What it keeps.
    pub wants: BTreeMap<(Protocol, u16), MapRequest>,
    pub events: Vec<Event>,
    wake_at: Option<Instant>,
    pub is_asleep: bool,
}

struct Flight {
    at: Instant,
    to: Target,
    bytes: Vec<u8>,
}

#[derive(Clone, Copy)]
enum Target {
    Gateway(usize),
    Host(usize),
    Announcement(usize),
    Unreachable(usize),
}

impl<const N: usize> Net<N> {
    pub fn new(seed: u64, clients: u8, config: GatewayConfig) -> Self {
        println!("seed {seed}");
        let mut net = Self {
            now: Instant::from_secs(1_000),
            gateway: Box::new(Gateway::new(config)),
            config,
            down_until: Instant::ZERO,
            hosts: (0..clients).map(|number| Host::new(number, seed)).collect(),
            nat: Nat::default(),
            link: Link::perfect(),
            flips: false,
            random: Random::new(seed),
            flights: Vec::new(),
        };
        net.gateway.start(net.now, 0);
        net.gateway.set_external_address(net.now, Some(ADDRESS));
        net.settle();
        net
    }

    pub fn keep(&mut self, host: usize, request: MapRequest) {
        let now = self.now;
        let host = &mut self.hosts[host];
        if host.client.keep(now, &request).is_ok() {
            host.wants.insert((request.protocol(), request.internal_port()), request);
        }
        self.settle();
    }

    pub fn unmap(&mut self, host: usize, protocol: Protocol, port: u16) {
        let now = self.now;
        let host = &mut self.hosts[host];
        if host.wants.remove(&(protocol, port)).is_some() {
            host.client.unmap(now, protocol, port).expect("it has a slot");
        }
        self.settle();
    }

    pub fn unmap_all(&mut self, host: usize, protocol: Protocol) {
        let now = self.now;
        let host = &mut self.hosts[host];
        host.wants.retain(|(other, _), _| *other != protocol);
        host.client.unmap_all(now, protocol);
        self.settle();
    }

    /// Its client is gone without a word.
    pub fn vanish(&mut self, host: usize) {
        let seed = self.random.bits();
        self.hosts[host] = Host { is_asleep: true, ..Host::new(u8::try_from(host).unwrap(), seed) };
    }

    pub fn sleep(&mut self, host: usize, is_asleep: bool) {
        self.hosts[host].is_asleep = is_asleep;
        self.drain(host);
        self.settle();
    }

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
        self.nat.held.clear();
        self.nat.due.clear();
        self.down_until = self.now + pause;
        self.run_for(pause);
        let away = u32::try_from(self.now.saturating_since(off_at).as_secs()).unwrap();
        self.gateway.start(self.now, if with_state { epoch + away } else { 0 });
        self.gateway.set_external_address(self.now, address);
        for open in kept.iter().filter(|_| with_state) {
            let Some(expires) = open.expires else { continue };
            let left = u32::try_from(expires.saturating_since(self.now).as_secs()).unwrap();
            assert_eq!(self.gateway.restore(&open.mapping, left), left > 0);
        }
        self.settle();
    }

    pub fn settle(&mut self) {
        for host in 0..self.hosts.len() {
            self.drain(host);
        }
        self.drive_gateway();
        self.run_for(Duration::ZERO);
    }

    pub fn run_for(&mut self, duration: Duration) {
        let end = self.now + duration;
        let mut steps_here = 0;
        while let Some(next) = self.next().filter(|&next| next <= end) {
            steps_here = if next > self.now { 0 } else { steps_here + 1 };
            assert!(steps_here < 5_000, "it never becomes quiet at {:?}", self.now);
            self.now = self.now.max(next);
            self.step();
        }
        self.now = end;
    }

    fn next(&self) -> Option<Instant> {
        let flights = self.flights.iter().map(|flight| flight.at);
        let nat = self.nat.due.iter().map(|(at, _)| *at);
        let hosts = self.hosts.iter().filter(|host| !host.is_asleep).filter_map(|host| host.wake_at);
        let gateway = self.gateway.poll_timeout().filter(|_| self.is_up());
        flights.chain(nat).chain(hosts).chain(gateway).min()
    }

    fn is_up(&self) -> bool {
        self.now >= self.down_until
    }

    fn step(&mut self) {
        let now = self.now;
        let (mut arrived, left): (Vec<_>, Vec<_>) = self.flights.drain(..).partition(|flight| flight.at <= now);
        self.flights = left;
        arrived.sort_by_key(|flight| flight.at);
        for flight in arrived {
            self.deliver(&flight);
        }
        let (done, left): (Vec<_>, Vec<_>) = self.nat.due.drain(..).partition(|(at, _)| *at <= now);
        self.nat.due = left;
        for (_, request) in done {
            let outcome = self.nat.work(&request, &mut self.random);
            if let Some(transmit) = self.gateway.handle_nat(now, &request, outcome) {
                self.send_to_host(transmit.to, &transmit.payload);
            }
        }
        self.drive_gateway();
        for host in 0..self.hosts.len() {
            if self.hosts[host].wake_at.is_some_and(|at| at <= now) {
                self.drain(host);
            }
        }
    }

    fn deliver(&mut self, flight: &Flight) {
        let now = self.now;
        match flight.to {
            Target::Gateway(number) => self.deliver_to_gateway(number, &flight.bytes),
            Target::Host(number) | Target::Announcement(number) | Target::Unreachable(number) => {
                let host = &mut self.hosts[number];
                if host.is_asleep {
                    return;
                }
                let _ = match flight.to {
                    Target::Announcement(_) => host.client.handle_announcement(now, GATEWAY, &flight.bytes).is_ok(),
                    Target::Host(_) => host.client.handle_datagram(now, GATEWAY, &flight.bytes).is_ok(),
                    _ => {
                        host.client.handle_unreachable(now);
                        true
                    }
                };
                self.drain(number);
            }
        }
    }

    fn deliver_to_gateway(&mut self, number: usize, bytes: &[u8]) {
        if !self.is_up() {
            return;
        }
        let from = self.hosts[number].address;
        let mut buffer = vec![0; bytes.len().max(16)];
        let answer = match self.gateway.handle_datagram(self.now, from, bytes) {
            Ok(Reply::Now(answer)) => answer.write(&mut buffer).expect("enough").to_vec(),
            Ok(Reply::AfterNat) => return,
            Err(Discard::SwitchedOff) => return self.fly(&[], Target::Unreachable(number)),
            Err(_) => return,
        };
        assert!(answer.len() <= bytes.len().max(16), "G24");
        self.send_to_host(from, &answer);
    }

    fn drive_gateway(&mut self) {
        if !self.is_up() {
            return;
        }
        let now = self.now;
        self.gateway.handle_timeout(now);
        while let Some(transmit) = self.gateway.poll_transmit(now) {
            for host in 0..self.hosts.len() {
                self.fly(&transmit.payload, Target::Announcement(host));
            }
        }
        while let Some(request) = self.gateway.poll_nat() {
            assert!(self.nat.due.len() <= N, "the NAT is asked without end");
            let delay = self.random.between(Duration::ZERO, self.nat.delay);
            self.nat.due.push((now + delay, request));
        }
        while self.gateway.poll_event().is_some() {}
        assert!(self.gateway.poll_timeout().is_none_or(|at| at > now), "a deadline that is due makes progress");
    }

    fn drain(&mut self, number: usize) {
        let now = self.now;
        if self.hosts[number].is_asleep {
            return;
        }
        for _ in 0..200 {
            match self.hosts[number].client.poll(now) {
                natpmp_proto::Output::Transmit(transmit) => self.fly(&transmit.payload, Target::Gateway(number)),
                natpmp_proto::Output::Event(event) => self.hosts[number].events.push(event),
                natpmp_proto::Output::Wait(at) => return self.hosts[number].wake_at = at,
            }
        }
        panic!("the client never becomes quiet");
    }

    fn send_to_host(&mut self, to: SocketAddrV4, bytes: &[u8]) {
        if let Some(number) = self.hosts.iter().position(|host| host.address == to) {
            self.fly(bytes, Target::Host(number));
        } else {
            assert!(self.flips, "an answer to nobody");
        }
    }

    fn fly(&mut self, bytes: &[u8], to: Target) {
        for _ in 0..=u8::from(self.random.chance(self.link.duplication)) {
            if self.random.chance(self.link.loss) {
                continue;
            }
            let mut bytes = bytes.to_vec();
            if self.random.chance(self.link.corruption) {
                self.corrupt(&mut bytes);
            }
            let delay = self.random.between(self.link.shortest_delay, self.link.longest_delay);
            self.flights.push(Flight { at: self.now + delay, to, bytes });
        }
    }

    fn corrupt(&mut self, bytes: &mut Vec<u8>) {
        let place = usize::try_from(self.random.below(bytes.len().max(1) as u64)).unwrap();
        if self.flips && self.random.chance(50) {
            if let Some(byte) = bytes.get_mut(place) {
                *byte ^= 1 << self.random.below(8);
            }
        } else {
            bytes.truncate(place);
        }
    }

    /// What `host` keeps is open, and the client, the table and the NAT agree on it; the external port, if so.
    pub fn agreed(&self, host: usize, protocol: Protocol, port: u16) -> Result<u16, String> {
        let host = &self.hosts[host];
        let state = host.client.mapping(protocol, port).map(|status| status.state);
        let Some(MappingState::Open { mapping, expires, .. }) = state else {
            return Err(format!("the client has it as {state:?}"));
        };
        let internal = SocketAddrV4::new(*host.address.ip(), port);
        let wanted = NatMapping { protocol, internal, external_port: mapping.external_port };
        let Some(open) = self.gateway.mappings().find(|open| open.mapping == wanted) else {
            return Err(format!("the gateway has no {wanted:?}"));
        };
        if self.nat.held.get(&(protocol, mapping.external_port)) != Some(&internal) {
            return Err(format!("the NAT has no {wanted:?}"));
        }
        // An answer is on its way for a second at most: by so much the client may believe it longer.
        match open.expires {
            Some(end) if end + Duration::from_secs(1) < expires => Err(format!("cut short: {end:?}, {expires:?}")),
            _ => Ok(mapping.external_port),
        }
    }

    /// All that is kept is open and agreed on.
    pub fn converges(&mut self, limit: Duration) {
        let end = self.now + limit;
        loop {
            let trouble: Vec<_> = (0..self.hosts.len())
                .filter(|&host| !self.hosts[host].is_asleep)
                .flat_map(|host| self.hosts[host].wants.keys().map(move |&(protocol, port)| (host, protocol, port)))
                .filter_map(|(host, protocol, port)| {
                    self.agreed(host, protocol, port).err().map(|why| (host, protocol, port, why))
                })
                .collect();
            if trouble.is_empty() {
                return;
            }
            assert!(self.now < end, "not agreed on after {limit:?}: {trouble:?}");
            self.run_for(Duration::from_millis(500));
        }
    }

    /// After all leases there is nothing open but what is kept.
    pub fn nothing_else_is_open(&mut self, lease: Duration) {
        self.run_for(lease + Duration::from_secs(30));
        self.converges(Duration::from_secs(300));
        let kept: usize = self.hosts.iter().map(|host| host.wants.len()).sum();
        assert_eq!(self.nat.held.len(), kept, "open, and nobody wants it: {:?}", self.nat.held);
        assert_eq!(self.gateway.len(), kept);
    }
}

impl Host {
    fn new(number: u8, seed: u64) -> Self {
        let config = Config::for_gateway(GATEWAY).seed(seed.wrapping_mul(31).wrapping_add(number.into()));
        Self {
            address: SocketAddrV4::new(Ipv4Addr::new(192, 168, 1, 100 + number), 40_000),
            client: Client::new(config),
            wants: BTreeMap::new(),
            events: Vec::new(),
            wake_at: None,
            is_asleep: false,
        }
    }
}
