//! A gateway that does nothing but answer: the same for all who are measured, and fast enough not to matter.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use natpmp_proto::wire::{ANNOUNCEMENT_PORT, GATEWAY_PORT, Request, Response};

/// A gateway on port 5351 of a loopback address; its port is closed when it is dropped.
pub struct Gateway {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    socket: UdpSocket,
    address: Ipv4Addr,
    started: Instant,
    first_epoch: u32,
    link: Link,
    first_mapping: OnceLock<Duration>,
}

/// What is between the client and the gateway. The default is nothing.
#[derive(Clone, Copy, Default)]
pub struct Link {
    /// Each way.
    pub delay: Duration,
    /// Each way, in percent.
    pub loss: u8,
    /// Equal seeds lose the same datagrams, by their number.
    pub seed: u64,
}

impl Gateway {
    /// One that came up long ago.
    pub fn start(address: Ipv4Addr) -> Self {
        Self::with(address, LONG_AGO, Link::default())
    }

    /// One that comes up now.
    pub fn restart(address: Ipv4Addr) -> Self {
        Self::with(address, 0, Link::default())
    }

    pub fn behind(address: Ipv4Addr, link: Link) -> Self {
        Self::with(address, LONG_AGO, link)
    }

    fn with(address: Ipv4Addr, first_epoch: u32, link: Link) -> Self {
        let socket = bind(address);
        let started = Instant::now();
        let shared = Arc::new(Shared { socket, address, started, first_epoch, link, first_mapping: OnceLock::new() });
        let worker = Arc::clone(&shared);
        let thread = std::thread::spawn(move || if link.is_perfect() { worker.serve() } else { worker.serve_slowly() });
        Self { shared, thread: Some(thread) }
    }

    /// How long after its start it was first asked for a mapping.
    pub fn first_mapping(&self) -> Option<Duration> {
        self.shared.first_mapping.get().copied()
    }

    /// Announces itself as RFC 6886 has it (section 3.2.1): ten times, with doubling gaps. To port 5350 of its own address,
    /// where the clients here listen instead of at the group. Takes as long as `patience` at most.
    pub fn announce(&self, patience: Duration) {
        let mut gap = Duration::from_millis(250);
        let end = Instant::now() + patience;
        for _ in 0..10 {
            let response = Response::ExternalAddress { epoch: self.shared.epoch(), address: EXTERNAL };
            let to = SocketAddrV4::new(self.shared.address, ANNOUNCEMENT_PORT);
            let _ = self.shared.socket.send_to(&response.encode(), to);
            if Instant::now() + gap > end || self.first_mapping().is_some() {
                return;
            }
            std::thread::sleep(gap);
            gap *= 2;
        }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let to = SocketAddrV4::new(self.shared.address, GATEWAY_PORT);
        let _ = self.shared.socket.send_to(&END, to);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// Port 5351 of this address.
pub fn bind(address: Ipv4Addr) -> UdpSocket {
    UdpSocket::bind((address, GATEWAY_PORT)).unwrap_or_else(|error| {
        panic!("{address}:{GATEWAY_PORT} cannot be had ({error}): does another gateway run on this host?")
    })
}

impl Shared {
    fn serve(&self) {
        let mut buffer = [0; 64];
        while let Ok((length, from)) = self.receive(&mut buffer) {
            if buffer[..length] == END {
                return;
            }
            if let Some(answer) = self.answer(&buffer[..length]) {
                let _ = self.socket.send_to(&answer.encode(), from);
            }
        }
    }

    /// The time on the way to and fro is spent in one.
    fn serve_slowly(&self) {
        let mut on_the_way: VecDeque<(Instant, SocketAddr, Response)> = VecDeque::new();
        let mut buffer = [0; 64];
        let mut received = 0;
        loop {
            let now = Instant::now();
            while let Some((_, to, answer)) = on_the_way.pop_front_if(|(due, _, _)| *due <= now) {
                let _ = self.socket.send_to(&answer.encode(), to);
            }
            let wait = on_the_way.front().map(|(due, _, _)| (*due - now).max(Duration::from_micros(1)));
            self.socket.set_read_timeout(wait).expect("the wait is not zero");
            let Ok((length, from)) = self.receive(&mut buffer) else { continue };
            if buffer[..length] == END {
                return;
            }
            received += 1;
            let is_lost = self.link.loses(received * 2) || self.link.loses(received * 2 + 1);
            if let Some(answer) = self.answer(&buffer[..length]).filter(|_| !is_lost) {
                on_the_way.push_back((Instant::now() + self.link.delay * 2, from, answer));
            }
        }
    }

    fn receive(&self, buffer: &mut [u8]) -> std::io::Result<(usize, SocketAddr)> {
        loop {
            match self.socket.recv_from(buffer) {
                // Of a client that is gone.
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => {}
                result => return result,
            }
        }
    }

    fn answer(&self, request: &[u8]) -> Option<Response> {
        match Request::decode(request).ok()? {
            Request::ExternalAddress => Some(Response::ExternalAddress { epoch: self.epoch(), address: EXTERNAL }),
            Request::Map { protocol, internal_port, suggested_external_port, lifetime } => {
                let _ = self.first_mapping.set(self.started.elapsed());
                let external_port = if suggested_external_port == 0 { internal_port } else { suggested_external_port };
                let external_port = if lifetime == 0 { 0 } else { external_port };
                Some(Response::Map { protocol, epoch: self.epoch(), internal_port, external_port, lifetime })
            }
        }
    }

    fn epoch(&self) -> u32 {
        self.first_epoch + self.started.elapsed().as_secs() as u32
    }
}

impl Link {
    fn is_perfect(&self) -> bool {
        self.delay.is_zero() && self.loss == 0
    }

    /// Whether the `number`-th datagram is lost.
    fn loses(&self, number: u64) -> bool {
        let mut mixed = (self.seed << 32 | number).wrapping_add(0x9e37_79b9_7f4a_7c15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % 100 < u64::from(self.loss)
    }
}

const EXTERNAL: Ipv4Addr = Ipv4Addr::new(11, 22, 33, 44);
const LONG_AGO: u32 = 100_000;
const END: [u8; 1] = [255];
