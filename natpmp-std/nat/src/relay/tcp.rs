//! TCP: a listener for each mapping on the external address, and a stream to the client for each that it accepts.

use std::collections::{HashMap, HashSet, VecDeque};
use std::io;
use std::net::SocketAddrV4;
use std::time::{Duration, Instant};

use mio::net::{TcpListener, TcpStream};
use mio::{Interest, Registry, Token};

use super::RelayLimits;
use super::open;
use super::pipe::Pipe;
use super::tokens::companion;
use super::worker::{Ready, Turn};

#[derive(Debug)]
pub(super) struct Tcp {
    limits: RelayLimits,
    doors: HashMap<Token, Door>,
    connections: HashMap<Token, Connection>,
    /// Until when the client may take to answer, the first first.
    connecting: VecDeque<(Instant, Token)>,
    /// Listeners that could not accept, and when they try again.
    stuck: Option<(Instant, Vec<Token>)>,
}

/// What a mapping is on the external address.
#[derive(Debug)]
struct Door {
    listener: TcpListener,
    internal: SocketAddrV4,
    connections: HashSet<Token>,
}

#[derive(Debug)]
struct Connection {
    door: Token,
    /// To the peer. Its token is the connection's, that of `inner` the companion.
    outer: TcpStream,
    /// To the client.
    inner: TcpStream,
    is_connected: bool,
    is_suspect: bool,
    inward: Pipe,
    outward: Pipe,
}

impl Tcp {
    pub(super) fn new(limits: RelayLimits) -> Self {
        Self { limits, doors: HashMap::new(), connections: HashMap::new(), connecting: VecDeque::new(), stuck: None }
    }

    pub(super) fn has(&self, token: Token) -> bool {
        self.doors.contains_key(&token) || self.connections.contains_key(&token)
    }

    pub(super) fn open(
        &mut self,
        token: Token,
        address: SocketAddrV4,
        internal: SocketAddrV4,
        registry: &Registry,
    ) -> io::Result<()> {
        let mut listener = TcpListener::bind(address.into())?;
        registry.register(&mut listener, token, Interest::READABLE)?;
        self.doors.insert(token, Door { listener, internal, connections: HashSet::new() });
        Ok(())
    }

    /// All its connections are reset (RFC 6886, section 3.4).
    pub(super) fn close(&mut self, token: Token) {
        let connections = self.doors.remove(&token).map(|door| door.connections).unwrap_or_default();
        for connection in connections {
            self.reset(connection);
        }
    }

    /// Something went wrong with one of its streams, it is said.
    pub(super) fn suspect(&mut self, token: Token) {
        if let Some(connection) = self.connections.get_mut(&token) {
            connection.is_suspect = true;
        }
    }

