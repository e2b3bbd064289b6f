//! What the NAT uses of the kernel: the program `nft`, connection tracking, and a check of what the host itself must bring.

use std::fmt;
use std::io::{self, Write};
use std::net::Ipv4Addr;
use std::process::{Command, Stdio};

use super::conntrack::{Conntrack, Flow};

/// The calls that the NAT makes to the kernel; tests put a fake one in its place.
pub(super) trait Kernel: Send + fmt::Debug {
    /// Runs a script of `nft` as one transaction: all of it takes effect, or nothing.
    fn commit(&mut self, script: &str) -> io::Result<()>;
    /// Lists the flows of connection tracking. With an address, the list may leave out all but the UDP flows whose first
    /// packet went there.
    fn flows(&mut self, first_to: Option<Ipv4Addr>) -> io::Result<Vec<Flow>>;
    /// Removes one flow; one that is gone already is success.
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
            // The socket may still hold the rest of this answer, which must not pass for the next one.
            self.conntrack = None;
        }
        flows
    }

    fn end_flow(&mut self, flow: &Flow) -> io::Result<()> {
        self.conntrack()?.delete(flow)
    }
}

/// Runs `nft` and returns its output.
///
/// # Errors
/// The first line of what `nft` complains of, or why it could not be run.
pub(super) fn nft(arguments: &[&str], script: &str) -> io::Result<String> {
    let mut child = match spawn("nft", arguments) {
        // Some systems leave it out of the path of ordinary users.
        Err(error) if error.kind() == io::ErrorKind::NotFound => spawn("/usr/sbin/nft", arguments),
        child => child,
    }
    .map_err(|error| io::Error::new(error.kind(), format!("nft cannot be run: {error}")))?;
    // A write fails when nft ends before it has read everything; its exit status says why.
    let _ = child.stdin.take().map(|mut input| input.write_all(script.as_bytes()));
    let output = child.wait_with_output()?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let complaint = String::from_utf8_lossy(&output.stderr);
    // The second line repeats the script.
    Err(io::Error::other(complaint.lines().next().unwrap_or("nft failed").to_owned()))
}

fn spawn(program: &str, arguments: &[&str]) -> io::Result<std::process::Child> {
    Command::new(program).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()
}

/// Warns, through the log, when the host does not forward packets or when its filter seems to drop mapped connections.
pub(super) fn warn_of_missing_setup() {
    if std::fs::read_to_string(FORWARDING).is_ok_and(|value| value.trim() == "0") {
        log::warn!("this box does not forward: set net.ipv4.ip_forward=1, or no mapping leads anywhere");
    }
    let listed = nft(&["list", "chains"], "").unwrap_or_default();
    for (table, chain) in dropping_chains(&listed) {
        let words: Vec<&str> = ["list", "table"].into_iter().chain(table.split(' ')).collect();
        if !nft(&words, "").is_ok_and(|rules| accepts_mapped_connections(&rules)) {
            log::warn!(
                "the chain {chain} of the table {table} drops what is forwarded, and seems to have no rule \
                 `ct status dnat accept`: without one no mapping leads anywhere"
            );
        }
    }
}

/// The chains that filter forwarded packets and drop by default, each with its table, in the output of `nft list chains`.
fn dropping_chains(listed: &str) -> Vec<(&str, &str)> {
    let (mut table, mut chain) = ("", "");
    let mut found = Vec::new();
    for line in listed.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix("table ").and_then(|rest| rest.strip_suffix(" {")) {
            table = name;
        } else if let Some(name) = line.strip_prefix("chain ").and_then(|rest| rest.strip_suffix(" {")) {
            chain = name;
        } else if line.contains("hook forward") && line.contains("policy drop") && !table.starts_with("ip6 ") {
            found.push((table, chain));
        }
    }
    found
}

fn accepts_mapped_connections(rules: &str) -> bool {
    let is_about = |line: &str| (line.contains("ct status") || line.contains("ctstate")) && line.contains("dnat");
    rules.lines().any(|line| is_about(&line.to_ascii_lowercase()))
}

const FORWARDING: &str = "/proc/sys/net/ipv4/ip_forward";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_that_drops_what_is_forwarded_is_found() {
        let chain = |table, hook, policy| {
            format!(
                "table {table} {{\n\tchain {hook} {{\n\t\ttype filter hook {hook} priority 0; \
                 policy {policy};\n\t}}\n}}\n"
            )
        };
        let listed = chain("inet filter", "forward", "drop")
            + &chain("inet other", "input", "drop")
            + &chain("ip open", "forward", "accept")
            + &chain("ip6 six", "forward", "drop");
        assert_eq!(dropping_chains(&listed), [("inet filter", "forward")]);
    }

    #[test]
    fn a_rule_for_mapped_connections_is_recognised() {
        assert!(accepts_mapped_connections("\t\tct status dnat accept"));
        assert!(accepts_mapped_connections("\t\t# xt_conntrack --ctstate DNAT counter accept"));
        assert!(!accepts_mapped_connections("\t\tct state established accept\n\t\tdnat to 10.0.0.1"));
    }
}
