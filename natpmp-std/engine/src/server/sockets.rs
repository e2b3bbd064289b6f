//! The sockets of a server, one for each internal address: it receives only what was sent to that address, and answers from it.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};

use natpmp_proto::{SocketId, Transmit, TransmitKind};
use socket2::{Domain, Protocol, Socket, Type};

use super::ServerError;
use super::interfaces::LocalAddress;
use crate::DatagramSocket;

/// The sockets, each as the adapter waits for it.
pub(super) struct Sockets<S> {
    sockets: Vec<Open<S>>,
    register: RegisterFn<S>,
    /// Where the server listened when it started. A port that the system chose then stays.
    addresses: Vec<SocketAddrV4>,
    announce_to: SocketAddrV4,
    /// All addresses that there was ever a socket for, in the order of their numbers. One that comes back has its old number, so that
    /// a client that asked there gets its answer from there.
    numbered: Vec<Ipv4Addr>,
    /// Addresses whose socket could not be opened again, of which the log has warned.
    unavailable: Vec<Ipv4Addr>,
}

/// A socket that is open.
struct Open<S> {
    id: SocketId,
    local: LocalAddress,
    socket: S,
}

/// Makes the adapter wait for a socket.
type RegisterFn<S> = Box<dyn FnMut(UdpSocket) -> io::Result<S> + Send>;

/// What a socket had to read.
#[derive(Debug)]
pub(super) enum ServerInput<'a> {
    /// A datagram, with the number of the socket and its sender.
    Datagram(SocketId, SocketAddrV4, &'a [u8]),
    /// An error about one client: its port is unreachable, for example, because it is gone.
    Error,
    /// Nothing at present.
    Nothing,
}

impl<S: DatagramSocket> Sockets<S> {
    /// Opens a socket for each address; `register` makes the adapter wait for it.
    pub(super) fn open(
        internal: &[LocalAddress],
        port: u16,
        announce_to: SocketAddrV4,
        mut register: impl FnMut(UdpSocket) -> io::Result<S> + Send + 'static,
    ) -> Result<Self, ServerError> {
        let (mut sockets, mut addresses, mut numbered) = (Vec::new(), Vec::new(), Vec::new());
        for local in internal {
            let wanted = SocketAddrV4::new(local.address, port);
            let opened = open(local, wanted).and_then(|(address, socket)| Ok((address, register(socket)?)));
            let (address, socket) = opened.map_err(|error| ServerError::Socket { address: wanted, error })?;
            addresses.push(address);
            sockets.push(Open { id: socket_id(&mut numbered, local.address), local: local.clone(), socket });
        }
        Ok(Self { sockets, register: Box::new(register), addresses, announce_to, numbered, unavailable: Vec::new() })
    }

    /// The internal addresses have changed to these. Closes the socket of an address that is gone, or whose interface has been replaced:
    /// it would receive nothing any more, without an error. Keeps one of which the network mask alone has changed.
    pub(super) fn update_addresses(&mut self, internal: &[LocalAddress]) {
        let has = |address| internal.iter().any(|local| local.address == address);
        self.sockets.retain_mut(|Open { local, .. }| {
            if !has(local.address) {
                log::warn!(
                    "{} has not the address {} any more: no request is heard there until it is back",
                    local.interface,
                    local.address
                );
            }
            let now = internal.iter().find(|now| local.is_still(now));
            if let Some(now) = now {
                *local = LocalAddress { index: now.index.or(local.index), ..now.clone() };
            }
            now.is_some()
        });
        self.unavailable.retain(|address| has(*address));
        for local in internal {
            if self.at(local.address).is_none() {
                self.reopen(local);
            }
        }
    }

