//! What a server is started with.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;

use natpmp_nat::Nat;
use natpmp_proto::gateway::{Config, NatMapping};
use natpmp_proto::wire::{ANNOUNCEMENT_GROUP, ANNOUNCEMENT_PORT, GATEWAY_PORT};

/// What a server is started with, beside its NAT. The default serves nobody: it has no [`internal`](Self::internal) side.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// The addresses and interfaces whose clients are served; at least one. The server does not hear requests that arrive by another
    /// interface, as far as the system can tell them apart (Linux).
    pub internal: Vec<Internal>,
    /// The side towards the internet; none by default.
    pub external: External,
    /// Leases, ports and limits.
    pub config: Config,
    /// Mappings that the administrator makes. They live as long as the server does, and their clients cannot delete them.
    pub static_mappings: Vec<NatMapping>,
    /// The UDP port to listen on: 5351 by default, and 0 for any.
    pub port: u16,
    /// Where announcements go, out of each internal interface: 224.0.0.1:5350 by default.
    pub announce_to: SocketAddrV4,
    /// The file that keeps the state over a restart; none by default.
    ///
    /// The server takes up the mappings in it, and the epoch if the server before ended in order. After a crash the epoch begins
    /// at 0, since the last mappings may not have come to the file: clients see that, and ask again. A server that crashes in
    /// the first seconds of its epoch cannot show them (RFC 6886, section 3.6).
    pub state_file: Option<PathBuf>,
    /// How many requests a second of one client are answered, after as many as two seconds bring at once: 1,000 by default, and any
    /// number for `None`. The server drops those above without an answer, and counts them. The limit bounds what a client costs,
    /// and what a host is sent in whose name another one asks.
    pub requests_per_second: Option<u32>,
}

/// Starts the NAT. The engine calls it last, when the sockets are open and the state is read, so that a server that cannot start
/// leaves the NAT of another one alone.
pub type StartNat = Box<dyn FnOnce(&Sides) -> io::Result<Box<dyn Nat>>>;

/// An address or interface whose clients are served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Internal {
    /// One of this host's own addresses, and the hosts behind its interface. When the address goes, the server serves it again within
    /// 2 s of its return.
    Address(Ipv4Addr),
    /// An interface, by all IPv4 addresses that it has; the server follows changes of them within 2 s.
    Interface(String),
}

/// The side towards the internet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum External {
    /// This address, which stays until `Server::set_external_address` is called.
    Address(Ipv4Addr),
    /// The address that this interface has; the server follows changes of it within 2 s.
    Interface(String),
    /// None yet: clients get result 3 until `Server::set_external_address` is called.
    None,
}

/// The interfaces of both sides, which a NAT is started with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sides {
    /// Those of the internal addresses.
    pub internal: Vec<String>,
    /// The one of the external address, if it is known.
    pub external: Option<String>,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            internal: Vec::new(),
            external: External::None,
            config: Config::new(),
            static_mappings: Vec::new(),
            port: GATEWAY_PORT,
            announce_to: SocketAddrV4::new(ANNOUNCEMENT_GROUP, ANNOUNCEMENT_PORT),
            state_file: None,
            requests_per_second: Some(REQUESTS_PER_SECOND),
        }
    }
}

/// Far more than a client has a use for: it waits for one answer before it asks for the next, and has 64 mappings by default.
const REQUESTS_PER_SECOND: u32 = 1_000;
