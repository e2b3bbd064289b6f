//! Anything that can happen, for days.

use std::time::Duration;

use natpmp_proto::gateway::Config;
use natpmp_proto::{MapRequest, Protocol};

use super::{Net, Statistics};
use crate::Random;
use crate::net::{Link, Punctuality};

/// A run, but for what its seed decides.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    /// Decides everything.
    pub seed: u64,
    /// How long it goes on, in virtual days.
    pub days: u32,
    /// How many hosts there are at most.
    pub most_hosts: u16,
}

/// Lets anything happen on a network, with peace once or twice a day and at the end; then everybody leaves.
///
/// # Panics
/// If anything happens that must not.
#[must_use]
pub fn run(setup: Setup) -> Statistics {
    let mut random = Random::new(setup.seed);
    // Every fourth network has more to map than its gateway has room for.
    if random.chance(25) {
        FaultPlan::<64>::new(setup, random).run()
    } else {
        FaultPlan::<2_048>::new(setup, random).run()
    }
}

struct FaultPlan<const N: usize> {
    net: Net<N>,
    random: Random,
    days: u32,
    is_attacked: bool,
    /// Somebody left or forged requests since the last peace: what nobody wants may hold places in the table until its lease ends.
    has_leftovers: bool,
}

impl<const N: usize> FaultPlan<N> {
    fn new(setup: Setup, mut random: Random) -> Self {
        let least = setup.most_hosts.div_ceil(4).max(2);
        let hosts = least + random.below(u64::from(setup.most_hosts.saturating_sub(least)) + 1) as u16;
        let config = Config::new().seed(random.bits()).longest_lifetime(LONGEST_LEASE).per_client(SHARE);
        let net = Net::new(random.bits(), hosts, config);
        Self { net, random, days: setup.days, is_attacked: false, has_leftovers: false }
    }

    fn run(mut self) -> Statistics {
        for host in 0..self.net.hosts.len() {
            self.wants_something(host);
        }
        let end = self.net.now + Duration::from_secs(86_400) * self.days;
        while self.net.now < end {
            for _ in 0..12 + self.random.below(24) {
                self.net.statistics.faults += 1;
                self.something_happens();
                let longest = [Duration::from_secs(60), Duration::from_secs(900), Duration::from_secs(7_200)];
                let longest = longest[self.random.below(3) as usize];
                let gap = self.random.between(Duration::ZERO, longest);
                self.time_passes(gap);
            }
            self.peace();
        }
        self.everybody_leaves();
        self.net.statistics
    }

    fn time_passes(&mut self, duration: Duration) {
        let end = self.net.now + duration;
        while self.is_attacked && self.net.now < end {
            for _ in 0..1 + self.random.below(8) {
                self.net.forge();
            }
            let gap = self.random.between(Duration::from_millis(1), Duration::from_secs(20));
            self.net.run_for(gap.min(end.saturating_since(self.net.now)));
            self.net.holds(SHARE.into());
        }
        self.net.run_for(end.saturating_since(self.net.now));
        self.net.holds(SHARE.into());
    }

    fn something_happens(&mut self) {
        let host = self.random.below(self.net.hosts.len() as u64) as usize;
        let protocol = Protocol::ALL[self.random.below(2) as usize];
        let short = Duration::from_secs(self.random.below(600));
        match self.random.below(30) {
            0..=3 => self.net.link = self.link(),
            4 => self.net.link = Link::DEAD,
            5 | 6 => self.net.reboot(short, false),
            7 => self.net.reboot(short, true),
            8 | 9 => {
                let address = (!self.random.chance(30)).then_some(self.random.below(4) as u8);
                self.net.set_address(address);
            }
            10 => self.net.nat.failures = [0, 20, 100][self.random.below(3) as usize],
            11 => self.net.nat.delay = Duration::from_millis(self.random.below(3_000)),
            12 => self.net.gateway.switch(self.net.now, self.random.chance(50)),
            13 => self.net.gateway.allow_mapping(self.random.chance(50)),
            14 => self.net.gateway.clear(self.net.now),
            15 => {
                let epoch = self.random.bits() as u32 >> self.random.below(32);
                self.net.set_epoch(epoch);
            }
            16 | 17 => self.some_hosts(|net, host, _| net.sleep(host, true)),
            18 | 19 => self.some_hosts(|net, host, random| {
                net.sleep(host, false);
                if random.chance(50) {
                    net.command(host, |client, now| client.network_changed(now));
                }
            }),
            20 => self.some_hosts(|net, host, random| {
                net.jump(host, random.between(Duration::ZERO, Duration::from_secs(86_400)));
            }),
            21 => self.some_hosts(|net, host, random| {
                net.hosts[host].punctuality = if random.chance(50) { Punctuality::Drawn } else { Punctuality::Exact };
            }),
            22 => {
                self.has_leftovers = true;
                self.net.vanish(host);
                self.net.sleep(host, false);
                self.wants_something(host);
            }
            23 => {
                self.has_leftovers = true;
                self.net.unmap_all(host, protocol);
            }
            24 => {
                self.has_leftovers = true;
                let wanted = self.net.hosts[host].wants.keys().next().copied();
                if let Some((protocol, port)) = wanted {
                    self.net.unmap(host, protocol, port);
                }
            }
            25 => self.wants_something(host),
            26 => {
                let which = self.random.below(4);
                self.net.command(host, |client, now| match which {
                    0 => client.clear(now),
                    1 => client.hasten_deletions(now),
                    2 => client.watch_external_address(now, true),
                    _ => client.handle_network_down(now),
                });
            }
            27 => {
                let port = 4_000 + self.random.below(4) as u16;
                self.net.command(host, |client, now| client.refresh(now, protocol, port));
            }
            _ => self.is_attacked = !self.is_attacked,
        }
        self.has_leftovers |= self.is_attacked;
    }

