//! Time on the virtual network: from one thing that happens to the next.

use std::net::SocketAddrV4;
use std::time::Duration;

use natpmp_proto::Instant;

use super::{Cargo, Flight, Sim, Target, TimedEvent};
use crate::gateway::{Destination, Reach};

impl<const N: usize> Sim<N> {
    /// Lets time pass.
    pub fn run_for(&mut self, duration: Duration) {
        self.run_until(self.now + duration);
    }

    /// Lets time pass until `end`.
    pub fn run_until(&mut self, end: Instant) {
        let mut busy = Busy::default();
        while self.step(end) {
            busy.check(self.now);
        }
        self.now = self.now.max(end);
    }

    /// The next event of the first client that was not read yet, waiting for `limit` at most.
    pub fn next_event(&mut self, limit: Duration) -> Option<TimedEvent> {
        let end = self.now + limit;
        let mut busy = Busy::default();
        loop {
            if let Some(event) = self.hosts[0].unread.pop_front() {
                return Some(event);
            }
            if !self.step(end) {
                self.now = self.now.max(end);
                return None;
            }
            busy.check(self.now);
        }
    }

    /// The hosts sleep: their time jumps, without polls, and what is sent to them is lost. The gateways go on.
    pub fn sleep(&mut self, duration: Duration) {
        self.is_asleep = true;
        self.run_for(duration);
        self.is_asleep = false;
        self.poke();
    }

    /// Does what is due now, without time passing.
    pub(super) fn settle(&mut self) {
        self.run_until(self.now);
    }

    /// Goes to the next thing that happens until `end`; `false` if there is none.
    fn step(&mut self, end: Instant) -> bool {
        let flights = self.flights.iter().map(|flight| flight.at);
        let gateways = self.gateways.iter().filter_map(|(_, gateway)| gateway.poll_timeout());
        let hosts = self.hosts.iter().filter_map(|host| host.wake_at).filter(|_| !self.is_asleep);
        let Some(next) = flights.chain(gateways).chain(hosts).min().filter(|&next| next <= end) else {
            return false;
        };
        self.now = self.now.max(next);
        let arrived: Vec<Flight> = self.flights.extract_if_due(self.now);
        for flight in arrived {
            self.deliver(flight);
        }
        for number in 0..self.gateways.len() {
            self.send_from_gateway(number);
        }
        for host in 0..self.hosts.len() {
            if !self.is_asleep && self.hosts[host].wake_at.is_some_and(|at| at <= self.now) {
                self.drain(host);
            }
        }
        true
    }

    fn deliver(&mut self, flight: Flight) {
        let now = self.now;
        match flight.to {
            Target::Gateway(number) => self.deliver_to_gateway(number, &flight),
            Target::Host(_) if self.is_asleep => {}
            Target::Host(number) => {
                let host = &mut self.hosts[number];
                match flight.what {
                    Cargo::Answer(bytes) | Cargo::Request(bytes) => host.receive(now, flight.from, &bytes, false),
                    Cargo::Announcement(bytes) => host.receive(now, flight.from, &bytes, true),
                    Cargo::Unreachable => host.client.handle_unreachable(now),
                }
                self.drain(number);
            }
        }
    }

    fn deliver_to_gateway(&mut self, number: usize, flight: &Flight) {
        let (address, gateway) = &mut self.gateways[number];
        let Cargo::Request(bytes) = &flight.what else { return };
        gateway.handle(self.now, flight.from, bytes);
        if gateway.faults.reach == Reach::Closed {
            let host = self.hosts.iter().position(|host| host.address == flight.from);
            let (from, to) = (*address, Target::Host(host.expect("hosts do not go away")));
            self.fly(from, to, &[], |_| Cargo::Unreachable);
        }
    }

    fn send_from_gateway(&mut self, number: usize) {
        while let Some(outgoing) = self.gateways[number].1.poll_transmit(self.now) {
            let from = self.gateways[number].0;
            for host in 0..self.hosts.len() {
                match outgoing.to {
                    Destination::Host(to) if self.hosts[host].address == to => {
                        self.fly(from, Target::Host(host), &outgoing.bytes, Cargo::Answer);
                    }
                    Destination::Host(_) => {}
                    Destination::AllHosts => {
                        self.fly(from, Target::Host(host), &outgoing.bytes, Cargo::Announcement);
                    }
                }
            }
        }
    }

    fn fly(&mut self, from: SocketAddrV4, to: Target, bytes: &[u8], pack: impl Fn(Vec<u8>) -> Cargo) {
        for (delay, bytes) in self.link.carry(&mut self.random, bytes) {
            self.flights.push(Flight { at: self.now + delay, from, to, what: pack(bytes) });
        }
    }

    pub(super) fn drain(&mut self, host: usize) {
        let from = self.hosts[host].address;
        for (to, bytes) in self.hosts[host].drain(self.now, &mut self.random) {
            // What goes to an address where nobody is vanishes.
            if let Some(number) = self.gateways.iter().position(|&(address, _)| address == to) {
                self.fly(from, Target::Gateway(number), &bytes, Cargo::Request);
            }
        }
    }
}

/// Takes out what is due, in the order of time and, at the same time, of sending.
trait ExtractDue {
    fn extract_if_due(&mut self, now: Instant) -> Vec<Flight>;
}

impl ExtractDue for Vec<Flight> {
    fn extract_if_due(&mut self, now: Instant) -> Vec<Flight> {
        let (mut due, rest): (Vec<Flight>, Vec<Flight>) = self.drain(..).partition(|flight| flight.at <= now);
        *self = rest;
        due.sort_by_key(|flight| flight.at);
        due
    }
}

/// Counts what happens at one moment: too much means that it will never end.
#[derive(Default)]
struct Busy {
    moment: Instant,
    steps: u32,
}

impl Busy {
    fn check(&mut self, now: Instant) {
        self.steps = if now == self.moment { self.steps + 1 } else { 0 };
        self.moment = now;
        assert!(self.steps < MOST_STEPS, "the network never became quiet at {now:?}");
    }
}

const MOST_STEPS: u32 = 10_000;
