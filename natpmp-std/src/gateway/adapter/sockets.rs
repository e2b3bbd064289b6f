//! One socket for each internal address: it hears only what was sent to that address, and answers from it.

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, SocketAddrV4, UdpSocket};

use natpmp_proto::gateway::Transmit;
use socket2::{Domain, Protocol, Socket, Type};

use super::interfaces::LocalAddress;
use crate::gateway::ServerError;

/// The sockets, each as the adapter waits for it.
pub(super) struct Sockets<L> {
    sockets: Vec<(SocketAddrV4, L)>,
    announce_to: SocketAddrV4,
    /// Which socket a client that still waits for its answer has asked.
    asked: HashMap<SocketAddrV4, usize>,
}

/// A UDP socket that does not block, as the adapter waits for it.
pub trait Listener {
    /// The next datagram.
    ///
    /// # Errors
    /// What the system says; [`WouldBlock`](io::ErrorKind::WouldBlock) if there is none.
    fn receive(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)>;

    /// Sends a datagram.
    ///
    /// # Errors
    /// What the system says.
    fn send_to(&self, payload: &[u8], to: SocketAddrV4) -> io::Result<usize>;
}

/// What a socket had.
#[derive(Debug)]
pub(super) enum Received<'a> {
    Datagram(SocketAddrV4, &'a [u8]),
    /// Port unreachable from a client that is gone, which concerns nobody else.
    Error,
    Nothing,
}

impl<L: Listener> Sockets<L> {
    /// Opens them; `register` makes the adapter wait for one.
    pub(super) fn open(
        internal: &[LocalAddress],
        port: u16,
        announce_to: SocketAddrV4,
        mut register: impl FnMut(UdpSocket) -> io::Result<L>,
    ) -> Result<Self, ServerError> {
        let mut sockets = Vec::new();
        for local in internal {
            let wanted = SocketAddrV4::new(local.address, port);
            let opened = open(local, wanted).and_then(|(address, socket)| Ok((address, register(socket)?)));
            sockets.push(opened.map_err(|error| ServerError::Socket { address: wanted, error })?);
        }
        Ok(Self { sockets, announce_to, asked: HashMap::new() })
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &L> {
        self.sockets.iter().map(|(_, socket)| socket)
    }

    /// Nothing is heard any more.
    pub(super) fn close(&mut self) {
        self.sockets.clear();
    }

    /// Where requests are heard.
    pub(super) fn addresses(&self) -> Vec<SocketAddrV4> {
        self.sockets.iter().map(|(address, _)| *address).collect()
    }

    pub(super) fn len(&self) -> usize {
        self.sockets.len()
    }

    /// What one of the sockets has next.
    pub(super) fn receive<'a>(&self, index: usize, buffer: &'a mut [u8]) -> Received<'a> {
        let Some((_, socket)) = self.sockets.get(index) else { return Received::Nothing };
        match socket.receive(buffer) {
            Ok((length, SocketAddr::V4(from))) => Received::Datagram(from, buffer.get(..length).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Received::Nothing,
            _ => Received::Error,
        }
    }

    /// Answers from the address that was asked. What cannot be sent is lost, as packets are.
    pub(super) fn answer(&self, index: usize, to: SocketAddrV4, packet: &[u8]) {
        if let Some((_, socket)) = self.sockets.get(index) {
            log_failure(to, socket.send_to(packet, to));
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
            log_failure(self.announce_to, socket.send_to(&announcement.payload, self.announce_to));
        }
    }
}

fn log_failure(to: SocketAddrV4, result: io::Result<usize>) {
    if let Err(error) = result {
        log::debug!("cannot send to {to}: {error}");
    }
}

fn open(local: &LocalAddress, address: SocketAddrV4) -> io::Result<(SocketAddrV4, UdpSocket)> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    bind_to_interface(&socket, &local.interface)?;
    socket.bind(&address.into())?;
    socket.set_multicast_if_v4(&local.address)?;
    let bound = socket.local_addr()?.as_socket_ipv4().unwrap_or(address);
    Ok((bound, socket.into()))
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
