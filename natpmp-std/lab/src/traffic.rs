//! Packets through the mapping: something that answers on a client, and something that asks from the internet.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::host::Host;

/// UDP or TCP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// UDP.
    Udp,
    /// TCP.
    Tcp,
}

/// Starts a service on `host` that sends back what it gets, followed by the host's address.
///
/// # Panics
/// If the port is taken on that host.
#[must_use]
pub fn echo(host: &Host, protocol: Protocol, port: u16) -> Echo {
    host.within(|| start_echo(protocol, SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port), host.address()))
}

/// The same at this address, in the network namespace of the thread that calls it.
///
/// # Panics
/// If the address cannot be had.
#[must_use]
pub fn echo_at(protocol: Protocol, here: SocketAddrV4) -> Echo {
    start_echo(protocol, here, *here.ip())
}

fn start_echo(protocol: Protocol, here: SocketAddrV4, address: Ipv4Addr) -> Echo {
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let thread = match protocol {
        Protocol::Udp => {
            let socket = UdpSocket::bind(here).expect("the port is free");
            socket.set_read_timeout(Some(PATIENCE)).expect("not zero");
            std::thread::spawn(move || echo_udp(&socket, address, &stopped))
        }
        Protocol::Tcp => {
            let listener = TcpListener::bind(here).expect("the port is free");
            listener.set_nonblocking(true).expect("a listener can be");
            std::thread::spawn(move || echo_tcp(&listener, address, &stopped))
        }
    };
    Echo { stop, thread: Some(thread) }
}

/// A running echo service; ended when dropped.
#[derive(Debug)]
pub struct Echo {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

impl Host {
    /// Whether an echo service answers at `target`, asked from this host in a flow that did not exist before. Asks for half a
    /// second, and stops early at an answer or when told that nobody listens there.
    #[must_use]
    pub fn reaches(&self, protocol: Protocol, target: impl Into<SocketAddr>) -> bool {
        self.who_answers(protocol, target).is_some()
    }

    /// The same, and the host that answered.
    #[must_use]
    pub fn who_answers(&self, protocol: Protocol, target: impl Into<SocketAddr>) -> Option<Ipv4Addr> {
        let target = target.into();
        self.within(|| who_answers(protocol, target))
    }
}

/// The host whose echo service answers at `target`, as [`Host::who_answers`] finds it, asked from the network namespace of the
/// thread that calls it.
#[must_use]
pub fn who_answers(protocol: Protocol, target: SocketAddr) -> Option<Ipv4Addr> {
    match protocol {
        Protocol::Udp => ask_udp(target),
        Protocol::Tcp => ask_tcp(target),
    }
}

fn echo_udp(socket: &UdpSocket, address: Ipv4Addr, stop: &AtomicBool) {
    let mut buffer = [0; 64];
    while !stop.load(Ordering::Relaxed) {
        if let Ok((length, from)) = socket.recv_from(&mut buffer[..QUESTION.len()]) {
            buffer[length..length + 4].copy_from_slice(&address.octets());
            let _ = socket.send_to(&buffer[..length + 4], from);
        }
    }
}

fn echo_tcp(listener: &TcpListener, address: Ipv4Addr, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        let Ok((mut stream, _)) = listener.accept() else {
            std::thread::sleep(Duration::from_millis(5));
            continue;
        };
        let mut serve = || {
            let mut buffer = [0; QUESTION.len()];
            stream.set_nonblocking(false)?;
            stream.set_read_timeout(Some(LONG))?;
            stream.read_exact(&mut buffer)?;
            stream.write_all(&buffer)?;
            stream.write_all(&address.octets())
        };
        let _ = serve();
    }
}

fn ask_udp(target: SocketAddr) -> Option<Ipv4Addr> {
    let socket = fresh_udp_socket();
    socket.connect(target).ok()?;
    socket.set_read_timeout(Some(PATIENCE)).ok()?;
    let mut answer = [0; ANSWER];
    let deadline = Instant::now() + LONG;
    while Instant::now() < deadline {
        socket.send(QUESTION).ok()?;
        match socket.recv(&mut answer) {
            Ok(ANSWER) if answer.starts_with(QUESTION) => return responder(&answer),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => return None,
            _ => {}
        }
    }
    None
}

fn ask_tcp(target: SocketAddr) -> Option<Ipv4Addr> {
    let mut stream = TcpStream::connect_timeout(&target, LONG).ok()?;
    stream.set_read_timeout(Some(LONG)).ok()?;
    stream.write_all(QUESTION).ok()?;
    let mut answer = [0; ANSWER];
    stream.read_exact(&mut answer).ok()?;
    answer.starts_with(QUESTION).then(|| responder(&answer)).flatten()
}

/// A port that was not used before: connection tracking must not take the question for part of an older flow.
fn fresh_udp_socket() -> UdpSocket {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    loop {
        let port = 20_000 + NEXT.fetch_add(1, Ordering::Relaxed) % 10_000;
        if let Ok(socket) = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)) {
            return socket;
        }
    }
}

fn responder(answer: &[u8; ANSWER]) -> Option<Ipv4Addr> {
    let octets: [u8; 4] = answer[QUESTION.len()..].try_into().ok()?;
    Some(octets.into())
}

const QUESTION: &[u8; 13] = b"who is there?";
const ANSWER: usize = QUESTION.len() + 4;
const PATIENCE: Duration = Duration::from_millis(50);
const LONG: Duration = Duration::from_millis(500);
