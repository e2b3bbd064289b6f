//! Keeps a port open in an event loop of one's own, here on mio: one thread, no runtime, and nothing that blocks. Enter ends it, and so does
//! the end of its input.
//!
//! ```sh
//! cargo run -p natpmp-proto --example event_loop -- 192.168.1.1 udp 4000
//! ```
//!
//! The loop waits for four things at once: answers of the gateway, its announcements, the machine's next deadline, and the wish to stop. Yours
//! waits for more.

use std::error::Error;
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;

use mio::net::UdpSocket;
use mio::{Events, Interest, Poll, Registry, Token, Waker};
use natpmp_proto::client::Ending;
use natpmp_proto::wire::{ANNOUNCEMENT_GROUP, ANNOUNCEMENT_PORT, GATEWAY_PORT};
use natpmp_proto::{Client, Config, Event, Instant, MapRequest, Output, Protocol, Schedule, Transmit};
use socket2::{Domain, Socket, Type};

fn main() -> Result<(), Box<dyn Error>> {
    let (gateway, request) = arguments()?;
    let poll = Poll::new()?;
    // Its wake-up would be lost if it were dropped before the loop has seen it.
    let stop = Arc::new(Waker::new(poll.registry(), STOP)?);
    let waker = Arc::clone(&stop);
    std::thread::spawn(move || {
        let _ = io::stdin().read_line(&mut String::new());
        waker.wake()
    });
    println!("asking {gateway} for {} {}", request.protocol(), request.internal_port());
    keep(poll, gateway, &request)
}

/// The loop. It returns when the mapping is deleted, or could not be.
fn keep(mut poll: Poll, gateway: SocketAddrV4, request: &MapRequest) -> Result<(), Box<dyn Error>> {
    let origin = std::time::Instant::now();
    let now = || Instant::ZERO + origin.elapsed();
    let config = Config::for_gateway(gateway).schedule(Schedule::QUICK).seed(seed());
    let mut client: Client<4> = Client::new(config);
    client.watch_external_address(now(), true);
    client.keep(now(), request)?;

    let mut sockets = Sockets { requests: None, announcements: announcements(poll.registry()) };
    let mut events = Events::with_capacity(8);
    // A timer of the loop's own beside the machine's: when to be through with stopping.
    let mut stop_by = None;
    loop {
        let deadline = match client.poll(now()) {
            Output::Transmit(transmit) => {
                match sockets.send(poll.registry(), &transmit) {
                    Err(error) if error.kind() == ErrorKind::ConnectionRefused => client.handle_unreachable(now()),
                    // The packet is lost, as packets are; it will be sent again.
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    Err(_) => client.handle_network_down(now()),
                    Ok(_) => {}
                }
                continue;
            }
            Output::Event(Event::Ended { ending, .. }) => return over(request, ending),
            Output::Event(event) => {
                report(&event);
                continue;
            }
            Output::Wait(deadline) => deadline,
        };

        if stop_by.is_some_and(|at| at <= now()) {
            // One more try of 250 ms for what is not deleted yet.
            client.hasten_deletions(now());
            stop_by = None;
            continue;
        }
        // mio rounds a timeout up to what the system can wait; the clock is read again afterwards.
        let timeout = deadline.into_iter().chain(stop_by).min().map(|at| at.saturating_since(now()));
        match poll.poll(&mut events, timeout) {
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error.into()),
            _ => {}
        }
        if events.iter().any(|event| event.token() == STOP) {
            client.unmap(now(), request.protocol(), request.internal_port())?;
            stop_by = Some(now() + PATIENCE);
        }
        // mio tells of a socket once: it is read until it has no more.
        let is_unreachable = sockets.receive(|which, from, bytes| {
            // What is not for us is dropped; the reason could be logged.
            let _ = match which {
                REQUESTS => client.handle_datagram(now(), from, bytes),
                _ => client.handle_announcement(now(), from, bytes),
            };
        });
        if is_unreachable {
            client.handle_unreachable(now());
        }
    }
}

struct Sockets {
    requests: Option<UdpSocket>,
    announcements: Option<UdpSocket>,
}

