//! The engine on sockets that are no sockets, by a clock that can be made to sleep.

mod following;
mod interleaving;
mod previous_gateway;
mod reading;
mod time;
mod without_route_events;

use std::collections::VecDeque;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use natpmp_proto::client::{Event, LossCause};
use natpmp_proto::wire::{Failure, Refusal, Request, Response};
use natpmp_proto::{MapRequest, Protocol};

use super::*;
use crate::DatagramSocket;
use crate::client::{ClientHandle, ClientOptions, KeptHandle};
use crate::os::network::{GatewayOrigin, RouteReport};
use crate::os::routes::Path;

/// What there is around one client.
#[derive(Default)]
struct Around {
    /// What was sent, by the socket with this number, and to whom.
    sent: Vec<(usize, Ipv4Addr, Request)>,
    /// What is to be received, on the socket with this number.
    arriving: VecDeque<(usize, Vec<u8>)>,
    /// How many sockets were opened.
    sockets: usize,
    discovered: Option<Ipv4Addr>,
    path: Option<Path>,
    /// By the way that there was at the start.
    on_link: Vec<Ipv4Addr>,
    /// By another way.
    elsewhere: Vec<Ipv4Addr>,
    /// How often it was looked for a gateway.
    looks: usize,
    /// The routes have changed, which is not read yet.
    has_changed: bool,
    /// How often reading a socket is interrupted by a signal.
    interruptions: usize,
    /// How often reading a socket says port unreachable.
    refusals: usize,
    /// What happens while the system is asked for its gateway, once.
    during_discovery: Option<Box<dyn FnOnce() + Send>>,
}

struct Rig {
    around: Arc<Mutex<Around>>,
    engine: ClientEngine<Fake>,
    callbacks: CallbackRunner,
    handle: Arc<ClientHandle>,
}

impl Rig {
    fn new(options: ClientOptions, change: impl FnOnce(&mut Around)) -> Self {
        let mut around = Around { discovered: Some(HOME), path: Some(path(2, [127, 0, 0, 2])), ..Around::default() };
        change(&mut around);
        let around = Arc::new(Mutex::new(around));
        let gateway = Some(SocketAddrV4::new(HOME, 5351));
        let mut config = ClientOptions { gateway, announcements: None, ..options }.resolve().unwrap();
        config.origin = GatewayOrigin::Discovered;
        let routing = Box::new(Fake(Arc::clone(&around)));
        let (engine, callbacks) = ClientEngine::with_routing(&config, Fake(Arc::clone(&around)), routing).unwrap();
        let handle = ClientHandle::new(Arc::clone(engine.shared()), &config, None);
        Self { around, engine, callbacks, handle }
    }

    /// One that keeps UDP 4000, which is open, with what led to it forgotten.
    fn keeping(options: ClientOptions) -> (Self, KeptHandle) {
        let mut rig = Self::new(options, |_| {});
        let kept = rig.handle.keep(&MapRequest::new(Protocol::Udp, 4_000), None).unwrap();
        rig.serve();
        assert!(kept.state().mapping.is_some());
        rig.forget();
        // After the first look.
        rig.sleep(Duration::from_secs(1));
        (rig, kept)
    }

    fn around(&self) -> std::sync::MutexGuard<'_, Around> {
        self.around.lock().unwrap()
    }

    fn forget(&self) {
        self.around().sent.clear();
    }

    fn sent(&self) -> Vec<(Ipv4Addr, Request)> {
        self.around().sent.iter().map(|&(_, to, request)| (to, request)).collect()
    }

    fn sleep(&self, duration: Duration) {
        self.engine.shared().sleep(duration);
    }

    /// An answer to the last request.
    fn arrive(&self, answer: &Response) {
        let mut around = self.around();
        let (socket, ..) = around.sent.last().copied().unwrap();
        around.arriving.push_back((socket, answer.encode().to_vec()));
    }

    /// Something happens to the routes; the system reports it, and it settles.
    fn change(&mut self, change: impl FnOnce(&mut Around)) {
        change(&mut self.around());
        self.around().has_changed = true;
        self.turn();
        self.sleep(Duration::from_millis(500));
    }

    /// One turn, as an adapter takes it.
    fn turn(&mut self) -> Wait {
        receive_all(&mut self.engine);
        self.engine.drain()
    }

    /// Turns, with every request granted, until there is none.
    fn serve(&mut self) -> Vec<(Ipv4Addr, Request)> {
        let mut served = self.around().sent.len();
        self.turn();
        loop {
            let next = self.around().sent.get(served).copied();
            let Some((socket, _, request)) = next else { return self.sent() };
            served += 1;
            let answer = answer(self.engine.shared().now(), &request).encode().to_vec();
            self.around().arriving.push_back((socket, answer));
            self.turn();
        }
    }
}

/// Sockets, routes and all.
struct Fake(Arc<Mutex<Around>>);

struct FakeSocket {
    around: Arc<Mutex<Around>>,
    number: usize,
    /// Only to know where it leads.
    to: SocketAddrV4,
}

impl Register for Fake {
    type Socket = FakeSocket;

