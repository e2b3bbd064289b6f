//! The servers, each a process of its own, and what they cost.

use std::fs;
use std::net::SocketAddrV4;
use std::time::Duration;

use natpmp_lab::{Host, Running};
use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_setaffinity};

/// A process that serves until it is dropped.
pub(crate) struct Process {
    pub(crate) address: SocketAddrV4,
    running: Running,
}

impl Process {
    /// Starts this program in a role of `server`, on `host` or on this machine.
    pub(crate) fn start(host: Option<&Host>, role: &[&str]) -> Self {
        let program = std::env::current_exe().unwrap();
        let program = program.to_str().unwrap();
        let arguments = [&["serve"], role].concat();
        let mut running = match host {
            Some(host) => host.spawn_with_input(program, &arguments),
            None => {
                let mut command = std::process::Command::new(program);
                command.args(arguments);
                Running::spawn_with_input(command)
            }
        };
        let address = running.line(SOON, |_| true).parse().unwrap();
        Self { address, running }
    }

    pub(crate) fn id(&self) -> u32 {
        self.running.pid()
    }

    /// How often the NAT was asked so far.
    pub(crate) fn batches(&mut self) -> u64 {
        self.running.type_line("batches");
        self.running.line(SOON, |_| true).parse().unwrap()
    }
}

/// Time on the processor of all threads of a process.
pub(crate) fn time_of(id: u32) -> Duration {
    let of = |task: fs::DirEntry| {
        let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<u64>().ok()
    };
    Duration::from_nanos(fs::read_dir(format!("/proc/{id}/task")).unwrap().flatten().filter_map(of).sum())
}

/// Resident memory of a process, in KiB.
pub(crate) fn memory_of(id: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

/// Keeps a process, or this thread, on one processor, if there is one of that number.
pub(crate) fn pin(id: Option<u32>, processor: usize) {
    let mut set = CpuSet::new();
    set.set(processor);
    // Where there is only one, they share it.
    let _ = sched_setaffinity(id.and_then(|id| Pid::from_raw(id.try_into().unwrap())), &set);
}

const SOON: Duration = Duration::from_secs(10);
