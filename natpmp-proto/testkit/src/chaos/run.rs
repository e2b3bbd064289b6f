//! Time on the network: from one thing that happens to the next.

use std::cmp::Reverse;
use std::net::SocketAddrV4;
use std::time::Duration;

use natpmp_proto::gateway::Output;
use natpmp_proto::{Discard, Instant, SocketId, Transmit, TransmitKind};

use super::endpoints::GATEWAY;
use super::network::{Happening, Net, Scheduled};

impl<const N: usize> Net<N> {
    /// Everybody does what is due now.
    pub fn settle(&mut self) {
        for host in 0..self.hosts.len() {
            self.drain(host);
        }
        self.drive_gateway();
        self.run_for(Duration::ZERO);
    }

    /// Lets time pass.
    pub fn run_for(&mut self, duration: Duration) {
        let end = self.now + duration;
        let mut steps_here = 0;
        while let Some(next) = self.next().filter(|&next| next <= end) {
            steps_here = if next > self.now { 0 } else { steps_here + 1 };
            assert!(steps_here < MOST_STEPS, "it never becomes quiet at {:?}", self.now);
            self.now = self.now.max(next);
            self.step();
        }
        self.statistics.pass(duration, self.hosts.len());
        self.now = end;
    }

    /// One host does what is due now, and with it all that follows at once.
    pub(super) fn run_host(&mut self, host: usize) {
        self.drain(host);
        self.run_for(Duration::ZERO);
    }

    pub(super) fn put(&mut self, at: Instant, what: Happening) {
        self.statistics.things += 1;
        self.queue.push(Reverse(Scheduled { at, number: self.statistics.things, what }));
    }

    fn next(&self) -> Option<Instant> {
        let queued = self.queue.peek().map(|Reverse(due)| due.at);
        let gateway = self.gateway.poll_timeout().filter(|_| self.is_up());
        queued.into_iter().chain(gateway).min()
    }

    fn is_up(&self) -> bool {
        self.now >= self.down_until
    }

    fn step(&mut self) {
        let now = self.now;
        if self.queue.peek().is_some_and(|Reverse(due)| due.at <= now) {
            let Some(Reverse(due)) = self.queue.pop() else { return };
            self.perform(due.what);
        }
        if self.gateway.poll_timeout().is_some_and(|at| at <= now) {
            self.drive_gateway();
        }
    }

    fn perform(&mut self, what: Happening) {
        let now = self.now;
        match what {
            Happening::Wake(host) => {
                if self.hosts[host].wake_at.is_some_and(|at| at <= now) {
                    self.drain(host);
                }
            }
            Happening::Request(from, bytes) => self.serve(from, &bytes),
            Happening::Answer(host, ..) | Happening::Announcement(host, ..) | Happening::Unreachable(host)
                if self.hosts[host].is_asleep => {}
            Happening::Answer(host, from, bytes) => {
                let local = self.hosts[host].clock(now);
                let _ = self.hosts[host].client.handle_datagram(local, from, &bytes);
                self.drain(host);
            }
            Happening::Announcement(host, from, bytes) => {
                let local = self.hosts[host].clock(now);
                let _ = self.hosts[host].client.handle_announcement(local, from, &bytes);
                self.drain(host);
            }
            Happening::Unreachable(host) => {
                let local = self.hosts[host].clock(now);
                self.hosts[host].client.handle_unreachable(local);
                self.drain(host);
            }
            Happening::Nat(life, request) if life == self.nat.life => {
                let outcome = self.nat.work(&request, &mut self.random);
                self.gateway.handle_nat(now, &request, outcome);
                self.drive_gateway();
            }
            Happening::Nat(..) => {}
        }
    }

    /// A datagram came to the gateway.
    fn serve(&mut self, from: SocketAddrV4, bytes: &[u8]) {
        if !self.is_up() {
            return;
        }
        self.statistics.requests += 1;
        *self.unanswered.entry(from).or_default() += 1;
        match self.gateway.handle_datagram(self.now, socket_of(from), from, bytes) {
            Ok(()) => {}
            Err(Discard::SwitchedOff) => {
                if let Some(&host) = self.numbers.get(from.ip()) {
                    self.fly(&[], |_| Happening::Unreachable(host));
                }
            }
            Err(discard) => assert_ne!(discard, Discard::AnswerNotPolled),
        }
        self.poll_gateway(bytes);
    }

