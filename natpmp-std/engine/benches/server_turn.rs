//! What the server's engine does for a request beside the calls of the system: time, and memory asked for (none), by the size of
//! the table. The sockets are made of memory, and the NAT says yes.
//!
//! `cargo bench -p natpmp-engine --features server --bench server_turn`

#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    reason = "a benchmark whose assumptions fail should end"
)]

use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use divan::counter::ItemsCount;
use divan::{AllocProfiler, Bencher};
use natpmp_engine::DatagramSocket;
use natpmp_engine::nat::{Nat, NatFailure, NatRequest};
use natpmp_engine::server::{External, Internal, ServerEngine, ServerHandle, ServerOptions};
use natpmp_proto::Protocol;
use natpmp_proto::gateway::Config;
use natpmp_proto::wire::{Encoded, Request};

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

/// Live mappings.
const SIZES: [usize; 4] = [10, 1_000, 10_000, 60_000];

#[divan::bench(args = SIZES)]
fn external_address(bencher: Bencher<'_, '_>, size: usize) {
    let mut served = Served::with(size);
    served.feed.ask_for(vec![Request::ExternalAddress.encode()]);
    bencher.counter(ItemsCount::new(TURN)).bench_local(|| served.turn());
}

#[divan::bench(args = SIZES)]
fn renewal(bencher: Bencher<'_, '_>, size: usize) {
    let mut served = Served::with(size);
    bencher.counter(ItemsCount::new(TURN)).bench_local(|| served.turn());
}

/// A gateway with mappings, and its feed of requests to renew them.
struct Served {
    engine: ServerEngine<Memory>,
    /// The engine ends without it.
    _handle: ServerHandle,
    feed: Arc<Feed>,
}

impl Served {
    fn with(size: usize) -> Self {
        let feed = Arc::new(Feed::default());
        // All of them in no order: a prime number has no factor in common with a size.
        feed.ask_for((0..size).map(|number| renewal_of(number * 40_507 % size)).collect());
        let options = ServerOptions {
            internal: vec![Internal::Address(Ipv4Addr::LOCALHOST)],
            external: External::Address(Ipv4Addr::new(11, 22, 33, 44)),
            port: 0,
            announce_to: SocketAddrV4::new(Ipv4Addr::LOCALHOST, 9),
            config: Config::new().per_client(u16::MAX - 1),
            requests_per_second: None,
            ..ServerOptions::default()
        };
        let socket = Arc::clone(&feed);
        let register = move |_| Ok(Memory(Arc::clone(&socket)));
        let (engine, handle) = ServerEngine::start(options, Box::new(|_| Ok(Box::new(Yes))), register).unwrap();
        let mut served = Self { engine, _handle: handle, feed };
        served.feed.left.store(size, Ordering::Relaxed);
        while served.feed.answers.load(Ordering::Relaxed) < size {
            let _ = served.engine.turn();
            thread::sleep(Duration::from_micros(100));
        }
        served
    }

    /// As the worker does it when so many requests have come.
    fn turn(&mut self) {
        self.feed.left.store(TURN, Ordering::Relaxed);
        let before = self.feed.answers.load(Ordering::Relaxed);
        while self.feed.left.load(Ordering::Relaxed) > 0 {
            let _ = self.engine.turn();
        }
        assert_eq!(self.feed.answers.load(Ordering::Relaxed) - before, TURN);
    }
}

fn renewal_of(number: usize) -> Encoded {
    let port = 2_000 + (number / 2) as u16;
    let protocol = Protocol::ALL[number % 2];
    Request::Map { protocol, internal_port: port, suggested_external_port: port, lifetime: 7_200 }.encode()
}

/// What comes in, and what went out.
#[derive(Default)]
struct Feed {
    requests: std::sync::Mutex<Arc<Vec<Encoded>>>,
    next: AtomicUsize,
    left: AtomicUsize,
    answers: AtomicUsize,
}

impl Feed {
    fn ask_for(&self, requests: Vec<Encoded>) {
        *self.requests.lock().unwrap() = Arc::new(requests);
        self.next.store(0, Ordering::Relaxed);
    }
}

struct Memory(Arc<Feed>);

impl DatagramSocket for Memory {
    fn send(&self, payload: &[u8]) -> io::Result<usize> {
        Ok(payload.len())
    }

    fn receive(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let left = self.0.left.load(Ordering::Relaxed);
        if left == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.0.left.store(left - 1, Ordering::Relaxed);
        let requests = self.0.requests.lock().unwrap();
        let next = self.0.next.load(Ordering::Relaxed);
        self.0.next.store((next + 1) % requests.len(), Ordering::Relaxed);
        let request = &requests[next];
        buffer[..request.len()].copy_from_slice(request);
        Ok((request.len(), SocketAddr::from(([127, 0, 0, 1], 50_000))))
    }

    fn send_to(&self, payload: &[u8], to: SocketAddrV4) -> io::Result<usize> {
        if to.port() == 50_000 {
            self.0.answers.fetch_add(1, Ordering::Relaxed);
        }
        Ok(payload.len())
    }
}

struct Yes;

impl Nat for Yes {
    fn apply(&mut self, requests: &[NatRequest]) -> Vec<Result<(), NatFailure>> {
        vec![Ok(()); requests.len()]
    }

    fn set_external_address(&mut self, _: Option<Ipv4Addr>) {}

    fn end(&mut self) {}
}

/// Requests that are there at once.
const TURN: usize = 128;