    fn reopen(&mut self, local: &LocalAddress) {
        // The port does not change with the address.
        let first = self.addresses.iter().find(|first| *first.ip() == local.address).or(self.addresses.first());
        let wanted = SocketAddrV4::new(local.address, first.map_or(0, SocketAddrV4::port));
        match open(local, wanted).and_then(|(_, socket)| (self.register)(socket)) {
            Ok(socket) => {
                log::info!("listening on {wanted}, on {}", local.interface);
                self.unavailable.retain(|address| *address != local.address);
                let id = socket_id(&mut self.numbered, local.address);
                self.sockets.push(Open { id, local: local.clone(), socket });
            }
            // The next reading of the addresses tries it again.
            Err(error) if !self.unavailable.contains(&local.address) => {
                log::warn!("cannot listen on {wanted} for now: {error}");
                self.unavailable.push(local.address);
            }
            Err(_) => {}
        }
    }

    /// The socket of this address, if one is open.
    fn at(&self, address: Ipv4Addr) -> Option<&S> {
        self.sockets.iter().find(|open| open.local.address == address).map(|open| &open.socket)
    }

    /// All sockets that are open.
    pub(super) fn iter(&self) -> impl Iterator<Item = &S> {
        self.sockets.iter().map(|open| &open.socket)
    }

    /// Closes all sockets.
    pub(super) fn close(&mut self) {
        self.sockets.clear();
    }

    /// Where the server listened when it started.
    pub(super) fn addresses(&self) -> Vec<SocketAddrV4> {
        self.addresses.clone()
    }

    /// How many sockets are open.
    pub(super) fn len(&self) -> usize {
        self.sockets.len()
    }

    /// The address of a socket, by its place.
    pub(super) fn local(&self, index: usize) -> Option<&LocalAddress> {
        self.sockets.get(index).map(|open| &open.local)
    }

    /// Another socket takes the first place.
    pub(super) fn rotate(&mut self) {
        if self.sockets.len() > 1 {
            self.sockets.rotate_left(1);
        }
    }

    /// Reads from a socket, by its place.
    pub(super) fn receive<'a>(&self, index: usize, buffer: &'a mut [u8]) -> ServerInput<'a> {
        let Some(Open { id, socket, .. }) = self.sockets.get(index) else { return ServerInput::Nothing };
        match socket.receive(buffer) {
            Ok((length, SocketAddr::V4(from))) => {
                ServerInput::Datagram(*id, from, buffer.get(..length).unwrap_or_default())
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => ServerInput::Nothing,
            _ => ServerInput::Error,
        }
    }

    /// Sends what the machine says: an answer from the address that was asked, an announcement from each. `request` is the datagram
    /// that the machine was given last. What cannot be sent is lost, as packets are.
    pub(super) fn send(&self, transmit: &Transmit, request: &[u8]) {
        log::debug!("to {}: {:?}: {:?}", transmit.to, transmit.kind, transmit.payload);
        match transmit.kind {
            TransmitKind::Answer { socket } => self.answer(socket, transmit.to, &transmit.payload),
            TransmitKind::Echo { socket } => {
                if let Some(packet) = transmit.write(request, &mut [0; LONGEST_REQUEST]) {
                    self.answer(socket, transmit.to, packet);
                }
            }
            TransmitKind::Announcement => {
                for Open { socket, .. } in &self.sockets {
                    log_failure(self.announce_to, socket.send_to(&transmit.payload, self.announce_to));
                }
            }
            // A gateway makes none.
            TransmitKind::Request { .. } => {}
        }
    }

    fn answer(&self, id: SocketId, to: SocketAddrV4, packet: &[u8]) {
        // It may be closed by now, or be another one at the same address.
        if let Some(open) = self.sockets.iter().find(|open| open.id == id) {
            log_failure(to, open.socket.send_to(packet, to));
        }
    }
}

/// The number of an address: the one that it had before, or the next.
fn socket_id(numbered: &mut Vec<Ipv4Addr>, address: Ipv4Addr) -> SocketId {
    let known = numbered.iter().position(|known| *known == address);
    let number = known.unwrap_or_else(|| {
        numbered.push(address);
        numbered.len().saturating_sub(1)
    });
    // No host has had so many addresses.
    SocketId(u16::try_from(number).unwrap_or(u16::MAX))
}

fn log_failure(to: SocketAddrV4, result: io::Result<usize>) {
    if let Err(error) = result {
        log::debug!("cannot send to {to}: {error}");
    }
}

