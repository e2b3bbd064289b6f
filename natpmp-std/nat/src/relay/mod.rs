//! The NAT in user space: sockets on the external address, whose traffic it passes to the clients.

mod tcp;
mod turns;
mod udp;
mod worker;

use std::io;
use std::net::Ipv4Addr;
use std::thread::JoinHandle;
use std::time::Duration;

use natpmp_proto::gateway::{NatFailure, NatRequest};

use crate::Nat;
use worker::{Command, CommandSender, Worker};

/// A NAT in user space: it listens on the external address, and passes UDP datagrams and TCP streams to the clients.
///
/// It needs no privileges, and one thread for all mappings. The thread ends when this is dropped, and every connection
/// with it.
///
/// # What a client sees
/// - Peers have the gateway's address, each another port.
/// - The relay passes on what peers send, and the answers. What the client begins itself leaves as it did before, so that
///   a peer sees another port than the mapped one.
/// - The relay accepts a TCP connection before it connects to the client, and resets it if the client does not accept.
///
/// # Bounds
/// [`RelayLimits`] bound what it holds. At a bound, a new UDP peer replaces one without an answer before one with answers, and
/// among these the one that has been quiet for longest. The relay resets a new TCP connection above the bounds. No
/// mapping has more than its share of a turn, so that a flood on one does not starve the others.
///
/// # When a mapping is refused
/// - [`NatFailure::Network`]: there is no external address, or this host does not have it; or the mapping leads back to
///   the external address, which would be a loop.
/// - [`NatFailure::Resources`]: the port is taken by another program or another mapping, or may not be had, or this
///   process has no sockets left. The client may get another port.
#[derive(Debug)]
pub struct Relay {
    commands: CommandSender,
    thread: Option<JoinHandle<()>>,
}

/// How much a [`Relay`] holds at once.
///
/// A UDP peer takes one socket; a TCP connection takes two, and 32 KiB. The default is 64 of each for a mapping, 256 of
/// each in all: with that and 250 mappings, a process stays within the 1024 files that it may usually have open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RelayLimits {
    /// UDP peers of one mapping.
    pub peers_per_mapping: usize,
    /// UDP peers in all.
    pub peers: usize,
    /// TCP connections on one mapping.
    pub connections_per_mapping: usize,
    /// TCP connections in all.
    pub connections: usize,
    /// How long a UDP peer may be quiet, in both directions, before it is forgotten.
    pub idle: Duration,
}

impl Relay {
    /// Starts one, without an external address yet.
    ///
    /// # Errors
    /// What the system said, if the thread could not be started.
    pub fn start(limits: RelayLimits) -> io::Result<Self> {
        let (worker, commands) = Worker::new(limits)?;
        let thread = std::thread::Builder::new().name("natpmp-relay".to_owned()).spawn(move || worker.run())?;
        Ok(Self { commands, thread: Some(thread) })
    }
}

impl Nat for Relay {
    fn apply(&mut self, requests: &[NatRequest]) -> Vec<Result<(), NatFailure>> {
        self.commands
            .call(|answer| Command::Apply(requests.to_vec(), answer))
            .unwrap_or_else(|| vec![Err(NatFailure::Network); requests.len()])
    }

    fn set_external_address(&mut self, address: Option<Ipv4Addr>) {
        let _ = self.commands.call(|answer| Command::SetExternalAddress(address, answer));
    }

    fn end(&mut self) {
        let _ = self.commands.call(Command::End);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.commands.stop();
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

impl Default for RelayLimits {
    fn default() -> Self {
        Self { peers_per_mapping: 64, peers: 256, connections_per_mapping: 64, connections: 256, idle: IDLE }
    }
}

/// What RFC 4787 (REQ-5) asks of a NAT at least.
const IDLE: Duration = Duration::from_secs(120);

#[cfg(test)]
mod tests;
