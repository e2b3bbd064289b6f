use std::fmt;
use std::io;
use std::net::SocketAddrV4;
use std::time::Duration;

use natpmp_proto::client::{self, MapError};
use natpmp_proto::wire::Refusal;

use super::state::NetworkError;
use crate::os::routes::DiscoverError;

/// Why a call failed. The five outcomes that callers tell apart are five variants or more: no answer, port
/// unreachable, refused (with the gateway's result code), network down on this side, and a bad argument.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// No answer to any send: the gateway is away, drops the packets, or does not speak NAT-PMP.
    NoAnswer {
        /// Who was asked.
        gateway: SocketAddrV4,
        /// For how long.
        waited: Duration,
    },
    /// The gateway has nothing on that port: it does not speak NAT-PMP, or not at present.
    PortUnreachable {
        /// Who was asked.
        gateway: SocketAddrV4,
    },
    /// The gateway refused, or granted nothing (`None`).
    Refused {
        /// Who was asked.
        gateway: SocketAddrV4,
        /// What it said; `None` if it said yes to no port or no time.
        refusal: Option<Refusal>,
    },
    /// The request could not be sent: no route, no link, no such local address.
    NetworkDown {
        /// Who was to be asked.
        gateway: SocketAddrV4,
        /// What the system said.
        kind: io::ErrorKind,
        /// The same, as the system's number for it.
        os_error: Option<i32>,
    },
    /// The request makes no sense, or is one too many. Nothing was changed.
    BadArgument(MapError),
    /// This mapping is kept already. Nothing was changed.
    AlreadyKept,
    /// Another call took the mapping back, or another gateway was set, while this call waited.
    Interrupted,
    /// The client was stopped while this call waited.
    Stopped,
    /// No gateway was given, and none was found.
    Discover(DiscoverError),
    /// The worker could not be started.
    Start(io::Error),
}

impl Error {
    /// Whether this is what a gateway without NAT-PMP looks like (RFC 6886, section 3.8): a program may go on without.
    #[must_use]
    pub const fn is_unsupported(&self) -> bool {
        matches!(
            self,
            Self::NoAnswer { .. }
                | Self::PortUnreachable { .. }
                | Self::Refused { refusal: Some(Refusal::UnsupportedVersion | Refusal::UnsupportedOpcode), .. }
        )
    }

    /// The machine's error, with what the adapter knows about it.
    pub(crate) fn from_machine(
        error: client::RequestError,
        gateway: SocketAddrV4,
        waited: Duration,
        network: NetworkError,
    ) -> Self {
        match error {
            client::RequestError::NoAnswer => Self::NoAnswer { gateway, waited },
            client::RequestError::PortUnreachable => Self::PortUnreachable { gateway },
            client::RequestError::NetworkDown => {
                Self::NetworkDown { gateway, kind: network.kind, os_error: network.os_error }
            }
            client::RequestError::Refused(refusal) => Self::Refused { gateway, refusal: Some(refusal) },
            client::RequestError::GrantedNothing => Self::Refused { gateway, refusal: None },
            _ => Self::Interrupted,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoAnswer { gateway, waited } => write!(
                f,
                "no answer from {gateway} in {:.1} s: it may be no gateway, have NAT-PMP switched off, or drop the packets",
                waited.as_secs_f32()
            ),
            Self::PortUnreachable { gateway } => write!(
                f,
                "{gateway} has nothing on that port (port unreachable): NAT-PMP is switched off there, or starting"
            ),
            Self::Refused { gateway, refusal: Some(refusal) } => write!(f, "{gateway} refused: {refusal}"),
            Self::Refused { gateway, refusal: None } => {
                write!(f, "{gateway} granted nothing: its answer was yes, to port 0 or for 0 s")
            }
            Self::NetworkDown { gateway, .. } if gateway.ip().is_unspecified() => {
                f.write_str("no gateway is known yet: it is waited for; is there a default route?")
            }
            Self::NetworkDown { gateway, kind, os_error } => {
                write!(f, "cannot send to {gateway}: ")?;
                match os_error {
                    Some(number) => io::Error::from_raw_os_error(*number).fmt(f)?,
                    None => kind.fmt(f)?,
                }
                f.write_str("; is the interface up, and the local address right?")
            }
            Self::BadArgument(error) => error.fmt(f),
            Self::AlreadyKept => f.write_str("this mapping is kept already: use its handle, or stop it first"),
            Self::Interrupted => f.write_str("another call took the mapping back while this one waited"),
            Self::Stopped => f.write_str("the client was stopped while this call waited"),
            Self::Discover(error) => error.fmt(f),
            Self::Start(error) => write!(f, "cannot start the worker: {error}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::BadArgument(error) => Some(error),
            Self::Discover(error) => Some(error),
            Self::Start(error) => Some(error),
            _ => None,
        }
    }
}

impl From<MapError> for Error {
    fn from(error: MapError) -> Self {
        Self::BadArgument(error)
    }
}

impl From<DiscoverError> for Error {
    fn from(error: DiscoverError) -> Self {
        Self::Discover(error)
    }
}
