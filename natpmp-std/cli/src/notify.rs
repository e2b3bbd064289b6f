//! What the service manager learns, if there is one: when the service is ready, what it does, and that it ends.
//!
//! As sd_notify(3) says: one datagram a message, to the socket that the environment names.

use std::io;

use crate::report::Notes;

/// The service manager that started this process. What it cannot be sent is a warning, once.
#[derive(Debug)]
pub(crate) struct Manager {
    socket: socket::Socket,
    readiness: Readiness,
    status: String,
    has_failed: bool,
    notes: Notes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Readiness {
    NotReady,
    /// It is ready, and the message that says so could not be sent yet.
    Unsent,
    Sent,
}

impl Manager {
    /// The one that the environment names, if there is one.
    pub(crate) fn of_environment(notes: &Notes) -> Option<Self> {
        // No other system has such a manager.
        let name = std::env::var_os(VARIABLE).filter(|name| cfg!(target_os = "linux") && !name.is_empty())?;
        match socket::Socket::open(&name) {
            Ok(socket) => Some(Self {
                socket,
                readiness: Readiness::NotReady,
                status: String::new(),
                has_failed: false,
                notes: notes.clone(),
            }),
            Err(error) => {
                warn(notes, &error);
                None
            }
        }
    }

    /// Says what the service does now; and whether it is ready by now, which it then is for good. What was said already is not said again.
    pub(crate) fn notify(&mut self, is_ready: bool, status: &str) {
        if is_ready && self.readiness == Readiness::NotReady {
            self.readiness = Readiness::Unsent;
        }
        let status = one_line(status);
        if self.readiness == Readiness::Unsent || self.status != status {
            let ready = if self.readiness == Readiness::Unsent { "READY=1\n" } else { "" };
            if self.send(&format!("{ready}STATUS={status}\n")) {
                self.status = status;
                if self.readiness == Readiness::Unsent {
                    self.readiness = Readiness::Sent;
                }
            }
        }
    }

    /// Says that the service ends, in its own time.
    pub(crate) fn notify_stop(&mut self, status: &str) {
        self.send(&format!("STOPPING=1\nSTATUS={}\n", one_line(status)));
    }

    fn send(&mut self, message: &str) -> bool {
        let sent = self.socket.send(message);
        if let Err(error) = &sent {
            if !std::mem::replace(&mut self.has_failed, true) {
                warn(&self.notes, error);
            }
        }
        sent.is_ok()
    }
}

fn warn(notes: &Notes, error: &io::Error) {
    notes.warn(&format!("cannot tell the service manager ({VARIABLE}): {error}; going on without"));
}

/// A line break would begin another assignment in the message.
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
