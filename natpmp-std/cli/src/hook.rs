//! The command that is run on every change.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, Receiver, SyncSender, TrySendError};
use std::sync::{Arc, Mutex, PoisonError, TryLockError};
use std::thread;
use std::time::Duration;

use natpmp_std::Protocol;

use crate::lines::name;
use crate::report::Notes;

/// Runs the hook for one change after the other, on a thread of its own: nothing waits for it.
///
/// A gateway that changes its mind faster than the hook runs does not fill the memory: then the oldest changes are left out.
#[derive(Debug)]
pub(crate) struct Hook {
    changes: Changes,
    finished: Receiver<()>,
    notes: Notes,
}

/// What the hook learns, from its environment. It is never part of the command line.
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
    pub(crate) fn start(command: &str, notes: &Notes) -> io::Result<Self> {
        let (changes, waiting) = Changes::new(MOST_WAITING);
        let (finish, finished) = mpsc::channel();
        let (command, of_thread) = (command.to_owned(), notes.clone());
        thread::Builder::new().name("hook".into()).spawn(move || {
            while let Some(change) = next(&waiting) {
                run(&command, &change, &of_thread);
            }
            drop(finish);
        })?;
        Ok(Self { changes, finished, notes: notes.clone() })
    }

    /// Has the hook run for this change, after those before it.
    pub(crate) fn queue(&mut self, change: HookChange) {
        if self.changes.add(change) {
            self.notes.warn("the --on-change command does not keep up: it does not hear of all changes");
        }
    }

    /// Waits for the hook to have run for all changes, but not for ever.
    pub(crate) fn finish(self) {
        // The thread ends after those that wait.
        drop(self.changes);
        if self.finished.recv_timeout(PATIENCE) == Err(mpsc::RecvTimeoutError::Timeout) {
            let seconds = PATIENCE.as_secs();
            self.notes.warn(&format!("the --on-change command still runs after {seconds} s and is left alone"));
        }
    }
}

/// The changes that the hook was not run for yet, at most as many as the channel holds.
#[derive(Debug)]
struct Changes {
    sender: SyncSender<HookChange>,
    /// To take the oldest out where there is no room. The thread of the hook locks it while it waits for the next one.
    waiting: Waiting,
    /// Some were left out.
    is_lossy: bool,
}

type Waiting = Arc<Mutex<Receiver<HookChange>>>;

impl Changes {
    fn new(most: usize) -> (Self, Waiting) {
        let (sender, receiver) = mpsc::sync_channel(most);
        let waiting = Arc::new(Mutex::new(receiver));
        (Self { sender, waiting: Arc::clone(&waiting), is_lossy: false }, waiting)
    }

    /// `true` if one had to make room, for the first time.
    fn add(&mut self, change: HookChange) -> bool {
        let Err(TrySendError::Full(change)) = self.sender.try_send(change) else { return false };
        match self.waiting.try_lock() {
            Ok(waiting) => drop(waiting.try_recv()),
            Err(TryLockError::Poisoned(waiting)) => drop(waiting.into_inner().try_recv()),
            // The thread of the hook takes one itself.
            Err(TryLockError::WouldBlock) => {}
        }
        // There is room, or will be in a moment: only this thread sends.
        let _ = self.sender.send(change);
        !std::mem::replace(&mut self.is_lossy, true)
    }
}

/// The next change, as soon as there is one; `None` at the end.
fn next(waiting: &Waiting) -> Option<HookChange> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner).recv().ok()
}

fn run(command: &str, change: &HookChange, notes: &Notes) {
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
        Ok(status) => notes.warn(&format!("the --on-change command failed ({status})")),
        Err(error) => notes.warn(&format!("the --on-change command cannot be run: {error}")),
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
        let (mut changes, waiting) = Changes::new(MOST_WAITING);
        let lossy: Vec<u16> = (0..2_500).filter(|&port| changes.add(change(port))).collect();
        assert_eq!(lossy, [1_000], "it is said once");
        drop(changes);
        let run: Vec<u16> = std::iter::from_fn(|| next(&waiting)).map(|change| change.internal_port).collect();
        assert_eq!(run, (1_500..2_500).collect::<Vec<_>>());
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
