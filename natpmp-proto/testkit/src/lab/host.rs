//! One host of the lab: a network namespace with an address.

use std::fs::File;
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::process::Command;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::process::Running;
use super::tools::{self, Unavailable};

/// A host of the lab.
#[derive(Debug, Clone)]
pub struct Host {
    namespace: String,
    address: Ipv4Addr,
}

impl Host {
    pub(super) fn new(namespace: String, address: Ipv4Addr) -> Self {
        Self { namespace, address }
    }

    /// The address it was given.
    #[must_use]
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// The name of its network namespace, as `ip netns` lists it.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// A command that will run on this host. The process it starts is the program itself, so a signal to it reaches the program.
    #[must_use]
    pub fn command(&self, program: &str) -> Command {
        let mut command = tools::command("ip");
        command.args(["netns", "exec", &self.namespace, program]);
        command
    }

    /// Starts a program on this host, its output captured line by line.
    ///
    /// # Panics
    /// If it cannot be started.
    #[must_use]
    pub fn spawn(&self, program: &str, arguments: &[&str]) -> Running {
        let mut command = self.command(program);
        command.args(arguments);
        Running::spawn(command)
    }

    /// The same, with a standard input that is open until [`Running::end_input`].
    ///
    /// # Panics
    /// If it cannot be started.
    #[must_use]
    pub fn spawn_with_input(&self, program: &str, arguments: &[&str]) -> Running {
        let mut command = self.command(program);
        command.args(arguments);
        Running::spawn_with_input(command)
    }

    /// Does some work on this host, in a thread of its own. Sockets opened there, and threads started there, stay on this host
    /// wherever they are used.
    ///
    /// # Panics
    /// If the work panics, or the host is gone.
    pub fn within<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let entered = || {
            let namespace = File::open(format!("/run/netns/{}", self.namespace)).expect("the namespace is there");
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).expect("root may enter it");
            work()
        };
        std::thread::scope(|scope| scope.spawn(entered).join()).unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// The processes on this host.
    #[must_use]
    pub fn processes(&self) -> Vec<u32> {
        let listed = tools::ip(&["netns", "pids", &self.namespace], "").unwrap_or_default();
        listed.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
    }

    /// Runs `ip` on this host: `&["route", "delete", "default"]` takes its default route away.
    ///
    /// # Panics
    /// If `ip` refuses.
    pub fn ip(&self, arguments: &[&str]) {
        let arguments: Vec<&str> = ["-n", &self.namespace].into_iter().chain(arguments.iter().copied()).collect();
        tools::ip(&arguments, "").unwrap_or_else(|error| panic!("{error}"));
    }

    pub(super) fn ip_batch(&self, script: &str) -> Result<(), Unavailable> {
        tools::ip(&["-n", &self.namespace, "-batch", "-"], script).map(drop)
    }
}
