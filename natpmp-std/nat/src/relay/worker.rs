//! The thread of a relay: it waits for its sockets and for commands of the owner.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use mio::{Events, Poll, Registry, Token, Waker};
use natpmp_proto::gateway::{NatFailure, NatMapping, NatRequest};
use natpmp_proto::wire::Protocol;

use super::RelayLimits;
use super::tcp::TcpRelay;
use super::turns::{ReadyQueue, Tokens, Turn, WAKE, first_of_pair};
use super::udp::UdpRelay;

/// What the thread owns: all sockets, and the mappings that they are for.
#[derive(Debug)]
pub(super) struct Worker {
    poll: Poll,
    registry: Registry,
    commands: mpsc::Receiver<Command>,
    external: Option<Ipv4Addr>,
    mappings: HashMap<(Protocol, SocketAddrV4), Listening>,
    tokens: Tokens,
    udp: UdpRelay,
    tcp: TcpRelay,
    ready: ReadyQueue,
}

/// The external port of a mapping, and the token of its socket.
#[derive(Clone, Copy, Debug)]
struct Listening {
    external_port: u16,
    token: Token,
}

impl Worker {
    pub(super) fn new(limits: RelayLimits) -> io::Result<(Self, CommandSender)> {
        let poll = Poll::new()?;
        let registry = poll.registry().try_clone()?;
        let (owner, commands) = CommandSender::new(Waker::new(&registry, WAKE)?);
        let worker = Self {
            poll,
            registry,
            commands,
            external: None,
            mappings: HashMap::new(),
            tokens: Tokens::new(),
            udp: UdpRelay::new(limits),
            tcp: TcpRelay::new(limits),
            ready: ReadyQueue::default(),
        };
        Ok((worker, owner))
    }

    /// Works until the owner says stop or is gone, and closes everything then.
    pub(super) fn run(mut self) {
        let mut events = Events::with_capacity(EVENTS);
        while self.wait(&mut events) {
            for event in &events {
                let token = first_of_pair(event.token());
                if event.is_error() {
                    self.tcp.note_error(token);
                }
                self.ready.push(token);
            }
            if !self.handle_commands() {
                break;
            }
            self.take_turns();
        }
        self.close_all();
    }

    /// Waits until something has happened or is due; `false` if the poll fails.
    fn wait(&mut self, events: &mut Events) -> bool {
        let now = Instant::now();
        let due = [self.udp.deadline(), self.tcp.deadline()].into_iter().flatten().min();
        let timeout = match due {
            _ if !self.ready.is_empty() => Some(Duration::ZERO),
            due => due.map(|due| due.saturating_duration_since(now)),
        };
        match self.poll.poll(events, timeout) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                log::error!("the relay ends: {error}");
                false
            }
            _ => true,
        }
    }

    /// Gives each socket that is ready one turn of a bounded size; one that has more to do comes again after all others.
    fn take_turns(&mut self) {
        let mut turn = Turn { registry: &self.registry, tokens: &mut self.tokens, now: Instant::now() };
        self.udp.expire(turn.now);
        self.tcp.expire(turn.now, &mut self.ready);
        for _ in 0..self.ready.len() {
            let Some(token) = self.ready.pop() else { break };
            let has_more = match self.udp.take_turn(token, &mut turn) {
                Some(has_more) => has_more,
                None => self.tcp.take_turn(token, &mut turn),
            };
            if has_more {
                self.ready.push(token);
            }
        }
    }

    /// Does what the owner has asked for. `false` if the worker is to stop.
    fn handle_commands(&mut self) -> bool {
        loop {
            match self.commands.try_recv() {
                Ok(Command::Apply(requests, answer)) => {
                    let _ = answer.send(requests.iter().map(|request| self.apply(request)).collect());
                }
                Ok(Command::SetExternalAddress(address, answer)) => {
                    if self.external != address {
                        self.close_all();
                        self.external = address;
                    }
                    let _ = answer.send(());
                }
                Ok(Command::End(answer)) => {
                    self.close_all();
                    let _ = answer.send(());
                }
                Err(mpsc::TryRecvError::Empty) => return true,
                Ok(Command::Stop) | Err(mpsc::TryRecvError::Disconnected) => return false,
            }
        }
    }

    fn apply(&mut self, request: &NatRequest) -> Result<(), NatFailure> {
        match request {
            NatRequest::Install(mapping) => self.install(mapping),
            NatRequest::Remove(NatMapping { protocol, internal, external_port }) => {
                let key = (*protocol, *internal);
                if self.mappings.get(&key).is_some_and(|listening| listening.external_port == *external_port) {
                    self.close(key);
                }
                Ok(())
            }
        }
    }

    fn install(&mut self, mapping: &NatMapping) -> Result<(), NatFailure> {
        let NatMapping { protocol, internal, external_port } = *mapping;
        let key = (protocol, internal);
        if self.mappings.get(&key).is_some_and(|listening| listening.external_port == external_port) {
            return Ok(());
        }
        self.close(key);
        let external = self.external.filter(|address| !address.is_unspecified()).ok_or(NatFailure::Network)?;
        if !can_lead_to(*internal.ip(), external) {
            return Err(NatFailure::Network);
        }
        let address = SocketAddrV4::new(external, external_port);
        let (udp, tcp) = (&self.udp, &self.tcp);
        let token = self.tokens.next(|token| udp.has(token) || tcp.has(token));
        let opened = match protocol {
            Protocol::Udp => self.udp.open(token, address, internal, &self.registry),
            Protocol::Tcp => self.tcp.open(token, address, internal, &self.registry),
        };
        opened.map_err(|error| {
            log::debug!("cannot listen on {protocol} {address}: {error}");
            failure(&error)
        })?;
        self.mappings.insert(key, Listening { external_port, token });
        Ok(())
    }

    fn close(&mut self, key: (Protocol, SocketAddrV4)) {
        let Some(listening) = self.mappings.remove(&key) else { return };
        match key.0 {
            Protocol::Udp => self.udp.close(listening.token),
            Protocol::Tcp => self.tcp.close(listening.token),
        }
    }

    fn close_all(&mut self) {
        let keys: Vec<_> = self.mappings.keys().copied().collect();
        for key in keys {
            self.close(key);
        }
    }
}

