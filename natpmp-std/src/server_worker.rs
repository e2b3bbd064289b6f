//! The thread that waits for sockets, outcomes, commands and time, and calls the engine.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use mio::{Events, Poll, Token};
use natpmp_engine::server::{ServerEngine, ServerError, ServerHandle, ServerOptions, Wait};

use crate::poller::{Socket, waker};

/// Starts a worker. It ends when the handle is dropped.
pub(super) fn start(settings: ServerOptions) -> Result<ServerHandle, ServerError> {
    let poll = Poll::new().map_err(ServerError::System)?;
    let waker = waker(poll.registry(), WAKE).map_err(ServerError::System)?;
    // The engine opens sockets anew while the poll is waited on.
    let registry = poll.registry().try_clone().map_err(ServerError::System)?;
    let engine = ServerEngine::start(settings, move |socket| Socket::register(&registry, READ, socket))?;
    let shared = Arc::clone(engine.shared());
    shared.set_waker(&waker);
    let thread = thread::Builder::new().name("natpmp gateway".into()).spawn(move || run(engine, poll));
    Ok(ServerHandle::new(shared, Some(thread.map_err(ServerError::System)?)))
}

fn run(mut engine: ServerEngine<Socket>, mut poll: Poll) {
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

const READ: Token = Token(0);
const WAKE: Token = Token(1);
