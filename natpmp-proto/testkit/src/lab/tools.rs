//! The programs a lab is made with, and what is said when it cannot be made.

use std::fmt;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

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
pub(super) fn check() -> Result<(), Unavailable> {
    find_all(&["ip", "nft", "miniupnpd"])?;
    if rustix::process::geteuid().is_root() { Ok(()) } else { Err(Unavailable::NotRoot) }
}

pub(super) fn find_all(programs: &[&str]) -> Result<(), Unavailable> {
    programs.iter().try_for_each(|program| find(program).map(drop))
}

/// Where `program` is; the system's own directories count even if the path leaves them out.
pub(super) fn find(program: &str) -> Result<PathBuf, Unavailable> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|directory| directory.join(program))
        .find(|candidate| candidate.is_file())
        .ok_or_else(|| Unavailable::Missing(program.to_owned()))
}

pub(super) fn command(program: &str) -> Command {
    Command::new(find(program).unwrap_or_else(|_| PathBuf::from(program)))
}

/// Runs `ip` with `arguments`, and `script` on its standard input.
pub(super) fn ip(arguments: &[&str], script: &str) -> Result<String, Unavailable> {
    let mut command = command("ip");
    command.args(arguments);
    run(command, script)
}

/// Runs a command with `script` on its standard input; its standard output, or what it complained about.
pub(super) fn run(mut command: Command, script: &str) -> Result<String, Unavailable> {
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
