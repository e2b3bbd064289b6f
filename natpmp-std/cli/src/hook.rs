//! The command that is run on every change.

use std::collections::VecDeque;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use natpmp_std::Protocol;

use crate::report::{name, note};

/// Runs the hook for one change after the other, on a thread of its own: nothing waits for it.
///
/// A gateway that changes its mind faster than the hook runs does not fill the memory: then the oldest changes are left out.
#[derive(Debug)]
pub(crate) struct Hook {
    changes: Arc<Changes>,
    finished: Receiver<()>,
}

/// What the hook is told, in its environment. It is never part of the command line.
#[derive(Clone, Debug)]
pub(crate) struct HookChange {
    pub(crate) event: &'static str,
    pub(crate) protocol: Protocol,
    pub(crate) internal_port: u16,
    pub(crate) external_port: Option<u16>,
    pub(crate) external_address: Option<Ipv4Addr>,
    pub(crate) gateway: SocketAddrV4,
}

impl Hook {
    pub(crate) fn start(command: &str) -> io::Result<Self> {
        let changes = Arc::new(Changes::default());
        let (finish, finished) = mpsc::channel();
        let (command, waiting) = (command.to_owned(), Arc::clone(&changes));
        thread::Builder::new().name("hook".into()).spawn(move || {
            while let Some(change) = waiting.next() {
                run(&command, &change);
            }
            drop(finish);
        })?;
        Ok(Self { changes, finished })
    }

    pub(crate) fn tell(&self, change: HookChange) {
        if self.changes.add(change) {
            note("warning: the --on-change command does not keep up: it does not hear of all changes");
        }
    }

    /// Waits for the hook to have run for all changes, but not for ever.
    pub(crate) fn finish(self) {
        self.changes.end();
        if self.finished.recv_timeout(PATIENCE) == Err(mpsc::RecvTimeoutError::Timeout) {
            note(&format!(
                "warning: the --on-change command still runs after {} s and is left alone",
                PATIENCE.as_secs()
            ));
        }
    }
}

/// Those that the hook was not run for yet.
#[derive(Debug, Default)]
struct Changes {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    changes: VecDeque<HookChange>,
    /// Some were left out.
    is_lossy: bool,
    is_over: bool,
}

impl Changes {
    /// `true` if one had to make room, for the first time.
    fn add(&self, change: HookChange) -> bool {
        let mut waiting = self.lock();
        let is_full = waiting.changes.len() >= MOST_WAITING;
        if is_full {
            waiting.changes.pop_front();
        }
        waiting.changes.push_back(change);
        self.changed.notify_one();
        is_full && !std::mem::replace(&mut waiting.is_lossy, true)
    }

    /// The next one, as soon as there is one; `None` at the end.
    fn next(&self) -> Option<HookChange> {
        let waiting = self.lock();
        let is_idle = |waiting: &mut Waiting| waiting.changes.is_empty() && !waiting.is_over;
        let waiting = self.changed.wait_while(waiting, is_idle);
        waiting.unwrap_or_else(PoisonError::into_inner).changes.pop_front()
    }

    /// No more will follow.
    fn end(&self) {
        self.lock().is_over = true;
        self.changed.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn run(command: &str, change: &HookChange) {
    let text = |value: Option<String>| value.unwrap_or_default();
    let status = shell(command)
        // It does not speak for the service.
        .env_remove(crate::notify::VARIABLE)
        .env("NATPMP_EVENT", change.event)
        .env("NATPMP_PROTOCOL", name(change.protocol))
        .env("NATPMP_INTERNAL_PORT", change.internal_port.to_string())
        .env("NATPMP_EXTERNAL_PORT", text(change.external_port.map(|port| port.to_string())))
        .env("NATPMP_EXTERNAL_ADDRESS", text(change.external_address.map(|address| address.to_string())))
        .env("NATPMP_GATEWAY", change.gateway.ip().to_string())
        .stdin(Stdio::null())
        // Standard output is for results.
        .stdout(io::stderr())
        .status();
    match status {
        Ok(status) if status.success() => {}
        Ok(status) => note(&format!("warning: the --on-change command failed ({status})")),
        Err(error) => note(&format!("warning: the --on-change command cannot be run: {error}")),
    }
}

#[cfg(unix)]
fn shell(command: &str) -> Command {
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", command]);
    shell
}

#[cfg(not(unix))]
fn shell(command: &str) -> Command {
    let mut shell = Command::new("cmd");
    shell.args(["/C", command]);
    shell
}

const PATIENCE: Duration = Duration::from_secs(5);
const MOST_WAITING: usize = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_more_changes_than_can_wait_the_latest_are_told_in_order() {
        let changes = Changes::default();
        let lossy: Vec<u16> = (0..2_500).filter(|&port| changes.add(change(port))).collect();
        assert_eq!(lossy, [1_000], "it is said once");
        changes.end();
        let told: Vec<u16> = std::iter::from_fn(|| changes.next()).map(|change| change.internal_port).collect();
        assert_eq!(told, (1_500..2_500).collect::<Vec<_>>());
    }

    fn change(internal_port: u16) -> HookChange {
        HookChange {
            event: "changed",
            protocol: Protocol::Udp,
            internal_port,
            external_port: None,
            external_address: None,
            gateway: SocketAddrV4::new(Ipv4Addr::LOCALHOST, 5351),
        }
    }
}
