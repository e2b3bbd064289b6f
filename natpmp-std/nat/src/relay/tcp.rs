//! TCP: a listener for each mapping on the external address, and a stream to the client for each that it accepts.

use std::collections::{HashMap, HashSet, VecDeque};
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddrV4};
use std::time::{Duration, Instant};

use mio::net::{TcpListener, TcpStream};
use mio::{Interest, Registry, Token};
use socket2::{SockRef, TcpKeepalive};

use super::RelayLimits;
use super::turns::{ReadyQueue, Turn, companion};

/// The TCP mappings, and the connections on them.
#[derive(Debug)]
pub(super) struct TcpRelay {
    limits: RelayLimits,
    listeners: HashMap<Token, Listener>,
    connections: HashMap<Token, Connection>,
    /// Until when each client may take to accept, the earliest first.
    connecting: VecDeque<(Instant, Token)>,
    /// Listeners that could not accept, and when they try again.
    stuck: Option<(Instant, Vec<Token>)>,
}

/// The external end of a mapping.
#[derive(Debug)]
struct Listener {
    socket: TcpListener,
    internal: SocketAddrV4,
    connections: HashSet<Token>,
}

#[derive(Debug)]
struct Connection {
    listener: Token,
    /// To the peer. Its token is the connection's, that of `inner` the companion.
    outer: TcpStream,
    /// To the client.
    inner: TcpStream,
    state: ConnectionState,
    inward: Pipe,
    outward: Pipe,
}

/// How far the connection to the client has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ConnectionState {
    /// The client has not accepted yet. Its deadline is in [`TcpRelay::connecting`].
    Connecting,
    /// Both sides are connected. No deadline: it stands until either side ends it.
    Established,
    /// Both sides are connected, and the poll has reported an error on one of them. No deadline: the next turn asks which.
    ErrorReported,
}

impl TcpRelay {
    pub(super) fn new(limits: RelayLimits) -> Self {
        Self {
            limits,
            listeners: HashMap::new(),
            connections: HashMap::new(),
            connecting: VecDeque::new(),
            stuck: None,
        }
    }

    pub(super) fn has(&self, token: Token) -> bool {
        self.listeners.contains_key(&token) || self.connections.contains_key(&token)
    }

    pub(super) fn open(
        &mut self,
        token: Token,
        address: SocketAddrV4,
        internal: SocketAddrV4,
        registry: &Registry,
    ) -> io::Result<()> {
        let mut socket = TcpListener::bind(address.into())?;
        registry.register(&mut socket, token, Interest::READABLE)?;
        self.listeners.insert(token, Listener { socket, internal, connections: HashSet::new() });
        Ok(())
    }

    /// Ends a mapping, and resets all its connections (RFC 6886, section 3.4).
    pub(super) fn close(&mut self, token: Token) {
        let connections = self.listeners.remove(&token).map(|listener| listener.connections).unwrap_or_default();
        for connection in connections {
            self.reset(connection);
        }
    }

    /// The poll has reported an error on one of the streams of a connection.
    pub(super) fn note_error(&mut self, token: Token) {
        let Some(connection) = self.connections.get_mut(&token) else { return };
        if connection.state == ConnectionState::Established {
            connection.state = ConnectionState::ErrorReported;
        }
    }

