//! A service manager as a service sees it: a socket that messages are sent to.

use std::io::ErrorKind;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;
use std::time::{Duration, Instant};

use super::SOON;

pub(crate) struct Manager {
    socket: UnixDatagram,
    /// What the service finds in its environment.
    pub(crate) name: String,
    received: Vec<String>,
}

impl Manager {
    pub(crate) fn at(path: impl AsRef<Path>) -> Self {
        let path = path.as_ref();
        Self::of(UnixDatagram::bind(path).unwrap(), path.to_str().unwrap().to_owned())
    }

    pub(crate) fn with_abstract_name(name: &str) -> Self {
        let address = SocketAddr::from_abstract_name(name).unwrap();
        Self::of(UnixDatagram::bind_addr(&address).unwrap(), format!("@{name}"))
    }

    fn of(socket: UnixDatagram, name: String) -> Self {
        socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        Self { socket, name, received: Vec::new() }
    }

    /// Waits for a message with this line, and returns all of its lines. Those before it stay among those received.
    #[track_caller]
    pub(crate) fn receives(&mut self, fits: impl Fn(&str) -> bool) -> Vec<String> {
        let deadline = Instant::now() + SOON;
        while Instant::now() < deadline {
            if let Some(message) = self.next() {
                if message.lines().any(&fits) {
                    return message.lines().map(str::to_owned).collect();
                }
            }
        }
        panic!("no such message within {SOON:?}: {:?}", self.received);
    }

    /// Waits for this status.
    #[track_caller]
    pub(crate) fn receives_status(&mut self, part: &str) -> Vec<String> {
        self.receives(|line| line.strip_prefix("STATUS=").is_some_and(|status| status.contains(part)))
    }

    /// How many lines like this there were, up to now.
    pub(crate) fn count(&mut self, line: &str) -> usize {
        while self.next().is_some() {}
        self.received.iter().flat_map(|message| message.lines()).filter(|received| *received == line).count()
    }

    fn next(&mut self) -> Option<String> {
        let mut buffer = [0; 4_096];
        match self.socket.recv(&mut buffer) {
            Ok(length) => {
                let message = String::from_utf8(buffer[..length].to_vec()).unwrap();
                self.received.push(message.clone());
                Some(message)
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => None,
            Err(error) => panic!("{error}"),
        }
    }
}
