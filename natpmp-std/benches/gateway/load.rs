//! Requests, so many under way at a time, and what came of them.

use std::collections::HashSet;
use std::io::{IoSlice, IoSliceMut};
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use natpmp_proto::Protocol;
use natpmp_proto::wire::{Encoded, Request};
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrIn, recvmmsg, sendmmsg, setsockopt, sockopt};

use super::process;

/// A client that asks one server.
pub(crate) struct Load {
    socket: UdpSocket,
    server: u32,
    /// How many requests are to be under way.
    wanted: usize,
    /// How many are, as far as none was lost.
    under_way: usize,
    sent: MultiHeaders<SockaddrIn>,
    received: MultiHeaders<SockaddrIn>,
}

/// What a server did.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rate {
    /// Answers a second.
    pub(crate) by_clock: f64,
    /// Answers a second of its time on the processor.
    pub(crate) by_processor: f64,
}

/// How long it was until the answer, for the fastest half, 99 of a hundred, and 999 of a thousand.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Latency(pub(crate) [Duration; 3]);

/// The `number`-th mapping: UDP and TCP in turns on one port.
pub(crate) fn mapping(number: usize) -> Encoded {
    let port = FIRST_PORT + (number / 2) as u16;
    let protocol = Protocol::ALL[number % 2];
    Request::Map { protocol, internal_port: port, suggested_external_port: port, lifetime: 7_200 }.encode()
}

/// The deletion of what this one asked for.
pub(crate) fn deletion(mapping: Encoded) -> Encoded {
    let Ok(Request::Map { protocol, internal_port, .. }) = Request::decode(&mapping) else { panic!("it is a mapping") };
    Request::Map { protocol, internal_port, suggested_external_port: 0, lifetime: 0 }.encode()
}

pub(crate) fn mappings(count: usize) -> Vec<Encoded> {
    (0..count).map(mapping).collect()
}

impl Load {
    /// On a socket of this thread's network namespace.
    pub(crate) fn new(server: u32, address: SocketAddrV4) -> Self {
        let from = if address.ip().is_loopback() { Ipv4Addr::LOCALHOST } else { Ipv4Addr::UNSPECIFIED };
        let socket = UdpSocket::bind((from, 0)).unwrap();
        socket.connect(address).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        // This one socket stands for many clients, whose answers may come all at once. Only root may have as much as it takes.
        let _ = setsockopt(&socket, sockopt::RcvBufForce, &ROOM);
        let headers = || MultiHeaders::preallocate(BATCH, None);
        Self { socket, server, wanted: UNDER_WAY, under_way: 0, sent: headers(), received: headers() }
    }

    /// Has fewer requests under way, for a server that takes its time.
    pub(crate) fn slowly(self) -> Self {
        Self { wanted: UNDER_WAY / 8, ..self }
    }

    /// Asks in turns, for this time.
    pub(crate) fn rate(&mut self, requests: &[Encoded], time: Duration) -> Rate {
        let mut next = requests.iter().cycle();
        let (began, used) = (Instant::now(), process::time_of(self.server));
        let (mut answers, mut last) = (0, began);
        let wanted = self.wanted;
        self.send(&mut next, wanted);
        while began.elapsed() < time {
            let count = self.receive(|_| {});
            answers += count;
            // After a long silence, all were lost.
            let more = if count == 0 && last.elapsed() > LOST { wanted } else { count };
            if more > 0 {
                self.send(&mut next, more);
                last = Instant::now();
            }
        }
        let (took, used) = (began.elapsed(), process::time_of(self.server) - used);
        let answers = answers as f64;
        Rate { by_clock: answers / took.as_secs_f64(), by_processor: answers / used.as_secs_f64() }
    }

    /// For one new mapping after the other until its answer, of this many.
    pub(crate) fn latency_of(&mut self, requests: &[Encoded]) -> Latency {
        self.latency(requests, requests.len(), Duration::MAX)
    }

    /// One after the other, for this time.
    pub(crate) fn latency_within(&mut self, requests: &[Encoded], time: Duration) -> Latency {
        self.latency(requests, usize::MAX, time)
    }

