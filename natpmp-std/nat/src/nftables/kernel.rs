use std::fmt;
use std::io::{self, Write};
use std::net::Ipv4Addr;
use std::process::{Command, Stdio};

use super::conntrack::{Conntrack, Flow};

/// What of the kernel is used.
pub(super) trait Kernel: Send + fmt::Debug {
    /// All of the script, or nothing of it.
    fn commit(&mut self, script: &str) -> io::Result<()>;
    /// All flows of connection tracking, or at least those of UDP whose first packet went to this address.
    fn flows(&mut self, first_to: Option<Ipv4Addr>) -> io::Result<Vec<Flow>>;
    /// Removes one; it may be gone already.
    fn end_flow(&mut self, flow: &Flow) -> io::Result<()>;
}

/// The kernel of this host, or of the network namespace that the calling thread is in.
#[derive(Debug)]
pub(super) struct Linux {
    conntrack: Option<Conntrack>,
}

impl Linux {
    pub(super) fn new() -> Self {
        Self { conntrack: None }
    }

    fn conntrack(&mut self) -> io::Result<&mut Conntrack> {
        let conntrack = match self.conntrack.take() {
            Some(conntrack) => conntrack,
            None => Conntrack::open()?,
        };
        Ok(self.conntrack.insert(conntrack))
    }
}

impl Kernel for Linux {
    fn commit(&mut self, script: &str) -> io::Result<()> {
        nft(&["-f", "-"], script).map(drop)
    }

    fn flows(&mut self, first_to: Option<Ipv4Addr>) -> io::Result<Vec<Flow>> {
        let flows = self.conntrack()?.flows(first_to);
        if flows.is_err() {
            // What was left unread of one answer must not be taken for another.
            self.conntrack = None;
        }
        flows
    }

    fn end_flow(&mut self, flow: &Flow) -> io::Result<()> {
        self.conntrack()?.delete(flow)
    }
}

/// Runs `nft`; what it says, or what it complains of.
pub(super) fn nft(arguments: &[&str], script: &str) -> io::Result<String> {
    let mut child = match start("nft", arguments) {
        // Not on the path of everybody.
        Err(error) if error.kind() == io::ErrorKind::NotFound => start("/usr/sbin/nft", arguments),
        child => child,
    }
    .map_err(|error| io::Error::new(error.kind(), format!("nft cannot be run: {error}")))?;
    // If it fails before it has read everything, it says why.
    let _ = child.stdin.take().map(|mut input| input.write_all(script.as_bytes()));
    let output = child.wait_with_output()?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let complaint = String::from_utf8_lossy(&output.stderr);
    // The second line repeats the script.
    Err(io::Error::other(complaint.lines().next().unwrap_or("nft failed").to_owned()))
}

fn start(program: &str, arguments: &[&str]) -> io::Result<std::process::Child> {
    Command::new(program).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()
}
