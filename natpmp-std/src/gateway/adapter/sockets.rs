//! One socket for each internal address: it hears only what was sent to that address, and answers from it.

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, SocketAddrV4};

use mio::net::UdpSocket;
use mio::{Interest, Registry, Token};
use natpmp_proto::gateway::Transmit;
use socket2::{Domain, Protocol, Socket, Type};

use super::ServerError;
use super::interfaces::LocalAddress;

#[derive(Debug)]
pub(super) struct Sockets {
    sockets: Vec<(SocketAddrV4, UdpSocket)>,
    announce_to: SocketAddrV4,
    /// Which socket a client that still waits for its answer has asked.
    asked: HashMap<SocketAddrV4, usize>,
}

impl Sockets {
    pub(super) fn open(
        registry: &Registry,
        internal: &[LocalAddress],
        port: u16,
        announce_to: SocketAddrV4,
    ) -> Result<Self, ServerError> {
        let mut sockets = Vec::new();
        for (index, local) in internal.iter().enumerate() {
            let wanted = SocketAddrV4::new(local.address, port);
            let opened = open(registry, local, wanted, Token(index));
            sockets.push(opened.map_err(|error| ServerError::Socket { address: wanted, error })?);
        }
        Ok(Self { sockets, announce_to, asked: HashMap::new() })
    }

    /// Where requests are heard.
    pub(super) fn addresses(&self) -> Vec<SocketAddrV4> {
        self.sockets.iter().map(|(address, _)| *address).collect()
    }

    pub(super) fn len(&self) -> usize {
        self.sockets.len()
    }

    /// The next datagram on one of the sockets, if there is any.
    pub(super) fn receive<'a>(&self, index: usize, buffer: &'a mut [u8]) -> Option<(SocketAddrV4, &'a [u8])> {
        let (_, socket) = self.sockets.get(index)?;
        loop {
            match socket.recv_from(buffer) {
                Ok((length, SocketAddr::V4(from))) => return Some((from, buffer.get(..length)?)),
                // Port unreachable from a client that is gone concerns nobody else.
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => continue,
                _ => return None,
            }
        }
    }

    /// Answers from the address that was asked. What cannot be sent is lost, as packets are.
    pub(super) fn answer(&self, index: usize, to: SocketAddrV4, packet: &[u8]) {
        if let Some((_, socket)) = self.sockets.get(index) {
            log_failure(to, socket.send_to(packet, to.into()));
        }
    }

    /// This client will be answered later.
    pub(super) fn remember(&mut self, client: SocketAddrV4, index: usize) {
        if self.asked.len() >= MOST_WAITING {
            // They will ask again.
            self.asked.clear();
        }
        self.asked.insert(client, index);
    }

    /// Answers a client that was remembered.
    pub(super) fn answer_later(&mut self, to: SocketAddrV4, packet: &[u8]) {
        if let Some(index) = self.asked.remove(&to) {
            self.answer(index, to, packet);
        }
    }

    /// Sends an announcement out of each internal interface.
    pub(super) fn announce(&self, announcement: &Transmit) {
        for (_, socket) in &self.sockets {
            log_failure(self.announce_to, socket.send_to(&announcement.payload, self.announce_to.into()));
        }
    }
}

fn log_failure(to: SocketAddrV4, result: io::Result<usize>) {
    if let Err(error) = result {
        log::debug!("cannot send to {to}: {error}");
    }
}

fn open(
    registry: &Registry,
    local: &LocalAddress,
    address: SocketAddrV4,
    token: Token,
) -> io::Result<(SocketAddrV4, UdpSocket)> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    bind_to_interface(&socket, &local.interface)?;
    socket.bind(&address.into())?;
    socket.set_multicast_if_v4(&local.address)?;
    let bound = socket.local_addr()?.as_socket_ipv4().unwrap_or(address);
    let mut socket = UdpSocket::from_std(socket.into());
    registry.register(&mut socket, token, Interest::READABLE)?;
    Ok((bound, socket))
}

/// A host answers for its internal address on all of its interfaces; only this keeps the external side out (section 3.3).
#[cfg(any(target_os = "linux", target_os = "android"))]
fn bind_to_interface(socket: &Socket, interface: &str) -> io::Result<()> {
    socket.bind_device(Some(interface.as_bytes()))
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn bind_to_interface(_socket: &Socket, _interface: &str) -> io::Result<()> {
    Ok(())
}

const MOST_WAITING: usize = 65_536;
