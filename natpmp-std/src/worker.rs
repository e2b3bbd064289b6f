//! The thread that waits for sockets, commands and time, and calls the engine.

use std::future::Future;
use std::io;
use std::net::UdpSocket;
#[cfg(unix)]
use std::os::fd::{AsRawFd, OwnedFd};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use log::warn;
use mio::{Events, Poll, Registry, Token};
#[cfg(unix)]
use mio::{Interest, unix::SourceFd};

use crate::poller::{Socket, waker};
use natpmp_engine::client::{
    Call, CallbackRunner, ClientConfig, ClientEngine, ClientShared, Error, Register, Source, Wait,
};
use natpmp_engine::events::block_until;

/// Starts a worker. It ends after the goodbye of the client's last handle.
pub(crate) fn start(config: &ClientConfig) -> io::Result<(Arc<ClientShared>, JoinHandle<()>)> {
    let poll = Poll::new()?;
    let waker = waker(poll.registry(), WAKE)?;
    let registrar = Registrar {
        registry: poll.registry().try_clone()?,
        #[cfg(unix)]
        descriptors: Vec::new(),
    };
    let (engine, callbacks) = ClientEngine::new(config, registrar)?;
    let shared = Arc::clone(engine.shared());
    shared.set_waker(&waker);
    let worker = Worker { engine, poll, callbacks: CallbackThread::new(callbacks) };
    let thread = thread::Builder::new().name("natpmp".into()).spawn(move || worker.run())?;
    Ok((shared, thread))
}

/// Blocks this thread until the gateway has answered the call, or it has failed.
pub(crate) fn wait<T>(mut call: Call<T>) -> Result<T, Error> {
    block_until(None, |context| Pin::new(&mut call).poll(context)).unwrap_or(Err(Error::Stopped))
}

struct Worker {
    engine: ClientEngine<Registrar>,
    poll: Poll,
    callbacks: CallbackThread,
}

impl Worker {
    fn run(mut self) {
        let mut ready = Events::with_capacity(8);
        let mut has_more = false;
        while let Wait::For(wait) = self.engine.drain() {
            self.callbacks.start_when_needed();
            let wait = if has_more { Some(Duration::ZERO) } else { wait };
            match self.poll.poll(&mut ready, wait) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.engine.give_up(&error);
                    break;
                }
            }
            for source in ready.iter().filter_map(|event| source(event.token())) {
                self.engine.note_readable(source);
            }
            has_more = self.engine.receive();
        }
        self.callbacks.start_when_needed();
    }
}

/// Callbacks have a thread of their own, so that a slow one delays no renewal.
enum CallbackThread {
    /// There was no callback yet. The runner is shared with a thread that is about to start, and stays here if none can.
    NotStarted(Arc<Mutex<Option<CallbackRunner>>>),
    /// It ends when the client has ended.
    Running,
}

impl CallbackThread {
    fn new(runner: CallbackRunner) -> Self {
        Self::NotStarted(Arc::new(Mutex::new(Some(runner))))
    }

    /// Starts the thread with the first callback.
    fn start_when_needed(&mut self) {
        let Self::NotStarted(runner) = self else { return };
        if take_from(runner, |runner| runner.as_ref().is_none_or(CallbackRunner::is_idle)) {
            return;
        }
        let runner = Arc::clone(runner);
        let run = move || {
            if let Some(runner) = take_from(&runner, Option::take) {
                runner.run_to_end();
            }
        };
        match thread::Builder::new().name("natpmp callbacks".into()).spawn(run) {
            Ok(_) => *self = Self::Running,
            Err(error) => warn!("callbacks have to wait for a thread: {error}"),
        }
    }
}

fn take_from<T>(runner: &Mutex<Option<CallbackRunner>>, take: impl FnOnce(&mut Option<CallbackRunner>) -> T) -> T {
    take(&mut runner.lock().unwrap_or_else(PoisonError::into_inner))
}

struct Registrar {
    registry: Registry,
    /// Open for as long as they are registered.
    #[cfg(unix)]
    descriptors: Vec<OwnedFd>,
}

impl Register for Registrar {
    type Socket = Socket;

    fn register(&mut self, source: Source, socket: UdpSocket) -> io::Result<Self::Socket> {
        Socket::register(&self.registry, token(source), socket)
    }

    #[cfg(unix)]
    fn watch(&mut self, source: Source, descriptor: OwnedFd) -> io::Result<()> {
        self.registry.register(&mut SourceFd(&descriptor.as_raw_fd()), token(source), Interest::READABLE)?;
        self.descriptors.push(descriptor);
        Ok(())
    }
}

/// A token stands for all sockets of a source. What is readable is reported once, until it was read empty.
const fn token(source: Source) -> Token {
    Token(source as usize)
}

fn source(of: Token) -> Option<Source> {
    Source::ALL.into_iter().find(|&source| token(source) == of)
}

const WAKE: Token = Token(usize::MAX);