    /// When [`expire`](Self::expire) has something to do.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let connecting = self.connecting.front().map(|(at, _)| *at);
        let stuck = self.stuck.as_ref().map(|(at, _)| *at);
        [connecting, stuck].into_iter().flatten().min()
    }

    pub(super) fn expire(&mut self, now: Instant, ready: &mut ReadyQueue) {
        while let Some((at, token)) = self.connecting.front().copied() {
            let is_waiting =
                self.connections.get(&token).is_some_and(|connection| connection.state == ConnectionState::Connecting);
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
        if self.listeners.contains_key(&token) {
            return (0..ACCEPTS_IN_A_TURN).all(|_| self.accept(token, turn).is_some());
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

    /// Accepts a connection that waits; `None` if there is none.
    fn accept(&mut self, token: Token, turn: &mut Turn<'_>) -> Option<()> {
        let listener = self.listeners.get(&token)?;
        let outer = match listener.socket.accept() {
            Ok((outer, _)) => outer,
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock => return None,
                io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted => return Some(()),
                // There may be no descriptor left. The poll will not report again that a connection waits.
                _ => {
                    self.try_later(token, turn.now);
                    return None;
                }
            },
        };
        let is_full = listener.connections.len() >= self.limits.connections_per_mapping
            || self.connections.len() >= self.limits.connections;
        if is_full {
            reset(outer);
            return Some(());
        }
        match TcpStream::connect(listener.internal.into()) {
            Ok(inner) => self.relay(token, outer, inner, turn),
            Err(_) => reset(outer),
        }
        Some(())
    }

    fn relay(&mut self, listener: Token, mut outer: TcpStream, mut inner: TcpStream, turn: &mut Turn<'_>) {
        let token = turn.tokens.next(|token| self.has(token));
        let both = Interest::READABLE | Interest::WRITABLE;
        let registered = turn
            .registry
            .register(&mut outer, token, both)
            .and_then(|()| turn.registry.register(&mut inner, companion(token), both));
        if registered.is_err() {
            return reset(outer);
        }
        configure(&outer);
        configure(&inner);
        if let Some(listener) = self.listeners.get_mut(&listener) {
            listener.connections.insert(token);
        }
        let (inward, outward) = (Pipe::new(), Pipe::new());
        let connection = Connection { listener, outer, inner, state: ConnectionState::Connecting, inward, outward };
        self.connections.insert(token, connection);
        if let Some(at) = turn.now.checked_add(CONNECT_TIMEOUT) {
            self.connecting.push_back((at, token));
        }
    }

    fn try_later(&mut self, token: Token, now: Instant) {
        let at = now.checked_add(ACCEPT_RETRY).unwrap_or(now);
        let (_, stuck) = self.stuck.get_or_insert_with(|| (at, Vec::new()));
        if !stuck.contains(&token) {
            stuck.push(token);
        }
    }

    fn reset(&mut self, token: Token) {
        if let Some(connection) = self.forget(token) {
            reset(connection.outer);
            reset(connection.inner);
        }
    }

    fn forget(&mut self, token: Token) -> Option<Connection> {
        let connection = self.connections.remove(&token)?;
        if let Some(listener) = self.listeners.get_mut(&connection.listener) {
            listener.connections.remove(&token);
        }
        Some(connection)
    }
}

impl Connection {
    /// Passes on what there is in both directions. `true` if there may be more; an error ends both sides.
    fn take_turn(&mut self) -> io::Result<bool> {
        if self.state != ConnectionState::Established {
            for stream in [&self.inner, &self.outer] {
                stream.take_error()?.map_or(Ok(()), Err)?;
            }
        }
        if self.state == ConnectionState::Connecting {
            match self.inner.peer_addr() {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::NotConnected => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        self.state = ConnectionState::Established;
        let has_more_inward = self.inward.pump(&self.outer, &self.inner)?;
        let has_more_outward = self.outward.pump(&self.inner, &self.outer)?;
        Ok(has_more_inward || has_more_outward)
    }

    fn is_over(&self) -> bool {
        self.inward.is_over() && self.outward.is_over()
    }
}

/// One direction of a TCP connection: it holds what it has read from one side and not yet written to the other.
///
/// It reads only when all is written, so that a slow reader slows its sender down.
#[derive(Debug)]
struct Pipe {
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    state: PipeState,
}

/// How far one direction has come; none of these has a deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PipeState {
    /// More may come from the source.
    Open,
    /// The source has sent its last byte, which may not be written yet.
    EndOfStream,
    /// The sink has all, and its writing direction is shut down.
    ShutDown,
}

impl Pipe {
    fn new() -> Self {
        Self { buffer: vec![0; PIPE_SIZE].into_boxed_slice(), start: 0, end: 0, state: PipeState::Open }
    }

    /// Whether nothing more will pass.
    fn is_over(&self) -> bool {
        self.state == PipeState::ShutDown
    }

    /// Passes on what there is, within the bounds of a turn. `true` if there may be more.
    fn pump(&mut self, mut source: &TcpStream, mut sink: &TcpStream) -> io::Result<bool> {
        for _ in 0..CALLS_IN_A_TURN {
            let moved = if self.start < self.end {
                let waiting = self.buffer.get(self.start..self.end).unwrap_or_default();
                sink.write(waiting).map(|written| self.start = self.start.saturating_add(written))
            } else {
                match self.state {
                    PipeState::Open => source.read(&mut self.buffer).map(|read| self.filled(read)),
                    PipeState::EndOfStream => {
                        sink.shutdown(Shutdown::Write)?;
                        self.state = PipeState::ShutDown;
                        return Ok(false);
                    }
                    PipeState::ShutDown => return Ok(false),
                }
            };
            match moved {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
        }
        Ok(true)
    }

    fn filled(&mut self, read: usize) {
        (self.start, self.end) = (0, read);
        if read == 0 {
            self.state = PipeState::EndOfStream;
        }
    }
}

/// Sends at once what the relay passes on, and has the system notice a peer that has vanished.
fn configure(stream: &TcpStream) {
    let stream = SockRef::from(stream);
    let _ = stream.set_tcp_nodelay(true);
    let _ = stream.set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE_AFTER));
}

/// Closes a stream so that the other side sees an error.
fn reset(stream: TcpStream) {
    let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
}

/// Connections accepted in a turn.
const ACCEPTS_IN_A_TURN: usize = 16;
/// How long a client may take to accept.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Before a listener that could not accept tries again.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);
const PIPE_SIZE: usize = 16 * 1024;
/// Reads and writes of one direction in a turn.
const CALLS_IN_A_TURN: usize = 8;
/// When the system begins to probe a connection that is quiet.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(300);
