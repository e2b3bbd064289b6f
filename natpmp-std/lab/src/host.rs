//! One host of the lab: a network namespace with an address; and the system's programs that make it and run on it.

use std::fmt;
use std::fs::File;
use std::io::Write;
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::process::Running;

/// A host of the lab.
#[derive(Debug, Clone)]
pub struct Host {
    namespace: String,
    address: Ipv4Addr,
}

impl Host {
    pub(crate) fn new(namespace: String, address: Ipv4Addr) -> Self {
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
        let mut command = system_command("ip");
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
        let listed = ip(&["netns", "pids", &self.namespace], "").unwrap_or_default();
        listed.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
    }

    /// Runs `ip` on this host: `&["route", "delete", "default"]` takes its default route away.
    ///
    /// # Panics
    /// If `ip` refuses.
    pub fn ip(&self, arguments: &[&str]) {
        let arguments: Vec<&str> = ["-n", &self.namespace].into_iter().chain(arguments.iter().copied()).collect();
        ip(&arguments, "").unwrap_or_else(|error| panic!("{error}"));
    }

    pub(crate) fn ip_batch(&self, script: &str) -> Result<(), Unavailable> {
        ip(&["-n", &self.namespace, "-batch", "-"], script).map(drop)
    }
}

/// Why there can be no lab on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unavailable {
    /// Only root may make network namespaces.
    NotRoot,
    /// This program is not installed.
    Missing(String),
    /// What was tried, and what the system said.
    NotPermitted(String),
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotRoot => write!(f, "network namespaces take root"),
            Self::Missing(program) => write!(f, "{program} is not installed"),
            Self::NotPermitted(what) => write!(f, "{what}"),
        }
    }
}

impl std::error::Error for Unavailable {}

/// Root, and the programs every lab needs.
pub(crate) fn check_system() -> Result<(), Unavailable> {
    find_all(&["ip", "nft", "miniupnpd"])?;
    if rustix::process::geteuid().is_root() { Ok(()) } else { Err(Unavailable::NotRoot) }
}

pub(crate) fn find_all(programs: &[&str]) -> Result<(), Unavailable> {
    programs.iter().try_for_each(|program| find(program).map(drop))
}

/// Where `program` is; the system's own directories count even if the path leaves them out.
pub(crate) fn find(program: &str) -> Result<PathBuf, Unavailable> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|directory| directory.join(program))
        .find(|candidate| candidate.is_file())
        .ok_or_else(|| Unavailable::Missing(program.to_owned()))
}

pub(crate) fn system_command(program: &str) -> Command {
    Command::new(find(program).unwrap_or_else(|_| PathBuf::from(program)))
}

/// Runs `ip` with `arguments`, and `script` on its standard input.
pub(crate) fn ip(arguments: &[&str], script: &str) -> Result<String, Unavailable> {
    let mut command = system_command("ip");
    command.args(arguments);
    run(command, script)
}

/// Runs a command with `script` on its standard input; its standard output, or what it complained about.
pub(crate) fn run(mut command: Command, script: &str) -> Result<String, Unavailable> {
    let output = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .and_then(|mut child| {
            // A command that has already failed does not read its input; its exit status says more than the broken pipe.
            let _ = child.stdin.take().map(|mut input| input.write_all(script.as_bytes()));
            child.wait_with_output()
        })
        .map_err(|error| Unavailable::NotPermitted(format!("{command:?}: {error}")))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let complaint = String::from_utf8_lossy(&output.stderr);
    Err(Unavailable::NotPermitted(format!("{command:?}: {}", complaint.trim())))
}
