//! UDP: a socket for each mapping on the external address, and one for each peer towards the client.

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, SocketAddrV4};
use std::time::Instant;

use mio::net::UdpSocket;
use mio::{Interest, Registry, Token};

use super::RelayLimits;
use super::open;
use super::worker::Turn;

#[derive(Debug)]
pub(super) struct Udp {
    limits: RelayLimits,
    doors: HashMap<Token, Door>,
    peers: HashMap<Token, Peer>,
    /// When the first peer may have been idle for too long.
    sweep_at: Option<Instant>,
    buffer: Box<[u8]>,
}

/// What a mapping is on the external address.
#[derive(Debug)]
struct Door {
    socket: UdpSocket,
    address: SocketAddrV4,
    internal: SocketAddrV4,
    peers: HashMap<SocketAddrV4, Token>,
}

/// Somebody who sent to a mapping; what the client sends to this socket goes back there.
#[derive(Debug)]
struct Peer {
    socket: UdpSocket,
    door: Token,
    address: SocketAddrV4,
    has_answer: bool,
    last_use: Instant,
}

impl Udp {
    pub(super) fn new(limits: RelayLimits) -> Self {
        let buffer = vec![0; LARGEST_DATAGRAM].into_boxed_slice();
        Self { limits, doors: HashMap::new(), peers: HashMap::new(), sweep_at: None, buffer }
    }

    pub(super) fn has(&self, token: Token) -> bool {
        self.doors.contains_key(&token) || self.peers.contains_key(&token)
    }

    pub(super) fn open(
        &mut self,
        token: Token,
        address: SocketAddrV4,
        internal: SocketAddrV4,
        registry: &Registry,
    ) -> io::Result<()> {
        let mut socket = UdpSocket::bind(address.into())?;
        registry.register(&mut socket, token, Interest::READABLE)?;
        self.doors.insert(token, Door { socket, address, internal, peers: HashMap::new() });
        Ok(())
    }

    pub(super) fn close(&mut self, token: Token) {
        let peers = self.doors.remove(&token).map(|door| door.peers).unwrap_or_default();
        for peer in peers.into_values() {
            self.peers.remove(&peer);
        }
    }

    /// When [`expire`](Self::expire) has something to do.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.sweep_at
    }

    pub(super) fn expire(&mut self, now: Instant) {
        if self.sweep_at.is_none_or(|at| at > now) {
            return;
        }
        let idle = self.limits.idle;
        let expired: Vec<Token> = self
            .peers
            .iter()
            .filter(|(_, peer)| now.saturating_duration_since(peer.last_use) >= idle)
            .map(|(token, _)| *token)
            .collect();
        for token in expired {
            self.forget(token);
        }
        let oldest = self.peers.values().map(|peer| peer.last_use).min();
        self.sweep_at = oldest.and_then(|oldest| oldest.checked_add(idle));
    }

    /// Whether there is more to do; `None` if it is no socket of ours.
    pub(super) fn take_turn(&mut self, token: Token, turn: &mut Turn<'_>) -> Option<bool> {
        if self.doors.contains_key(&token) {
            Some((0..BUDGET).all(|_| self.pass_inward(token, turn).is_some()))
        } else if self.peers.contains_key(&token) {
            Some((0..BUDGET).all(|_| self.pass_outward(token).is_some()))
        } else {
            None
        }
    }

    /// One datagram from a peer to the client; `None` if there is none.
    fn pass_inward(&mut self, token: Token, turn: &mut Turn<'_>) -> Option<()> {
        let door = self.doors.get(&token)?;
        let (length, from) = match door.socket.recv_from(&mut self.buffer) {
            Ok((length, SocketAddr::V4(from))) => (length, from),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return None,
            // Such as, on Windows, what became of an answer.
            _ => return Some(()),
        };
        if self.is_ours(door, from) {
            return Some(());
        }
        let known = door.peers.get(&from).copied();
        let Some(peer) = known.or_else(|| self.admit(token, from, turn)) else { return Some(()) };
        let (Some(peer), Some(datagram)) = (self.peers.get_mut(&peer), self.buffer.get(..length)) else {
            return Some(());
        };
        peer.last_use = Instant::now();
        match peer.socket.send(datagram) {
            // That was about the datagram before: the client did not listen then. Now it may.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                let _ = peer.socket.send(datagram);
            }
            // Lost, as datagrams are.
            _ => {}
        }
        Some(())
    }

    /// One datagram from the client to a peer; `None` if there is none.
    fn pass_outward(&mut self, token: Token) -> Option<()> {
        let peer = self.peers.get_mut(&token)?;
        match peer.socket.recv(&mut self.buffer) {
            Ok(length) => {
                peer.last_use = Instant::now();
                peer.has_answer = true;
                if let (Some(door), Some(datagram)) = (self.doors.get(&peer.door), self.buffer.get(..length)) {
                    let _ = door.socket.send_to(datagram, peer.address.into());
                }
                Some(())
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
            // The client does not listen at present.
            Err(_) => Some(()),
        }
    }

    /// Two mappings whose clients answer everything would keep each other busy for ever.
    fn is_ours(&self, door: &Door, from: SocketAddrV4) -> bool {
        from.ip() == door.address.ip() && self.doors.values().any(|door| door.address == from)
    }

    /// Makes room for a peer, and takes it on.
    fn admit(&mut self, token: Token, address: SocketAddrV4, turn: &mut Turn<'_>) -> Option<Token> {
        if self.doors.get(&token)?.peers.len() >= self.limits.peers_per_mapping {
            self.forget(self.most_dispensable(token)?);
        }
        if self.peers.len() >= self.limits.peers {
            self.forget(self.most_dispensable_of_all()?);
        }
        let internal = self.doors.get(&token)?.internal;
        let mut socket = match open::udp_to(internal) {
            Ok(socket) => socket,
            Err(_) => {
                // No more files, perhaps: one makes room for another.
                self.forget(self.most_dispensable_of_all()?);
                open::udp_to(internal).ok()?
            }
        };
        let name = turn.tokens.next(|token| self.has(token));
        turn.registry.register(&mut socket, name, Interest::READABLE).ok()?;
        let peer = Peer { socket, door: token, address, has_answer: false, last_use: Instant::now() };
        self.peers.insert(name, peer);
        self.doors.get_mut(&token)?.peers.insert(address, name);
        if self.sweep_at.is_none() {
            self.sweep_at = turn.now.checked_add(self.limits.idle);
        }
        Some(name)
    }

    /// The peer of this mapping that gives way. Who has an answer is no forged sender.
    fn most_dispensable(&self, door: Token) -> Option<Token> {
        let peers = self.doors.get(&door)?.peers.values().filter_map(|token| Some((*token, self.peers.get(token)?)));
        peers.min_by_key(|(_, peer)| (peer.has_answer, peer.last_use)).map(|(token, _)| token)
    }

    /// The mapping that has most gives one up.
    fn most_dispensable_of_all(&self) -> Option<Token> {
        let (door, _) = self.doors.iter().max_by_key(|(_, door)| door.peers.len())?;
        self.most_dispensable(*door)
    }

    fn forget(&mut self, token: Token) {
        let Some(peer) = self.peers.remove(&token) else { return };
        if let Some(door) = self.doors.get_mut(&peer.door) {
            door.peers.remove(&peer.address);
        }
    }
}

/// Datagrams in a turn.
const BUDGET: usize = 32;
const LARGEST_DATAGRAM: usize = 65_535;