    fn transmit(&mut self, transmit: &Transmit, request: &[u8]) {
        match transmit.kind {
            TransmitKind::Answer { socket } | TransmitKind::Echo { socket } => {
                assert_eq!(socket, socket_of(transmit.to), "an answer goes back the way its request came");
                let mut buffer = vec![0; request.len().max(16)];
                // G24
                let bytes = transmit.write(request, &mut buffer).expect("16 bytes or the request's size");
                self.answer(transmit.to, bytes);
            }
            TransmitKind::Announcement => {
                self.statistics.announcements += 1;
                for host in 0..self.hosts.len() {
                    self.fly(&transmit.payload, |bytes| Happening::Announcement(host, GATEWAY, bytes));
                }
            }
            TransmitKind::Request { .. } => panic!("a gateway asks nobody"),
        }
    }

    /// An answer goes out: to somebody who asked, and once for each time.
    fn answer(&mut self, to: SocketAddrV4, bytes: &[u8]) {
        self.statistics.answers += 1;
        let unanswered = self.unanswered.get_mut(&to).filter(|unanswered| **unanswered > 0);
        *unanswered.expect("an answer to nobody, or one too many") -= 1;
        if let Some(&host) = self.numbers.get(to.ip()) {
            self.fly(bytes, |bytes| Happening::Answer(host, GATEWAY, bytes));
        }
    }

    pub(super) fn drive_gateway(&mut self) {
        self.poll_gateway(&[]);
    }

    /// Polls the gateway until it waits; an answer to this request may be among what it sends.
    fn poll_gateway(&mut self, request: &[u8]) {
        if !self.is_up() {
            return;
        }
        let now = self.now;
        for _ in 0..MOST_STEPS {
            match self.gateway.poll(now) {
                Output::Transmit(transmit) => self.transmit(&transmit, request),
                Output::Nat(request) => {
                    self.nat.pending += 1;
                    assert!(self.nat.pending <= N, "the NAT is asked without end");
                    let delay = self.random.between(Duration::ZERO, self.nat.delay);
                    self.put(now + delay, Happening::Nat(self.nat.life, request));
                }
                Output::Event(_) => {}
                Output::Wait(deadline) => {
                    assert!(deadline.is_none_or(|at| at > now), "a deadline that is due makes progress");
                    return;
                }
            }
        }
        panic!("the gateway has something to do without end");
    }

    fn drain(&mut self, number: usize) {
        let host = &mut self.hosts[number];
        if host.is_asleep {
            return;
        }
        let before = host.wake_at;
        let sent = host.drain(self.now, &mut self.random);
        let (from, wake_at) = (host.address, host.wake_at);
        if let Some(at) = wake_at.filter(|_| wake_at != before) {
            self.put(at, Happening::Wake(number));
        }
        for bytes in sent {
            self.statistics.sends += 1;
            self.fly(&bytes, |bytes| Happening::Request(from, bytes));
        }
    }

    fn fly(&mut self, bytes: &[u8], what: impl Fn(Vec<u8>) -> Happening) {
        for _ in 0..=u8::from(self.random.chance(self.link.duplication)) {
            if self.random.chance(self.link.loss) {
                continue;
            }
            let mut bytes = bytes.to_vec();
            if self.random.chance(self.link.corruption) {
                self.corrupt(&mut bytes);
            }
            let delay = self.random.between(self.link.shortest_delay, self.link.longest_delay);
            self.put(self.now + delay, what(bytes));
        }
    }

    fn corrupt(&mut self, bytes: &mut Vec<u8>) {
        let place = usize::try_from(self.random.below(bytes.len().max(1) as u64)).expect("a place in it");
        if self.flips && self.random.chance(50) {
            if let Some(byte) = bytes.get_mut(place) {
                *byte ^= 1 << self.random.below(8);
            }
        } else {
            bytes.truncate(place);
        }
    }
}

/// Every client asks by a socket of its own.
const fn socket_of(client: SocketAddrV4) -> SocketId {
    let [.., high, low] = client.ip().octets();
    SocketId(u16::from_be_bytes([high, low]) ^ client.port())
}

const MOST_STEPS: u32 = 200_000;
