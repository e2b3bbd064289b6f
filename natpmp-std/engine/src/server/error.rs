use std::fmt;
use std::io;
use std::net::SocketAddrV4;

use super::StateError;

/// Why a server could not be started.
#[derive(Debug)]
#[non_exhaustive]
pub enum ServerError {
    /// No internal address or interface was given.
    NoInternal,
    /// There is no interface of this name, or it has no IPv4 address.
    NoAddress {
        /// The interface's name.
        interface: String,
    },
    /// No interface has this internal address.
    NotLocal {
        /// The address.
        address: std::net::Ipv4Addr,
    },
    /// The internal and the external side are the same address, so that no client could be told from a host outside.
    SameSides,
    /// A socket for requests could not be opened.
    Socket {
        /// Where it was to listen.
        address: SocketAddrV4,
        /// What the system said.
        error: io::Error,
    },
    /// The state file could not be read or written. A damaged one is renamed, and kept.
    State(StateError),
    /// The NAT could not be started.
    Nat(io::Error),
    /// The system has no thread or descriptor left, or does not list its interfaces.
    System(io::Error),
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoInternal => {
                f.write_str("no internal address or interface was given: name one whose hosts are to be served")
            }
            Self::SameSides => f.write_str(
                "the internal and the external side are the same address: give each its own, such as 127.0.0.1 and 127.0.0.2",
            ),
            Self::NoAddress { interface } => {
                write!(f, "interface {interface} does not exist or has no IPv4 address: give it one, or name another")
            }
            Self::NotLocal { address } => {
                write!(f, "no interface has the internal address {address}: name one of this host's own addresses")
            }
            Self::Socket { address, error } => write!(
                f,
                "cannot listen on {address}: {error}; is another NAT-PMP or PCP server running, such as miniupnpd?"
            ),
            Self::State(error) => error.fmt(f),
            Self::Nat(error) => write!(f, "the NAT cannot be started: {error}"),
            Self::System(error) => write!(f, "cannot start the gateway: {error}"),
        }
    }
}

impl std::error::Error for ServerError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Socket { error, .. } | Self::Nat(error) | Self::System(error) => Some(error),
            Self::State(error) => Some(error),
            _ => None,
        }
    }
}

impl From<StateError> for ServerError {
    fn from(error: StateError) -> Self {
        Self::State(error)
    }
}
