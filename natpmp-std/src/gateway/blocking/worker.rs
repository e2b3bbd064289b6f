//! The thread that waits for sockets, outcomes, commands and time, and calls the engine.

use std::io;
use std::net::{SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use mio::net::UdpSocket;
use mio::{Events, Interest, Poll, Token};

use crate::blocking::waker;
use crate::gateway::ServerError;
use crate::gateway::adapter::{Engine, Handle, Listener, Settings, Wait};

/// Starts a worker. It ends when the handle is dropped.
pub(super) fn start(settings: Settings) -> Result<Handle, ServerError> {
    let poll = Poll::new().map_err(ServerError::System)?;
    let waker = waker(poll.registry(), WAKE).map_err(ServerError::System)?;
    // The engine opens sockets anew while the poll is waited on.
    let registry = poll.registry().try_clone().map_err(ServerError::System)?;
    let engine = Engine::start(settings, move |socket| {
        let mut socket = UdpSocket::from_std(socket);
        registry.register(&mut socket, READ, Interest::READABLE)?;
        Ok(socket)
    })?;
    let shared = Arc::clone(engine.shared());
    shared.set_waker(&waker);
    let thread = thread::Builder::new().name("natpmp gateway".into()).spawn(move || run(engine, poll));
    Ok(Handle::new(shared, Some(thread.map_err(ServerError::System)?)))
}

fn run(mut engine: Engine<UdpSocket>, mut poll: Poll) {
    let mut ready = Events::with_capacity(64);
    loop {
        let has_more = engine.receive();
        let Wait::For(wait) = engine.drain() else { return };
        let wait = if has_more { Some(Duration::ZERO) } else { wait };
        match poll.poll(&mut ready, wait) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return engine.give_up(&error),
        }
    }
}

impl Listener for UdpSocket {
    fn receive(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.recv_from(buffer)
    }

    fn send_to(&self, payload: &[u8], to: SocketAddrV4) -> io::Result<usize> {
        Self::send_to(self, payload, to.into())
    }
}

const READ: Token = Token(0);
const WAKE: Token = Token(1);