    fn latency(&mut self, requests: &[Encoded], count: usize, time: Duration) -> Latency {
        self.settle();
        let began = Instant::now();
        let mut all = Vec::new();
        for request in requests.iter().cycle().take(count) {
            if began.elapsed() >= time {
                break;
            }
            let asked = Instant::now();
            self.socket.send(request).unwrap();
            self.under_way += 1;
            while self.receive(|_| {}) == 0 && asked.elapsed() < LOST {}
            all.push(asked.elapsed());
        }
        all.sort_unstable();
        let at = |part: f64| all[((all.len() - 1) as f64 * part) as usize];
        Latency([at(0.5), at(0.99), at(0.999)])
    }

    /// Asks for mappings until each is granted, or the time is over: how many are, and how long it took.
    pub(crate) fn fill(&mut self, requests: &[Encoded], limit: Duration) -> (usize, Duration) {
        let began = Instant::now();
        let key = |packet: &[u8], at: usize| [packet[1] & 0x7f, packet[at], packet[at + 1]];
        let of_request = |request: &&Encoded| key(request, 4);
        let mut missing: HashSet<_> = requests.iter().map(|request| of_request(&request)).collect();
        let mut last = began;
        while !missing.is_empty() && began.elapsed() < limit {
            // Those of the first round, or those that were lost.
            let round: Vec<_> = requests.iter().filter(|request| missing.contains(&of_request(request))).collect();
            let mut next = round.into_iter();
            let mut under_way = self.send(&mut next, AT_ONCE);
            while under_way > 0 && began.elapsed() < limit {
                let count = self.receive(|answer| {
                    if answer.len() == 16 && answer[2..4] == [0, 0] {
                        missing.remove(&key(answer, 8));
                    }
                });
                if count == 0 {
                    // A slow server has not lost them yet.
                    under_way = if last.elapsed() < LOST { under_way } else { 0 };
                    continue;
                }
                last = Instant::now();
                under_way = under_way.saturating_sub(count) + self.send(&mut next, count);
            }
        }
        (requests.len() - missing.len(), last - began)
    }

    /// Sends the next `count` requests, if there are so many.
    fn send<'a>(&mut self, requests: &mut impl Iterator<Item = &'a Encoded>, count: usize) -> usize {
        let mut sent = 0;
        while sent < count {
            let batch: Vec<_> = requests.take(BATCH.min(count - sent)).map(|each| [IoSlice::new(each)]).collect();
            if batch.is_empty() {
                break;
            }
            let to = vec![None; batch.len()];
            let flags = MsgFlags::empty();
            // What there is no room for is lost, as on the way.
            let _ =
                sendmmsg(self.socket.as_raw_fd(), &mut self.sent, batch.iter(), &to, [], flags).map(Iterator::count);
            sent += batch.len();
        }
        self.under_way += sent;
        sent
    }

    /// Waits for answers: how many came.
    fn receive(&mut self, mut each: impl FnMut(&[u8])) -> usize {
        let mut buffers = [[0; 64]; BATCH];
        let mut lengths = Vec::with_capacity(BATCH);
        {
            let mut slices: Vec<_> = buffers.iter_mut().map(|buffer| [IoSliceMut::new(buffer)]).collect();
            let flags = MsgFlags::MSG_WAITFORONE;
            match recvmmsg(self.socket.as_raw_fd(), &mut self.received, slices.iter_mut(), flags, None) {
                Ok(messages) => lengths.extend(messages.map(|message| message.bytes)),
                Err(Errno::EAGAIN | Errno::EINTR) => {}
                Err(error) => panic!("{error}"),
            }
        }
        self.under_way = self.under_way.saturating_sub(lengths.len());
        lengths.iter().zip(&buffers).for_each(|(&length, buffer)| each(&buffer[..length]));
        lengths.len()
    }

    /// What is still under way is not to count for what comes next.
    pub(crate) fn settle(&mut self) {
        let mut last = Instant::now();
        while self.under_way > 0 && last.elapsed() < LOST {
            if self.receive(|_| {}) > 0 {
                last = Instant::now();
            }
        }
        self.under_way = 0;
    }
}

/// Enough for the server to find the next one there whenever it looks, and not too many for its buffer.
const UNDER_WAY: usize = 128;
/// As many clients that want a mapping at the same time.
const AT_ONCE: usize = 1_000;
const BATCH: usize = 32;
const ROOM: usize = 4 << 20;
const PATIENCE: Duration = Duration::from_millis(100);
const LOST: Duration = Duration::from_secs(1);
const FIRST_PORT: u16 = 2_000;