/// Whether a mapping may lead there: to one host, and not back to the external address.
fn can_lead_to(internal: Ipv4Addr, external: Ipv4Addr) -> bool {
    internal != external && !internal.is_unspecified() && !internal.is_multicast() && !internal.is_broadcast()
}

/// Why a mapping is refused when its socket could not be opened.
fn failure(error: &io::Error) -> NatFailure {
    match error.kind() {
        io::ErrorKind::AddrNotAvailable | io::ErrorKind::NetworkDown | io::ErrorKind::NetworkUnreachable => {
            NatFailure::Network
        }
        // The port is taken or not permitted, or there is no descriptor left: another port may do, or another time.
        _ => NatFailure::Resources,
    }
}

/// What the worker is to do. It answers each but the last when that is done.
#[derive(Debug)]
pub(super) enum Command {
    Apply(Vec<NatRequest>, mpsc::Sender<Vec<Result<(), NatFailure>>>),
    SetExternalAddress(Option<Ipv4Addr>, mpsc::Sender<()>),
    End(mpsc::Sender<()>),
    Stop,
}

/// The owner's end of the queue of commands. The channel is that of the standard library: the worker waits in its poll and not on
/// the queue, so that each command goes with a wake-up of the poll, and the owner blocks for the answer.
#[derive(Debug)]
pub(super) struct CommandSender {
    queue: mpsc::Sender<Command>,
    waker: Waker,
}

impl CommandSender {
    fn new(waker: Waker) -> (Self, mpsc::Receiver<Command>) {
        let (queue, receiver) = mpsc::channel();
        (Self { queue, waker }, receiver)
    }

    /// Sends a command and waits for the answer; `None` if the worker is gone.
    pub(super) fn call<T>(&self, command: impl FnOnce(mpsc::Sender<T>) -> Command) -> Option<T> {
        let (answer, waiting) = mpsc::channel();
        self.send(command(answer))?;
        waiting.recv().ok()
    }

    pub(super) fn stop(&self) {
        let _ = self.send(Command::Stop);
    }

    fn send(&self, command: Command) -> Option<()> {
        self.queue.send(command).ok()?;
        self.waker.wake().ok()
    }
}

/// Events that the worker takes from the poll at once.
const EVENTS: usize = 256;
