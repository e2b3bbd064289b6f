//! The sockets of a client: one connected to the gateway, one that receives announcements.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
#[cfg(unix)]
use std::os::fd::OwnedFd;
use std::time::Duration;

use crate::DatagramSocket;
use log::debug;
use natpmp_proto::Instant;
use socket2::{Domain, Protocol, Socket, Type};

/// Where to send from, and where to receive announcements.
#[derive(Clone, Debug)]
pub(crate) struct Addresses {
    pub(crate) local: Option<Ipv4Addr>,
    pub(crate) interface: Option<String>,
    /// `None`: announcements are not received.
    pub(crate) announcements: Option<SocketAddrV4>,
}

/// The sockets, each as the adapter waits for it.
pub(crate) struct Sockets<R: Register> {
    pub(crate) register: R,
    addresses: Addresses,
    gateway: SocketAddrV4,
    request: Option<R::Socket>,
    last_use: Instant,
    announcements: Option<R::Socket>,
    /// Not used any more, and to be dropped without the lock: what waits for one may be the last of a task.
    retired: Vec<R::Socket>,
}

/// How an adapter waits for sockets, and for whatever else there is.
pub trait Register {
    /// A socket that it waits for.
    type Socket: DatagramSocket;

    /// Waits for this one from now on, until it is dropped. It does not block.
    /// [`ClientEngine::note_readable`](super::ClientEngine::note_readable) is to be called whenever more has come since it was read empty.
    ///
    /// # Errors
    /// What the system says.
    fn register(&mut self, source: Source, socket: UdpSocket) -> io::Result<Self::Socket>;

    /// As [`register`](Self::register), for one that is read by others. It does not block.
    ///
    /// # Errors
    /// What the system says.
    #[cfg(unix)]
    fn watch(&mut self, source: Source, descriptor: OwnedFd) -> io::Result<()>;
}

/// Where something happens that is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Source {
    /// The socket that is connected to the gateway.
    Request,
    /// The one that receives announcements.
    Announcements,
    /// Those that are connected to gateways which were asked before.
    PreviousGateways,
    /// What the system reports of its routes.
    Routes,
    /// The timer. Nothing is read from it.
    Timer,
}

impl Source {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Request, Self::Announcements, Self::PreviousGateways, Self::Routes, Self::Timer];
}

/// What a socket had.
#[derive(Debug)]
pub(crate) enum ClientInput<'a> {
    Datagram(SocketAddrV4, &'a [u8]),
    /// ICMP port unreachable.
    Unreachable,
    /// Another error: the network is down.
    Down(io::Error),
    /// It could not be read now, and is to be read once more.
    Later,
    Nothing,
}

impl<R: Register> Sockets<R> {
    /// Opens the announcement socket if it is wanted and can be had; the request socket is opened when it is needed.
    pub(crate) fn new(register: R, addresses: Addresses, gateway: SocketAddrV4) -> (Self, io::Result<()>) {
        let mut sockets = Self {
            register,
            addresses,
            gateway,
            request: None,
            last_use: Instant::ZERO,
            announcements: None,
            retired: Vec::new(),
        };
        let result = sockets.open_announcements();
        (sockets, result)
    }

    pub(crate) fn set_gateway(&mut self, gateway: SocketAddrV4) {
        self.gateway = gateway;
        self.forget_request();
    }

    /// The way to the gateway is another one: what is open belongs to the one before.
    pub(crate) fn reopen(&mut self) -> io::Result<()> {
        self.forget_request();
        self.retired.extend(self.announcements.take());
        self.open_announcements().inspect_err(|error| debug!("announcements of the gateway cannot be heard: {error}"))
    }

    /// One more, connected to this gateway.
    pub(crate) fn connect(&mut self, source: Source, gateway: SocketAddrV4) -> io::Result<R::Socket> {
        self.register.register(source, self.addresses.connect(gateway)?.into())
    }

    pub(crate) fn socket(&self, source: Source) -> Option<&R::Socket> {
        match source {
            Source::Request => self.request.as_ref(),
            Source::Announcements => self.announcements.as_ref(),
            Source::PreviousGateways | Source::Routes | Source::Timer => None,
        }
    }

    /// Sends to the gateway.
    ///
    /// The socket is connected, without which port unreachable is not reported. It is opened anew after a while of disuse and
    /// in a long silence, since the local address and the route may have changed; each time from another random port.
    pub(crate) fn send(&mut self, now: Instant, payload: &[u8], resends: u8) -> io::Result<()> {
        if now.saturating_since(self.last_use) > DISUSE || resends >= MANY_RESENDS {
            self.forget_request();
        }
        let socket = match self.request.take() {
            Some(socket) => socket,
            None => self.connect(Source::Request, self.gateway)?,
        };
        let socket = self.request.insert(socket);
        self.last_use = now;
        match socket.send(payload) {
            // The packet is lost, as packets are; it will be sent again.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            result => result.map(|_| ()),
        }
    }