fn open(local: &LocalAddress, address: SocketAddrV4) -> io::Result<(SocketAddrV4, UdpSocket)> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    // For many clients that come back at the same time, after a power failure perhaps; less is no failure.
    let _ = socket.set_recv_buffer_size(ROOM_FOR_REQUESTS);
    bind_to_interface(&socket, &local.interface)?;
    socket.bind(&address.into())?;
    socket.set_multicast_if_v4(&local.address)?;
    let bound = socket.local_addr()?.as_socket_ipv4().unwrap_or(address);
    Ok((bound, socket.into()))
}

/// A host accepts packets to its internal address on all of its interfaces; only this keeps the external side out (section 3.3).
#[cfg(any(target_os = "linux", target_os = "android"))]
fn bind_to_interface(socket: &Socket, interface: &str) -> io::Result<()> {
    socket.bind_device(Some(interface.as_bytes()))
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn bind_to_interface(_socket: &Socket, _interface: &str) -> io::Result<()> {
    Ok(())
}

/// The longest packet of PCP; the answer to an unknown opcode is the whole request.
pub(super) const LONGEST_REQUEST: usize = 1_100;
/// In bytes, as the system counts them: some thousand requests. Linux gives at most `net.core.rmem_max`, twice.
const ROOM_FOR_REQUESTS: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// So that a client that asked there before it went gets its answer from there.
    #[test]
    fn an_address_that_comes_back_has_the_number_it_had() {
        let (first, second) = (loopback(), LocalAddress { address: Ipv4Addr::new(127, 0, 0, 2), ..loopback() });
        let both = [first.clone(), second.clone()];
        let mut sockets = Sockets::open(&both, 0, ANNOUNCE_TO, |_| Ok(Mute)).unwrap();
        let ids = |sockets: &Sockets<Mute>| {
            let mut ids: Vec<_> = sockets.sockets.iter().map(|open| (open.local.address, open.id)).collect();
            ids.sort_unstable();
            ids
        };
        let before = ids(&sockets);
        assert_eq!(before, [(first.address, SocketId(0)), (second.address, SocketId(1))]);
        sockets.update_addresses(&both[1..]);
        assert_eq!(ids(&sockets), before[1..]);
        sockets.update_addresses(&both);
        assert_eq!(ids(&sockets), before);
    }

    /// The mask decides which clients are neighbours.
    #[test]
    fn another_netmask_at_the_same_address_counts_for_the_same_socket() {
        let opened = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&opened);
        let register = move |_| {
            counted.fetch_add(1, Ordering::Relaxed);
            Ok(Mute)
        };
        let before = loopback();
        let mut sockets = Sockets::open(std::slice::from_ref(&before), 0, ANNOUNCE_TO, register).unwrap();
        let wider = LocalAddress { netmask: Ipv4Addr::new(254, 0, 0, 0), ..before.clone() };
        sockets.update_addresses(std::slice::from_ref(&wider));
        assert_eq!(sockets.local(0), Some(&wider));
        sockets.update_addresses(&[LocalAddress { index: None, ..before.clone() }]);
        assert_eq!(sockets.local(0), Some(&before), "the number that the system did not say is the one it was");
        assert_eq!(opened.load(Ordering::Relaxed), 1);
    }

    fn loopback() -> LocalAddress {
        let netmask = Ipv4Addr::new(255, 0, 0, 0);
        LocalAddress { address: Ipv4Addr::LOCALHOST, interface: "lo".into(), index: Some(1), netmask }
    }

    const ANNOUNCE_TO: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 9);

    struct Mute;

    impl DatagramSocket for Mute {
        fn send(&self, payload: &[u8]) -> io::Result<usize> {
            Ok(payload.len())
        }

        fn receive(&self, _buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
            Err(io::ErrorKind::WouldBlock.into())
        }

        fn send_to(&self, payload: &[u8], _to: SocketAddrV4) -> io::Result<usize> {
            Ok(payload.len())
        }
    }
}
