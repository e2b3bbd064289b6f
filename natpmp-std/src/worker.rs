//! The thread that waits for sockets, commands and time, and calls the engine.

use std::future::Future;
use std::io;
use std::net::UdpSocket;
#[cfg(unix)]
use std::os::fd::{AsRawFd, OwnedFd};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::mpsc::{self, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use log::warn;
#[cfg(unix)]
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Registry, Token};

use crate::poller::{Socket, waker};
use natpmp_engine::client::{
    Call, ClientEngine, ClientOptions, ClientShared, Error, Message, Register, Runner, Source, Wait,
};
use natpmp_engine::events::block_until;

/// Starts a worker. It ends after the goodbye of the client's last handle.
pub(crate) fn start(settings: &ClientOptions) -> io::Result<(Arc<ClientShared>, JoinHandle<()>)> {
    let poll = Poll::new()?;
    let waker = waker(poll.registry(), WAKE)?;
    let registrar = Registrar { registry: poll.registry().try_clone()?, descriptors: Vec::new() };
    let engine = ClientEngine::new(settings, registrar)?;
    let shared = Arc::clone(engine.shared());
    shared.set_waker(&waker);
    let worker = Worker { engine, poll, callbacks: CallbackThread::default() };
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
            self.callbacks.run(self.engine.take_messages());
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
        self.callbacks.run(self.engine.take_messages());
    }
}

/// Callbacks have a thread of their own, so that a slow one delays no renewal. It is started with the first one.
#[derive(Default)]
struct CallbackThread {
    sender: Option<Sender<Message>>,
    /// While there is no thread.
    waiting: Vec<Message>,
}

impl CallbackThread {
    fn run(&mut self, messages: Vec<Message>) {
        self.waiting.extend(messages);
        if self.waiting.is_empty() {
            return;
        }
        if self.sender.is_none() {
            match start_callbacks() {
                Ok(sender) => self.sender = Some(sender),
                Err(error) => return warn!("callbacks have to wait for a thread: {error}"),
            }
        }
        if let Some(sender) = &self.sender {
            // The thread lives as long as its sender.
            self.waiting.drain(..).for_each(|message| drop(sender.send(message)));
        }
    }
}

fn start_callbacks() -> io::Result<Sender<Message>> {
    let (sender, receiver) = mpsc::channel();
    let run = move || {
        let mut runner = Runner::default();
        receiver.into_iter().for_each(|message| runner.run(message));
    };
    thread::Builder::new().name("natpmp callbacks".into()).spawn(run)?;
    Ok(sender)
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

/// What is readable is told once, until it was read empty: whichever socket of the source it was.
const fn token(source: Source) -> Token {
    Token(source as usize)
}

fn source(of: Token) -> Option<Source> {
    Source::ALL.into_iter().find(|&source| token(source) == of)
}

const WAKE: Token = Token(usize::MAX);
