//! A gateway on a real socket of this host, in a thread of its own.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;

use natpmp_proto::wire::Request;
use natpmp_proto::{Instant, Protocol};

use super::{Destination, Faults, Gateway, Reach};

/// A gateway on a UDP socket: of 127.0.0.1, with a port of its own, unless another address is said. It ends when it is dropped.
///
/// [`Reach::Closed`] closes the socket, so that the system answers with port unreachable; [`Reach::Open`] opens it again.
#[derive(Debug)]
pub struct Served {
    shared: Arc<Shared>,
    address: SocketAddrV4,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    origin: std::time::Instant,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    gateway: Gateway,
    announce_to: Option<SocketAddrV4>,
    /// The last one who asked.
    client: Option<SocketAddrV4>,
    is_open: bool,
    is_stopping: bool,
}

impl Served {
    /// Starts serving.
    ///
    /// # Panics
    /// If no socket can be had.
    #[must_use]
    pub fn start(gateway: Gateway) -> Self {
        Self::start_at(gateway, SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0))
    }

    /// The same on this address, in the network namespace of the thread that calls it.
    ///
    /// # Panics
    /// If the address cannot be had.
    #[must_use]
    pub fn start_at(gateway: Gateway, address: SocketAddrV4) -> Self {
        let socket = UdpSocket::bind(address).expect("the address is free");
        let SocketAddr::V4(address) = socket.local_addr().expect("it was bound") else {
            panic!("bound to an IPv4 address")
        };
        let state = State { gateway, announce_to: None, client: None, is_open: true, is_stopping: false };
        let origin = std::time::Instant::now();
        let shared = Arc::new(Shared { origin, state: Mutex::new(state), changed: Condvar::new() });
        let worker = Arc::clone(&shared);
        let thread = std::thread::spawn(move || worker.serve(address, socket));
        Self { shared, address, thread: Some(thread) }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddrV4 {
        self.address
    }

    /// The time since it started, as the gateway sees it.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.shared.now()
    }

    /// Where announcements go; before it is said, to the one who asked last.
    pub fn announce_to(&self, address: SocketAddrV4) {
        self.shared.lock().announce_to = Some(address);
    }

    /// The address of the one who asked last.
    #[must_use]
    pub fn client(&self) -> Option<SocketAddrV4> {
        self.shared.lock().client
    }

    /// Looks at the gateway or changes it; when this returns, the socket is as its faults say.
    pub fn with<T>(&self, work: impl FnOnce(&mut Gateway, Instant) -> T) -> T {
        let mut state = self.shared.lock();
        let result = work(&mut state.gateway, self.shared.now());
        let wants_open = state.gateway.faults.reach != Reach::Closed;
        while state.is_open != wants_open && self.thread.as_ref().is_some_and(|thread| !thread.is_finished()) {
            let waited = self.shared.changed.wait_timeout(state, GLANCE);
            state = waited.unwrap_or_else(|poisoned| poisoned.into_inner()).0;
        }
        result
    }

    /// Changes what the gateway does wrong.
    pub fn turn(&self, change: impl FnOnce(&mut Faults)) {
        self.with(|gateway, _| change(&mut gateway.faults));
    }

    /// Has it answer, keep silent, or close its port.
    pub fn reach(&self, reach: Reach) {
        self.turn(|faults| faults.reach = reach);
    }

    /// The external port that an internal one has.
    #[must_use]
    pub fn lease(&self, protocol: Protocol, internal_port: u16) -> Option<u16> {
        self.with(|gateway, now| gateway.lease(now, protocol, internal_port).map(|lease| lease.external_port))
    }

    /// How many mappings it has.
    #[must_use]
    pub fn leases(&self) -> usize {
        self.with(|gateway, now| gateway.leases(now).len())
    }

    /// What it was asked since it was started, or since [`forget`](Self::forget).
    ///
    /// # Panics
    /// If anything else than a request came.
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        self.with(|gateway, _| gateway.received().iter().map(|received| received.request.unwrap()).collect())
    }

    /// The deletions among those.
    #[must_use]
    pub fn deletions(&self) -> Vec<Request> {
        let mut requests = self.requests();
        requests.retain(|request| matches!(request, Request::Map { lifetime: 0, .. }));
        requests
    }

    /// Forgets what it was asked.
    pub fn forget(&self) {
        self.with(|gateway, _| gateway.forget_received());
    }

    /// Sends a datagram to the one who asked last, from another socket of the same host: a foreign sender.
    ///
    /// # Panics
    /// If nobody has asked yet, or it cannot be sent.
    pub fn forge(&self, bytes: &[u8]) {
        let client = self.client().expect("somebody has asked");
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket on the loopback interface");
        let _ = socket.send_to(bytes, client).expect("the loopback interface takes it");
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.shared.lock().is_stopping = true;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn now(&self) -> Instant {
        Instant::ZERO + self.origin.elapsed()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn serve(&self, address: SocketAddrV4, socket: UdpSocket) {
        let mut socket = Some(socket);
        let mut buffer = [0; 2_048];
        loop {
            let mut state = self.lock();
            if state.is_stopping {
                return;
            }
            if state.gateway.faults.reach == Reach::Closed {
                socket = None;
            } else if socket.is_none() {
                socket = UdpSocket::bind(address).ok();
            }
            if state.is_open != socket.is_some() {
                state.is_open = socket.is_some();
                self.changed.notify_all();
            }
            if let Some(socket) = &socket {
                self.send_due(&mut state, socket);
            }
            let wait = state.gateway.poll_timeout().map_or(GLANCE, |at| at.saturating_since(self.now()).min(GLANCE));
            drop(state);
            match &socket {
                Some(socket) => self.receive(socket, wait.max(SHORTEST), &mut buffer),
                None => std::thread::sleep(wait.max(SHORTEST)),
            }
        }
    }

    fn send_due(&self, state: &mut State, socket: &UdpSocket) {
        while let Some(outgoing) = state.gateway.poll_transmit(self.now()) {
            let to = match outgoing.to {
                Destination::Host(host) => Some(host),
                Destination::AllHosts => state.announce_to.or(state.client),
            };
            // A client that is gone is none of the gateway's business.
            let _ = to.map(|to| socket.send_to(&outgoing.bytes, to));
        }
    }

    fn receive(&self, socket: &UdpSocket, wait: Duration, buffer: &mut [u8]) {
        socket.set_read_timeout(Some(wait)).expect("the wait is not zero");
        match socket.recv_from(buffer) {
            Ok((length, SocketAddr::V4(from))) => {
                let mut state = self.lock();
                state.client = Some(from);
                state.gateway.handle(self.now(), from, &buffer[..length]);
                self.send_due(&mut state, socket);
            }
            Ok(_) => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            // Port unreachable from a client that is gone.
            Err(_) => {}
        }
    }
}

const GLANCE: Duration = Duration::from_millis(5);
const SHORTEST: Duration = Duration::from_millis(1);