    /// When [`expire`](Self::expire) has something to do.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let connecting = self.connecting.front().map(|(at, _)| *at);
        let stuck = self.stuck.as_ref().map(|(at, _)| *at);
        [connecting, stuck].into_iter().flatten().min()
    }

    pub(super) fn expire(&mut self, now: Instant, ready: &mut Ready) {
        while let Some((at, token)) = self.connecting.front().copied() {
            let is_waiting = self.connections.get(&token).is_some_and(|connection| !connection.is_connected);
            if is_waiting && at > now {
                break;
            }
            self.connecting.pop_front();
            if is_waiting {
                self.reset(token);
            }
        }
        if let Some((_, stuck)) = self.stuck.take_if(|(at, _)| *at <= now) {
            stuck.into_iter().for_each(|token| ready.push(token));
        }
    }

    /// Whether there is more to do.
    pub(super) fn take_turn(&mut self, token: Token, turn: &mut Turn<'_>) -> bool {
        if self.doors.contains_key(&token) {
            return (0..ACCEPTS).all(|_| self.accept(token, turn).is_some());
        }
        let Some(connection) = self.connections.get_mut(&token) else { return false };
        match connection.take_turn() {
            Ok(has_more) => {
                if connection.is_over() {
                    self.forget(token);
                }
                has_more
            }
            Err(_) => {
                self.reset(token);
                false
            }
        }
    }

    /// One that waits at the door; `None` if there is none.
    fn accept(&mut self, token: Token, turn: &mut Turn<'_>) -> Option<()> {
        let door = self.doors.get(&token)?;
        let outer = match door.listener.accept() {
            Ok((outer, _)) => outer,
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock => return None,
                io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted => return Some(()),
                // No more files, perhaps. It will not be said again that somebody waits.
                _ => {
                    self.try_later(token, turn.now);
                    return None;
                }
            },
        };
        let is_full = door.connections.len() >= self.limits.connections_per_mapping
            || self.connections.len() >= self.limits.connections;
        if is_full {
            open::reset(outer);
            return Some(());
        }
        match TcpStream::connect(door.internal.into()) {
            Ok(inner) => self.begin(token, outer, inner, turn),
            Err(_) => open::reset(outer),
        }
        Some(())
    }

    fn begin(&mut self, door: Token, mut outer: TcpStream, mut inner: TcpStream, turn: &mut Turn<'_>) {
        let name = turn.tokens.next(|token| self.has(token));
        let both = Interest::READABLE | Interest::WRITABLE;
        let registered = turn
            .registry
            .register(&mut outer, name, both)
            .and_then(|()| turn.registry.register(&mut inner, companion(name), both));
        if registered.is_err() {
            return open::reset(outer);
        }
        open::set_up(&outer);
        open::set_up(&inner);
        if let Some(door) = self.doors.get_mut(&door) {
            door.connections.insert(name);
        }
        let (inward, outward) = (Pipe::new(), Pipe::new());
        let connection = Connection { door, outer, inner, is_connected: false, is_suspect: false, inward, outward };
        self.connections.insert(name, connection);
        if let Some(at) = turn.now.checked_add(PATIENCE) {
            self.connecting.push_back((at, name));
        }
    }

    fn try_later(&mut self, token: Token, now: Instant) {
        let at = now.checked_add(PAUSE).unwrap_or(now);
        let (_, stuck) = self.stuck.get_or_insert_with(|| (at, Vec::new()));
        if !stuck.contains(&token) {
            stuck.push(token);
        }
    }

    fn reset(&mut self, token: Token) {
        if let Some(connection) = self.forget(token) {
            open::reset(connection.outer);
            open::reset(connection.inner);
        }
    }

    fn forget(&mut self, token: Token) -> Option<Connection> {
        let connection = self.connections.remove(&token)?;
        if let Some(door) = self.doors.get_mut(&connection.door) {
            door.connections.remove(&token);
        }
        Some(connection)
    }
}

impl Connection {
    /// Whether there is more to do; an error ends both sides.
    fn take_turn(&mut self) -> io::Result<bool> {
        if self.is_suspect || !self.is_connected {
            self.is_suspect = false;
            for stream in [&self.inner, &self.outer] {
                stream.take_error()?.map_or(Ok(()), Err)?;
            }
        }
        if !self.is_connected {
            match self.inner.peer_addr() {
                Ok(_) => self.is_connected = true,
                Err(error) if error.kind() == io::ErrorKind::NotConnected => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        let has_more_inward = self.inward.pump(&self.outer, &self.inner)?;
        let has_more_outward = self.outward.pump(&self.inner, &self.outer)?;
        Ok(has_more_inward || has_more_outward)
    }

    fn is_over(&self) -> bool {
        self.inward.is_over() && self.outward.is_over()
    }
}

/// Connections accepted in a turn.
const ACCEPTS: usize = 16;
/// How long a client may take to accept.
const PATIENCE: Duration = Duration::from_secs(10);
/// Before a listener that could not accept tries again.
const PAUSE: Duration = Duration::from_millis(100);