impl Sockets {
    /// Sends to the gateway; a new request from a new socket, which has the address and the route of this moment. It is
    /// connected, which is what makes port unreachable heard.
    fn send(&mut self, registry: &Registry, transmit: &Transmit) -> io::Result<usize> {
        if let Some(mut before) = self.requests.take_if(|_| transmit.resends() == 0) {
            registry.deregister(&mut before)?;
        }
        let socket = match &mut self.requests {
            Some(socket) => socket,
            none => {
                let mut socket = UdpSocket::bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)))?;
                socket.connect(transmit.to.into())?;
                registry.register(&mut socket, REQUESTS, Interest::READABLE)?;
                none.insert(socket)
            }
        };
        socket.send(&transmit.payload)
    }

    /// Passes on what came, and says whether the gateway's host has nothing on that port.
    fn receive(&self, mut take: impl FnMut(Token, SocketAddrV4, &[u8])) -> bool {
        let mut buffer = [0; 1_100];
        let mut is_unreachable = false;
        for (which, socket) in [(REQUESTS, &self.requests), (ANNOUNCEMENTS, &self.announcements)] {
            let Some(socket) = socket else { continue };
            loop {
                match socket.recv_from(&mut buffer) {
                    Ok((length, SocketAddr::V4(from))) => take(which, from, buffer.get(..length).unwrap_or_default()),
                    Ok(_) => {}
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(error) if error.kind() == ErrorKind::ConnectionRefused => is_unreachable = true,
                    Err(_) => break,
                }
            }
        }
        is_unreachable
    }
}

/// The socket that hears announcements. It is a convenience: without it, a restart of the gateway is noticed at the next renewal.
fn announcements(registry: &Registry) -> Option<UdpSocket> {
    let open = || -> io::Result<UdpSocket> {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
        // Several programs of a host hear the same announcements.
        socket.set_reuse_address(true)?;
        #[cfg(all(unix, not(target_os = "linux")))]
        socket.set_reuse_port(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&SocketAddrV4::new(ANNOUNCEMENT_GROUP, ANNOUNCEMENT_PORT).into())?;
        // All hosts are in this group; some systems want to be asked.
        let _ = socket.join_multicast_v4(&ANNOUNCEMENT_GROUP, &Ipv4Addr::UNSPECIFIED);
        let mut socket = UdpSocket::from_std(socket.into());
        registry.register(&mut socket, ANNOUNCEMENTS, Interest::READABLE)?;
        Ok(socket)
    };
    open().inspect_err(|error| println!("announcements of the gateway cannot be heard: {error}")).ok()
}

fn report(event: &Event) {
    match event {
        Event::Mapped(mapping) | Event::PortChanged { mapping, .. } => {
            println!("{} {} is open on port {}", mapping.protocol, mapping.internal_port, mapping.external_port);
        }
        Event::Lost { protocol, internal_port, .. } => println!("{protocol} {internal_port} is not open at present"),
        Event::Failed { error, .. } => println!("it will be tried again: {error}"),
        Event::ExternalAddress(Ok(address)) => println!("the external address is {address}"),
        Event::GatewayRestarted => println!("the gateway has restarted"),
        _ => {}
    }
}

fn over(request: &MapRequest, ending: Ending) -> Result<(), Box<dyn Error>> {
    match ending {
        Ending::NotUnmapped(error) => Err(error.into()),
        _ => {
            println!("{} {} is unmapped", request.protocol(), request.internal_port());
            Ok(())
        }
    }
}

/// `GATEWAY[:PORT] udp|tcp PORT`
fn arguments() -> Result<(SocketAddrV4, MapRequest), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [gateway, protocol, port] = arguments.as_slice() else {
        return Err("usage: event_loop GATEWAY[:PORT] udp|tcp PORT".into());
    };
    let gateway = match gateway.parse() {
        Ok(gateway) => gateway,
        Err(_) => SocketAddrV4::new(gateway.parse()?, GATEWAY_PORT),
    };
    let protocol = match protocol.as_str() {
        "udp" => Protocol::Udp,
        "tcp" => Protocol::Tcp,
        other => return Err(format!("{other} is neither udp nor tcp").into()),
    };
    Ok((gateway, MapRequest::new(protocol, port.parse()?)))
}

/// Another number for each process: std's hash maps draw one.
fn seed() -> u64 {
    use std::hash::{BuildHasher, Hasher, RandomState};
    RandomState::new().build_hasher().finish()
}

const REQUESTS: Token = Token(0);
const ANNOUNCEMENTS: Token = Token(1);
const STOP: Token = Token(2);
const PATIENCE: Duration = Duration::from_secs(2);
