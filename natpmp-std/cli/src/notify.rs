//! What the service manager is told, if one wants to know: when the service is ready, what it does, and that it ends.
//!
//! As sd_notify(3) says: one datagram a message, to the socket that the environment names.

use std::io;

use crate::report::note;

/// The service manager that started this process, or nobody. What it cannot be told is a warning, once.
#[derive(Debug)]
pub(crate) struct Manager {
    socket: Option<socket::Socket>,
    readiness: Readiness,
    status: String,
    has_failed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Readiness {
    No,
    /// It is ready, and the manager could not be told yet.
    Untold,
    Told,
}

impl Manager {
    pub(crate) fn of_environment() -> Self {
        // No other system has such a manager.
        let named = std::env::var_os(VARIABLE).filter(|name| cfg!(target_os = "linux") && !name.is_empty());
        let opened = named.map(|name| socket::Socket::open(&name)).transpose();
        let mut manager = Self { socket: None, readiness: Readiness::No, status: String::new(), has_failed: false };
        match opened {
            Ok(socket) => manager.socket = socket,
            Err(error) => manager.failed(&error),
        }
        manager
    }

    /// Whether anybody wants to know.
    pub(crate) const fn is_there(&self) -> bool {
        self.socket.is_some()
    }

    /// What it does now; and whether it is ready by now, which it then is for good. What was said already is not said
    /// again.
    pub(crate) fn tell(&mut self, is_ready: bool, status: &str) {
        if is_ready && self.readiness == Readiness::No {
            self.readiness = Readiness::Untold;
        }
        let status = one_line(status);
        if self.readiness == Readiness::Untold || self.status != status {
            let ready = if self.readiness == Readiness::Untold { "READY=1\n" } else { "" };
            let is_told = self.send(&format!("{ready}STATUS={status}\n"));
            if is_told {
                self.status = status;
                self.readiness = if self.readiness == Readiness::No { Readiness::No } else { Readiness::Told };
            }
        }
    }

    /// It ends, in its own time.
    pub(crate) fn stopping(&mut self, status: &str) {
        self.send(&format!("STOPPING=1\nSTATUS={}\n", one_line(status)));
    }

    fn send(&mut self, message: &str) -> bool {
        let Some(socket) = &self.socket else { return false };
        let sent = socket.send(message);
        if let Err(error) = &sent {
            self.failed(error);
        }
        sent.is_ok()
    }

    fn failed(&mut self, error: &io::Error) {
        if !std::mem::replace(&mut self.has_failed, true) {
            note(&format!("warning: cannot tell the service manager ({VARIABLE}): {error}; going on without"));
        }
    }
}

/// A line break would begin another word to the manager.
fn one_line(text: &str) -> String {
    text.split(char::is_control).filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
}

/// Where the manager says that it listens.
pub(crate) const VARIABLE: &str = "NOTIFY_SOCKET";

#[cfg(target_os = "linux")]
mod socket {
    use std::ffi::OsStr;
    use std::io;
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::net::{SocketAddr, UnixDatagram};
    use std::time::Duration;

    #[derive(Debug)]
    pub(super) struct Socket {
        socket: UnixDatagram,
        manager: SocketAddr,
    }

    impl Socket {
        /// To a path, or to an abstract name, which begins with `@`.
        pub(super) fn open(name: &OsStr) -> io::Result<Self> {
            let manager = match name.as_bytes() {
                [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
                [b'/', ..] => SocketAddr::from_pathname(name)?,
                _ => return Err(io::Error::new(io::ErrorKind::InvalidInput, "neither a path nor an abstract name")),
            };
            let socket = UnixDatagram::unbound()?;
            // A manager that does not read is not waited for, but for a moment.
            socket.set_write_timeout(Some(PATIENCE))?;
            Ok(Self { socket, manager })
        }

        pub(super) fn send(&self, message: &str) -> io::Result<()> {
            self.socket.send_to_addr(message.as_bytes(), &self.manager).map(drop)
        }
    }

    const PATIENCE: Duration = Duration::from_secs(1);
}

/// There is none.
#[cfg(not(target_os = "linux"))]
mod socket {
    use std::convert::Infallible;
    use std::ffi::OsStr;
    use std::io;

    #[derive(Debug)]
    pub(super) struct Socket(Infallible);

    impl Socket {
        pub(super) fn open(_: &OsStr) -> io::Result<Self> {
            Err(io::ErrorKind::Unsupported.into())
        }

        pub(super) fn send(&self, _: &str) -> io::Result<()> {
            match self.0 {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_one_line_whatever_it_is_made_of() {
        assert_eq!(one_line("no interface\nREADY=1\r\n here"), "no interface READY=1  here");
        assert_eq!(one_line("udp 4000 is open"), "udp 4000 is open");
    }
}