    /// All faults end: what is wanted is back in time, and agreed on.
    fn peace(&mut self) {
        (self.net.link, self.net.nat.failures, self.net.nat.delay) = (Link::perfect(), 0, Duration::ZERO);
        self.is_attacked = false;
        self.net.gateway.switch(self.net.now, true);
        self.net.gateway.allow_mapping(true);
        self.net.set_address(Some(99));
        for host in 0..self.net.hosts.len() {
            self.net.hosts[host].punctuality = Punctuality::Exact;
            self.net.sleep(host, false);
        }
        if self.is_crowded() {
            return self.peace_of_a_crowd();
        }
        self.net.converges(self.bound());
        self.has_leftovers = false;
        if self.random.chance(50) {
            self.half_an_hour_of_peace();
        }
    }

    /// Nobody sends but to renew, and to ask for what was announced.
    fn half_an_hour_of_peace(&mut self) {
        let wanted = self.net.hosts.iter().flat_map(|host| host.wants.values());
        let renewals: u64 = wanted.map(|wish| 2 * 1_800 / u64::from(wish.requested_lifetime()) + 2).sum();
        let questions = 20 * self.net.hosts.len() as u64;
        let before = self.net.statistics.sends;
        self.net.run_for(Duration::from_secs(1_800));
        let sent = self.net.statistics.sends - before;
        assert!(sent <= renewals + questions, "a storm: {sent} requests where {renewals} renewals are due");
        self.net.converges(Duration::ZERO);
    }

    /// There is not room for all: the table is full, and all is well when some have left.
    fn peace_of_a_crowd(&mut self) {
        self.net.run_for(self.bound());
        assert_eq!(self.net.gateway.mappings().count(), N, "there is room, and somebody waits");
        self.has_leftovers = true;
        let mut host = self.net.hosts.len();
        while self.is_crowded() {
            host -= 1;
            self.leaves(host);
        }
        self.net.converges(self.bound());
        self.has_leftovers = false;
    }

    fn is_crowded(&self) -> bool {
        self.net.hosts.iter().map(|host| host.wants.len()).sum::<usize>() > N
    }

    /// A loss that nobody sees is found at half of the lease; then there may be a schedule and a pause to wait for. Before, there may be
    /// leftovers to wait for.
    fn bound(&self) -> Duration {
        let leftovers = if self.has_leftovers { LONGEST_LEASE } else { 0 };
        Duration::from_secs((leftovers + LONGEST_LEASE / 2 + 300).into())
    }

    fn everybody_leaves(&mut self) {
        for host in 0..self.net.hosts.len() {
            self.leaves(host);
        }
        self.net.run_for(Duration::from_secs(u64::from(LONGEST_LEASE) + 300));
        assert!(self.net.gateway.is_empty(), "a mapping leaked: {:?}", self.net.gateway.mappings().next());
        assert!(self.net.nat.held.is_empty(), "the NAT has it still: {:?}", self.net.nat.held);
        let waiting = self.net.hosts.iter().find(|host| !host.is_asleep && host.client.poll_timeout().is_some());
        assert!(waiting.is_none_or(|host| host.client.external_address().is_some()), "{waiting:?} waits for something");
    }

    /// With a goodbye, or without.
    fn leaves(&mut self, host: usize) {
        let wanted: Vec<_> = self.net.hosts[host].wants.keys().copied().collect();
        match self.random.below(3) {
            0 => self.net.vanish(host),
            1 => wanted.into_iter().for_each(|(protocol, port)| self.net.unmap(host, protocol, port)),
            _ => Protocol::ALL.into_iter().for_each(|protocol| self.net.unmap_all(host, protocol)),
        }
    }

    fn wants_something(&mut self, host: usize) {
        for _ in 0..1 + self.random.below(3) {
            let protocol = Protocol::ALL[self.random.below(2) as usize];
            let port = 4_000 + self.random.below(4) as u16;
            let lifetime = 120 + self.random.below(u64::from(LONGEST_LEASE - 120)) as u32;
            let suggested = [0, port, 5_000 + self.random.below(100) as u16][self.random.below(3) as usize];
            self.net.keep(host, MapRequest::new(protocol, port).external_port(suggested).lifetime(lifetime));
        }
        if self.random.chance(20) {
            self.net.command(host, |client, now| client.watch_external_address(now, true));
        }
    }

    /// From one host to all.
    fn some_hosts(&mut self, what: impl Fn(&mut Net<N>, usize, &mut Random)) {
        let percent = [1, 10, 100][self.random.below(3) as usize];
        for host in 0..self.net.hosts.len() {
            if self.random.chance(percent) {
                what(&mut self.net, host, &mut self.random);
            }
        }
    }

    /// Up to 90 % are lost.
    fn link(&mut self) -> Link {
        Link {
            loss: self.random.below(91) as u8,
            duplication: self.random.below(31) as u8,
            corruption: self.random.below(21) as u8,
            shortest_delay: Duration::from_millis(self.random.below(50)),
            longest_delay: Duration::from_millis(50 + self.random.below(2_000)),
        }
    }
}

/// In seconds; nobody asks for more.
const LONGEST_LEASE: u32 = 3_600;
/// How much one client may have.
const SHARE: u16 = 8;
