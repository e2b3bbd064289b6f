//! The sockets of a client: one connected to the gateway, one that hears announcements.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::{Duration, Instant};

use mio::net::UdpSocket;
use mio::{Interest, Registry, Token};
use socket2::{Domain, Protocol, Socket, Type};

/// Where to send from, and where to hear announcements.
#[derive(Clone, Debug)]
pub(crate) struct Addresses {
    pub(crate) local: Option<Ipv4Addr>,
    pub(crate) interface: Option<String>,
    /// `None`: announcements are not heard.
    pub(crate) announcements: Option<SocketAddrV4>,
}

#[derive(Debug)]
pub(super) struct Sockets {
    registry: Registry,
    addresses: Addresses,
    gateway: SocketAddrV4,
    request: Option<UdpSocket>,
    last_use: Option<Instant>,
    announcements: Option<UdpSocket>,
}

/// Which socket something happened on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Which {
    Request,
    Announcements,
}

/// What a socket had.
#[derive(Debug)]
pub(super) enum Received<'a> {
    Datagram(SocketAddrV4, &'a [u8]),
    /// ICMP port unreachable.
    Unreachable,
    /// Another error: the network is down.
    Down(io::Error),
    Nothing,
}

impl Sockets {
    /// Opens the announcement socket if it is wanted and can be had; the request socket is opened when it is needed.
    pub(super) fn new(registry: Registry, addresses: Addresses, gateway: SocketAddrV4) -> (Self, io::Result<()>) {
        let mut sockets = Self { registry, addresses, gateway, request: None, last_use: None, announcements: None };
        let result = sockets.open_announcements();
        (sockets, result)
    }

    pub(super) fn set_gateway(&mut self, gateway: SocketAddrV4) {
        self.gateway = gateway;
        self.request = None;
    }

    /// Sends to the gateway.
    ///
    /// The socket is connected, which is what makes port unreachable heard. It is opened anew after a while of disuse and
    /// in a long silence, since the local address and the route may have changed; each time from another random port.
    pub(super) fn send(&mut self, payload: &[u8], resends: u8) -> io::Result<()> {
        let is_stale = self.last_use.is_none_or(|at| at.elapsed() > DISUSE);
        if is_stale || resends >= MANY_RESENDS {
            self.request = None;
        }
        let socket = match self.request.take() {
            Some(socket) => socket,
            None => self.open_request()?,
        };
        let socket = self.request.insert(socket);
        self.last_use = Some(Instant::now());
        match socket.send(payload) {
            // The packet is lost, as packets are; it will be sent again.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            result => result.map(|_| ()),
        }
    }

    /// What a socket has next. After an error the request socket is opened anew for the next send.
    pub(super) fn receive<'a>(&mut self, which: Which, buffer: &'a mut [u8]) -> Received<'a> {
        let socket = match which {
            Which::Request => &self.request,
            Which::Announcements => &self.announcements,
        };
        let Some(socket) = socket else { return Received::Nothing };
        match socket.recv_from(buffer) {
            Ok((length, SocketAddr::V4(from))) => Received::Datagram(from, buffer.get(..length).unwrap_or_default()),
            Ok(_) => Received::Nothing,
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Received::Nothing,
                _ if which == Which::Announcements => Received::Nothing,
                // On Windows a reset is how port unreachable is told.
                io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset => Received::Unreachable,
                _ => {
                    self.request = None;
                    Received::Down(error)
                }
            },
        }
    }

    /// Forgets a socket that failed.
    pub(super) fn forget_request(&mut self) {
        self.request = None;
    }

    fn open_request(&self) -> io::Result<UdpSocket> {
        self.register(self.addresses.connect(self.gateway)?, REQUEST)
    }

    fn open_announcements(&mut self) -> io::Result<()> {
        let Some(address) = self.addresses.announcements else { return Ok(()) };
        let socket = self.addresses.open(address)?;
        if address.ip().is_multicast() {
            // All hosts are in this group anyway; systems differ on whether it must, or may, be joined.
            let interface = self.addresses.local.unwrap_or(Ipv4Addr::UNSPECIFIED);
            let _ = socket.join_multicast_v4(address.ip(), &interface);
        }
        self.announcements = Some(self.register(socket, ANNOUNCEMENTS)?);
        Ok(())
    }

    fn register(&self, socket: Socket, token: Token) -> io::Result<UdpSocket> {
        let mut socket = UdpSocket::from_std(socket.into());
        self.registry.register(&mut socket, token, Interest::READABLE)?;
        Ok(socket)
    }
}

impl Addresses {
    /// The local address that the system chooses, or was told to choose, for packets to the gateway. Nothing is sent.
    pub(super) fn local_address(&self, gateway: SocketAddrV4) -> io::Result<Ipv4Addr> {
        let address = self.connect(gateway)?.local_addr()?.as_socket_ipv4();
        address.map(|address| *address.ip()).ok_or(io::ErrorKind::AddrNotAvailable.into())
    }

    fn connect(&self, gateway: SocketAddrV4) -> io::Result<Socket> {
        let socket = self.open(SocketAddrV4::new(self.local.unwrap_or(Ipv4Addr::UNSPECIFIED), 0))?;
        socket.connect(&gateway.into())?;
        Ok(socket)
    }

    fn open(&self, address: SocketAddrV4) -> io::Result<Socket> {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_nonblocking(true)?;
        if address.port() != 0 {
            // Several clients of a host hear announcements (section 3.2.1).
            socket.set_reuse_address(true)?;
            #[cfg(all(unix, not(target_os = "linux")))]
            socket.set_reuse_port(true)?;
        }
        if let Some(interface) = &self.interface {
            bind_to_interface(&socket, interface)?;
        }
        socket.bind(&address.into())?;
        Ok(socket)
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn bind_to_interface(socket: &Socket, interface: &str) -> io::Result<()> {
    socket.bind_device(Some(interface.as_bytes()))
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn bind_to_interface(_socket: &Socket, _interface: &str) -> io::Result<()> {
    Err(io::Error::new(
        io::ErrorKind::Unsupported,
        "an interface can be chosen on Linux only: choose a local address instead",
    ))
}

pub(super) const REQUEST: Token = Token(0);
pub(super) const ANNOUNCEMENTS: Token = Token(1);
pub(super) const WAKE: Token = Token(2);

const DISUSE: Duration = Duration::from_secs(10);

/// From the fifth send on, which is 3.75 s into the RFC's schedule.
const MANY_RESENDS: u8 = 4;
