//! UDP: a socket for each mapping on the external address, and one for each peer towards the client.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::Instant;

use mio::net::UdpSocket;
use mio::{Interest, Registry, Token};

use super::RelayLimits;
use super::turns::Turn;

/// The UDP mappings, and the peers that have sent to them.
#[derive(Debug)]
pub(super) struct UdpRelay {
    limits: RelayLimits,
    listeners: HashMap<Token, Listener>,
    peers: HashMap<Token, Peer>,
    /// When the first peer may have been idle for too long.
    sweep_at: Option<Instant>,
    buffer: Box<[u8]>,
}

/// The external end of a mapping.
#[derive(Debug)]
struct Listener {
    socket: UdpSocket,
    address: SocketAddrV4,
    internal: SocketAddrV4,
    peers: HashMap<SocketAddrV4, Token>,
}

/// A host that has sent to a mapping. What the client sends to this socket goes back to that host.
#[derive(Debug)]
struct Peer {
    socket: UdpSocket,
    listener: Token,
    address: SocketAddrV4,
    has_answer: bool,
    last_use: Instant,
}

impl UdpRelay {
    pub(super) fn new(limits: RelayLimits) -> Self {
        let buffer = vec![0; LARGEST_DATAGRAM].into_boxed_slice();
        Self { limits, listeners: HashMap::new(), peers: HashMap::new(), sweep_at: None, buffer }
    }

    pub(super) fn has(&self, token: Token) -> bool {
        self.listeners.contains_key(&token) || self.peers.contains_key(&token)
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
        self.listeners.insert(token, Listener { socket, address, internal, peers: HashMap::new() });
        Ok(())
    }

    pub(super) fn close(&mut self, token: Token) {
        let peers = self.listeners.remove(&token).map(|listener| listener.peers).unwrap_or_default();
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

    /// Passes on what a socket has received. `true` if there may be more; `None` if the token is of no UDP socket.
    pub(super) fn take_turn(&mut self, token: Token, turn: &mut Turn<'_>) -> Option<bool> {
        if self.listeners.contains_key(&token) {
            Some((0..DATAGRAMS_IN_A_TURN).all(|_| self.pass_inward(token, turn).is_some()))
        } else if self.peers.contains_key(&token) {
            Some((0..DATAGRAMS_IN_A_TURN).all(|_| self.pass_outward(token).is_some()))
        } else {
            None
        }
    }

    /// Passes one datagram from a peer to the client; `None` if there is none.
    fn pass_inward(&mut self, token: Token, turn: &mut Turn<'_>) -> Option<()> {
        let listener = self.listeners.get(&token)?;
        let (length, from) = match listener.socket.recv_from(&mut self.buffer) {
            Ok((length, SocketAddr::V4(from))) => (length, from),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return None,
            // Windows reports here that an answer could not be delivered.
            _ => return Some(()),
        };
        if self.is_own_mapping(listener, from) {
            return Some(());
        }
        let known = listener.peers.get(&from).copied();
        let Some(peer) = known.or_else(|| self.add_peer(token, from, turn)) else { return Some(()) };
        let (Some(peer), Some(datagram)) = (self.peers.get_mut(&peer), self.buffer.get(..length)) else {
            return Some(());
        };
        peer.last_use = Instant::now();
        match peer.socket.send(datagram) {
            // The error is about the datagram before, when the client did not listen. It may listen now.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                let _ = peer.socket.send(datagram);
            }
            // The datagram is lost, as datagrams are.
            _ => {}
        }
        Some(())
    }

    /// Passes one datagram from the client to its peer; `None` if there is none.
    fn pass_outward(&mut self, token: Token) -> Option<()> {
        let peer = self.peers.get_mut(&token)?;
        match peer.socket.recv(&mut self.buffer) {
            Ok(length) => {
                peer.last_use = Instant::now();
                peer.has_answer = true;
                if let (Some(listener), Some(datagram)) =
                    (self.listeners.get(&peer.listener), self.buffer.get(..length))
                {
                    let _ = listener.socket.send_to(datagram, peer.address.into());
                }
                Some(())
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
            // The client does not listen at present.
            Err(_) => Some(()),
        }
    }

    /// Whether a datagram comes from another mapping of this relay: two mappings whose clients answer everything would keep each
    /// other busy for ever.
    fn is_own_mapping(&self, listener: &Listener, from: SocketAddrV4) -> bool {
        from.ip() == listener.address.ip() && self.listeners.values().any(|listener| listener.address == from)
    }

    /// Makes room for a peer, and opens its socket.
    fn add_peer(&mut self, token: Token, address: SocketAddrV4, turn: &mut Turn<'_>) -> Option<Token> {
        if self.listeners.get(&token)?.peers.len() >= self.limits.peers_per_mapping {
            self.forget(self.most_dispensable(token)?);
        }
        if self.peers.len() >= self.limits.peers {
            self.forget(self.most_dispensable_of_all()?);
        }
        let internal = self.listeners.get(&token)?.internal;
        let mut socket = match connected_socket(internal) {
            Ok(socket) => socket,
            Err(_) => {
                // There may be no descriptor left: the peer that is least needed gives its own.
                self.forget(self.most_dispensable_of_all()?);
                connected_socket(internal).ok()?
            }
        };
        let token_of_peer = turn.tokens.next(|token| self.has(token));
        turn.registry.register(&mut socket, token_of_peer, Interest::READABLE).ok()?;
        let peer = Peer { socket, listener: token, address, has_answer: false, last_use: Instant::now() };
        self.peers.insert(token_of_peer, peer);
        self.listeners.get_mut(&token)?.peers.insert(address, token_of_peer);
        if self.sweep_at.is_none() {
            self.sweep_at = turn.now.checked_add(self.limits.idle);
        }
        Some(token_of_peer)
    }

    /// The peer of this mapping that gives way to a new one: a peer without an answer first, since its address may be forged.
    fn most_dispensable(&self, listener: Token) -> Option<Token> {
        let peers =
            self.listeners.get(&listener)?.peers.values().filter_map(|token| Some((*token, self.peers.get(token)?)));
        peers.min_by_key(|(_, peer)| (peer.has_answer, peer.last_use)).map(|(token, _)| token)
    }

    /// A peer of the mapping that has most of them.
    fn most_dispensable_of_all(&self) -> Option<Token> {
        let (listener, _) = self.listeners.iter().max_by_key(|(_, listener)| listener.peers.len())?;
        self.most_dispensable(*listener)
    }

    fn forget(&mut self, token: Token) {
        let Some(peer) = self.peers.remove(&token) else { return };
        if let Some(listener) = self.listeners.get_mut(&peer.listener) {
            listener.peers.remove(&peer.address);
        }
    }
}

/// Opens a socket that exchanges datagrams with this client only.
fn connected_socket(internal: SocketAddrV4) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)))?;
    socket.connect(internal.into())?;
    Ok(socket)
}

/// Datagrams in a turn.
const DATAGRAMS_IN_A_TURN: usize = 32;
const LARGEST_DATAGRAM: usize = 65_535;