    /// What a socket has next. After an error the request socket is opened anew for the next send.
    pub(crate) fn receive<'a>(&mut self, source: Source, buffer: &'a mut [u8]) -> ClientInput<'a> {
        let Some(socket) = self.socket(source) else { return ClientInput::Nothing };
        match socket.receive(buffer) {
            Ok((length, SocketAddr::V4(from))) => ClientInput::Datagram(from, buffer.get(..length).unwrap_or_default()),
            Ok(_) => ClientInput::Later,
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock => ClientInput::Nothing,
                io::ErrorKind::Interrupted => ClientInput::Later,
                _ if source == Source::Announcements => ClientInput::Later,
                // Windows reports port unreachable as a reset.
                io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset => ClientInput::Unreachable,
                _ => {
                    self.forget_request();
                    ClientInput::Down(error)
                }
            },
        }
    }

    /// Forgets a socket that failed.
    pub(crate) fn forget_request(&mut self) {
        self.retired.extend(self.request.take());
    }

    /// One more that is not used any more.
    pub(crate) fn retire(&mut self, socket: R::Socket) {
        self.retired.push(socket);
    }

    /// Drops what is not used any more.
    pub(crate) fn drop_retired(&mut self) {
        self.retired.clear();
    }

    fn open_announcements(&mut self) -> io::Result<()> {
        let Some(address) = self.addresses.announcements else { return Ok(()) };
        let socket = self.addresses.open(address)?;
        if address.ip().is_multicast() {
            // All hosts are in this group anyway; systems differ on whether it must, or may, be joined.
            let interface = self.addresses.local.unwrap_or(Ipv4Addr::UNSPECIFIED);
            let _ = socket.join_multicast_v4(address.ip(), &interface);
        }
        self.announcements = Some(self.register.register(Source::Announcements, socket.into())?);
        Ok(())
    }
}

impl Addresses {
    /// The local address that the system chooses, or that was chosen, for packets to the gateway. Nothing is sent.
    pub(crate) fn local_address(&self, gateway: SocketAddrV4) -> io::Result<Ipv4Addr> {
        let address = self.connect(gateway)?.local_addr()?.as_socket_ipv4();
        address.map(|address| *address.ip()).ok_or(io::ErrorKind::AddrNotAvailable.into())
    }

    fn connect(&self, gateway: SocketAddrV4) -> io::Result<Socket> {
        if gateway.ip().is_unspecified() {
            // None is known yet; and to some systems it is another name of this host.
            return Err(io::ErrorKind::NetworkUnreachable.into());
        }
        let socket = self.open(SocketAddrV4::new(self.local.unwrap_or(Ipv4Addr::UNSPECIFIED), 0))?;
        socket.connect(&gateway.into())?;
        Ok(socket)
    }

    fn open(&self, address: SocketAddrV4) -> io::Result<Socket> {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_nonblocking(true)?;
        if address.port() != 0 {
            // Several clients of a host receive announcements (section 3.2.1).
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

const DISUSE: Duration = Duration::from_secs(10);

/// From the fifth send on, which is 3.75 s into the RFC's schedule.
const MANY_RESENDS: u8 = 4;

#[cfg(test)]
mod tests {
    use super::*;

    /// What an attacker would have to guess is worth nothing to it for long.
    #[test]
    fn requests_leave_from_another_port_after_disuse_and_in_a_long_silence() {
        let gateway = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        gateway.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let SocketAddr::V4(address) = gateway.local_addr().unwrap() else { panic!("IPv4") };
        let addresses = Addresses { local: None, interface: None, announcements: None };
        let (mut sockets, _) = Sockets::new(Plain, addresses, address);
        let mut port_of = |seconds, resends| {
            sockets.send(Instant::from_secs(seconds), &[0, 0], resends).unwrap();
            gateway.recv_from(&mut [0; 8]).unwrap().1.port()
        };
        let first = port_of(100, 0);
        assert_eq!([port_of(100, 1), port_of(101, 2), port_of(103, 3)], [first; 3], "the answer may still come");
        let silent = port_of(107, 4);
        let later = port_of(118, 0);
        // Of 28,232 ports two may be the same by chance.
        let more = [port_of(200, 0), port_of(300, 0)];
        let different: std::collections::HashSet<_> = [first, silent, later, more[0], more[1]].into();
        assert!(different.len() >= 4, "{different:?}");
    }

    struct Plain;

    impl Register for Plain {
        type Socket = UdpSocket;

        fn register(&mut self, _source: Source, socket: UdpSocket) -> io::Result<UdpSocket> {
            Ok(socket)
        }

        #[cfg(unix)]
        fn watch(&mut self, _source: Source, _descriptor: OwnedFd) -> io::Result<()> {
            Ok(())
        }
    }

    impl DatagramSocket for UdpSocket {
        fn send(&self, payload: &[u8]) -> io::Result<usize> {
            Self::send(self, payload)
        }

        fn send_to(&self, payload: &[u8], to: SocketAddrV4) -> io::Result<usize> {
            Self::send_to(self, payload, to)
        }

        fn receive(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
            self.recv_from(buffer)
        }
    }
}
