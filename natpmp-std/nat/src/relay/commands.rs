use std::net::Ipv4Addr;
use std::sync::mpsc;

use mio::Waker;
use natpmp_proto::gateway::{NatFailure, NatRequest};

/// What the worker is to do; each but the last is answered when it is done.
#[derive(Debug)]
pub(super) enum Command {
    Apply(Vec<NatRequest>, mpsc::Sender<Vec<Result<(), NatFailure>>>),
    SetExternalAddress(Option<Ipv4Addr>, mpsc::Sender<()>),
    End(mpsc::Sender<()>),
    Stop,
}

/// The owner's end of the line to the worker.
#[derive(Debug)]
pub(super) struct Commands {
    sender: mpsc::Sender<Command>,
    waker: Waker,
}

impl Commands {
    pub(super) fn new(waker: Waker) -> (Self, mpsc::Receiver<Command>) {
        let (sender, receiver) = mpsc::channel();
        (Self { sender, waker }, receiver)
    }

    /// Waits for the answer; `None` if the worker is gone.
    pub(super) fn ask<T>(&self, command: impl FnOnce(mpsc::Sender<T>) -> Command) -> Option<T> {
        let (answer, waiting) = mpsc::channel();
        self.tell(command(answer))?;
        waiting.recv().ok()
    }

    pub(super) fn stop(&self) {
        let _ = self.tell(Command::Stop);
    }

    fn tell(&self, command: Command) -> Option<()> {
        self.sender.send(command).ok()?;
        self.waker.wake().ok()
    }
}
