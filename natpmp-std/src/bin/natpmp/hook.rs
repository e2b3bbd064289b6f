//! The command that is run on every change.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::Duration;

use natpmp_std::Protocol;

use crate::report::{name, note};

/// Runs the hook for one change after the other, on a thread of its own: nothing waits for it.
#[derive(Debug)]
pub(crate) struct Hook {
    changes: Sender<HookChange>,
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
        let (changes, receiver) = mpsc::channel();
        let (finish, finished) = mpsc::channel();
        let command = command.to_owned();
        thread::Builder::new().name("hook".into()).spawn(move || {
            receiver.iter().for_each(|change| run(&command, &change));
            drop(finish);
        })?;
        Ok(Self { changes, finished })
    }

    pub(crate) fn tell(&self, change: HookChange) {
        // The thread ends after the last change only.
        let _ = self.changes.send(change);
    }

    /// Waits for the hook to have run for all changes, but not for ever.
    pub(crate) fn finish(self) {
        drop(self.changes);
        if self.finished.recv_timeout(PATIENCE) == Err(mpsc::RecvTimeoutError::Timeout) {
            note(&format!(
                "warning: the --on-change command still runs after {} s and is left alone",
                PATIENCE.as_secs()
            ));
        }
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
