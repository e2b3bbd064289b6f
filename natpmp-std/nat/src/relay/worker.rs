//! The thread of a relay: what is ready has its turn, one after the other.

use std::collections::{HashMap, HashSet, VecDeque};
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::mpsc;
use std::time::Instant;

use mio::{Events, Poll, Registry, Token, Waker};
use natpmp_proto::gateway::{NatFailure, NatMapping, NatRequest};
use natpmp_proto::wire::Protocol;

use super::RelayLimits;
use super::commands::{Command, Commands};
use super::open;
use super::tcp::Tcp;
use super::tokens::{Tokens, WAKE, first_of_pair};
use super::udp::Udp;

#[derive(Debug)]
pub(super) struct Worker {
    poll: Poll,
    registry: Registry,
    commands: mpsc::Receiver<Command>,
    external: Option<Ipv4Addr>,
    mappings: HashMap<(Protocol, SocketAddrV4), Door>,
    tokens: Tokens,
    udp: Udp,
    tcp: Tcp,
    ready: Ready,
}

/// Where a mapping is listened for.
#[derive(Clone, Copy, Debug)]
struct Door {
    external_port: u16,
    token: Token,
}

/// What those who have their turn share.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    pub(super) registry: &'a Registry,
    pub(super) tokens: &'a mut Tokens,
    pub(super) now: Instant,
}

impl Worker {
    pub(super) fn new(limits: RelayLimits) -> io::Result<(Self, Commands)> {
        let poll = Poll::new()?;
        let registry = poll.registry().try_clone()?;
        let (owner, commands) = Commands::new(Waker::new(&registry, WAKE)?);
        let worker = Self {
            poll,
            registry,
            commands,
            external: None,
            mappings: HashMap::new(),
            tokens: Tokens::new(),
            udp: Udp::new(limits),
            tcp: Tcp::new(limits),
            ready: Ready::default(),
        };
        Ok((worker, owner))
    }

    pub(super) fn run(mut self) {
        let mut events = Events::with_capacity(EVENTS);
        while self.wait(&mut events) {
            for event in &events {
                let token = first_of_pair(event.token());
                if event.is_error() {
                    self.tcp.suspect(token);
                }
                self.ready.push(token);
            }
            if !self.obey() {
                break;
            }
            self.take_turns();
        }
        self.close_all();
    }

    /// Until something happened or is due; `false` if that can no longer be known.
    fn wait(&mut self, events: &mut Events) -> bool {
        let now = Instant::now();
        let due = [self.udp.deadline(), self.tcp.deadline()].into_iter().flatten().min();
        let timeout = match due {
            _ if !self.ready.is_empty() => Some(std::time::Duration::ZERO),
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

    /// Each that is ready has one turn of a bounded size; who has more to do comes again after all others.
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

    /// `false` if the owner is gone.
    fn obey(&mut self) -> bool {
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
                if self.mappings.get(&key).is_some_and(|door| door.external_port == *external_port) {
                    self.close(key);
                }
                Ok(())
            }
        }
    }

    fn install(&mut self, mapping: &NatMapping) -> Result<(), NatFailure> {
        let NatMapping { protocol, internal, external_port } = *mapping;
        let key = (protocol, internal);
        if self.mappings.get(&key).is_some_and(|door| door.external_port == external_port) {
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
            open::failure(&error)
        })?;
        self.mappings.insert(key, Door { external_port, token });
        Ok(())
    }

    fn close(&mut self, key: (Protocol, SocketAddrV4)) {
        let Some(door) = self.mappings.remove(&key) else { return };
        match key.0 {
            Protocol::Udp => self.udp.close(door.token),
            Protocol::Tcp => self.tcp.close(door.token),
        }
    }

    fn close_all(&mut self) {
        let keys: Vec<_> = self.mappings.keys().copied().collect();
        for key in keys {
            self.close(key);
        }
    }
}

/// Not back to where it came in, and to one host only.
fn can_lead_to(internal: Ipv4Addr, external: Ipv4Addr) -> bool {
    internal != external && !internal.is_unspecified() && !internal.is_multicast() && !internal.is_broadcast()
}

/// Those that have something to do, each once, in the order they came.
#[derive(Debug, Default)]
pub(super) struct Ready {
    queue: VecDeque<Token>,
    queued: HashSet<Token>,
}

impl Ready {
    pub(super) fn push(&mut self, token: Token) {
        if token != WAKE && self.queued.insert(token) {
            self.queue.push_back(token);
        }
    }

    fn pop(&mut self) -> Option<Token> {
        let token = self.queue.pop_front()?;
        self.queued.remove(&token);
        Some(token)
    }

    fn len(&self) -> usize {
        self.queue.len()
    }

    fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
}

const EVENTS: usize = 256;