    fn register(&mut self, _: Source, socket: UdpSocket) -> io::Result<FakeSocket> {
        let SocketAddr::V4(to) = socket.peer_addr()? else { panic!("it is of IPv4") };
        self.0.lock().unwrap().sockets += 1;
        let number = self.0.lock().unwrap().sockets;
        Ok(FakeSocket { around: Arc::clone(&self.0), number, to })
    }

    #[cfg(unix)]
    fn watch(&mut self, _: Source, _: std::os::fd::OwnedFd) -> io::Result<()> {
        Ok(())
    }
}

impl DatagramSocket for FakeSocket {
    fn send(&self, payload: &[u8]) -> io::Result<usize> {
        self.around.lock().unwrap().sent.push((self.number, *self.to.ip(), Request::decode(payload).unwrap()));
        Ok(payload.len())
    }

    fn send_to(&self, _payload: &[u8], _to: SocketAddrV4) -> io::Result<usize> {
        unreachable!("a client's sockets are connected")
    }

    fn receive(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let mut around = self.around.lock().unwrap();
        if around.interruptions > 0 {
            around.interruptions -= 1;
            return Err(io::ErrorKind::Interrupted.into());
        }
        if around.refusals > 0 {
            around.refusals -= 1;
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        let index = around.arriving.iter().position(|(number, _)| *number == self.number);
        let (_, bytes) = index.and_then(|index| around.arriving.remove(index)).ok_or(io::ErrorKind::WouldBlock)?;
        buffer[..bytes.len()].copy_from_slice(&bytes);
        Ok((bytes.len(), self.to.into()))
    }
}

impl Routing for Fake {
    fn discover(&self) -> Option<Ipv4Addr> {
        let during_discovery = self.0.lock().unwrap().during_discovery.take();
        if let Some(happens) = during_discovery {
            happens();
        }
        self.0.lock().unwrap().looks += 1;
        self.0.lock().unwrap().discovered
    }

    /// To what is on a link the way is as it was at the start.
    fn path_to(&self, address: Ipv4Addr) -> Option<Path> {
        let around = self.0.lock().unwrap();
        if around.on_link.contains(&address) { Some(path(2, [127, 0, 0, 2])) } else { around.path }
    }

    fn is_on_link(&self, address: Ipv4Addr) -> bool {
        let around = self.0.lock().unwrap();
        around.on_link.contains(&address) || around.elsewhere.contains(&address)
    }

    fn take_report(&mut self, is_readable: bool) -> RouteReport {
        match is_readable && std::mem::take(&mut self.0.lock().unwrap().has_changed) {
            true => RouteReport::Changed,
            false => RouteReport::Unchanged,
        }
    }
}

/// A system that reports no changes of its routes.
struct NoRouteEvents(Arc<Mutex<Around>>);

impl Routing for NoRouteEvents {
    fn discover(&self) -> Option<Ipv4Addr> {
        Fake(Arc::clone(&self.0)).discover()
    }

    fn path_to(&self, address: Ipv4Addr) -> Option<Path> {
        Fake(Arc::clone(&self.0)).path_to(address)
    }

    fn is_on_link(&self, address: Ipv4Addr) -> bool {
        Fake(Arc::clone(&self.0)).is_on_link(address)
    }

    fn take_report(&mut self, _: bool) -> RouteReport {
        RouteReport::Unsupported
    }
}

/// Events, without waiting.
struct Events(crate::EventQueue<Event>);

impl Events {
    fn new(rig: &Rig) -> Self {
        Self(rig.handle.events())
    }

    fn next(&mut self) -> Option<Event> {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        match self.0.poll_next(&mut context) {
            std::task::Poll::Ready(event) => event,
            std::task::Poll::Pending => None,
        }
    }
}

/// Whatever there is, wherever it is.
fn receive_all(engine: &mut ClientEngine<Fake>) {
    Source::ALL.into_iter().for_each(|source| engine.note_readable(source));
    while engine.receive() {}
}

/// All is granted as it was asked for; what no port was suggested for, on the same port.
fn answer(now: Instant, request: &Request) -> Response {
    let epoch = u32::try_from(now.as_micros() / 1_000_000).unwrap();
    match *request {
        Request::ExternalAddress => Response::ExternalAddress { epoch, address: [11, 22, 33, 44].into() },
        Request::Map { protocol, internal_port, lifetime, .. } => {
            let external_port = if lifetime == 0 { 0 } else { internal_port };
            Response::Map { protocol, epoch, internal_port, external_port, lifetime }
        }
    }
}

fn renewal() -> Request {
    Request::Map { protocol: Protocol::Udp, internal_port: 4_000, suggested_external_port: 4_000, lifetime: 7_200 }
}

fn path(interface_index: u32, source: [u8; 4]) -> Path {
    Path { interface_index, source: source.into(), is_up: true }
}

// Addresses that sockets can be connected to anywhere, since nothing is sent.
const HOME: Ipv4Addr = Ipv4Addr::new(127, 1, 0, 1);
const AWAY: Ipv4Addr = Ipv4Addr::new(127, 2, 0, 1);
const THIRD: Ipv4Addr = Ipv4Addr::new(127, 3, 0, 1);
