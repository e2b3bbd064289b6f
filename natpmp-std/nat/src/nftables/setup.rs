//! A check of what the box itself must bring: forwarding, and a filter that lets mapped connections through.

use std::io;
use std::process::{Command, Output};

/// Warns, through the log, when the host does not forward packets or when its filter seems to drop mapped connections.
pub(super) fn warn_of_missing() {
    if std::fs::read_to_string(FORWARDING).is_ok_and(|value| value.trim() == "0") {
        log::warn!("this box does not forward: set net.ipv4.ip_forward=1, or no mapping leads anywhere");
    }
    let listed = nft(&["list", "chains"]).unwrap_or_default();
    for (table, chain) in dropping_chains(&listed) {
        let words: Vec<&str> = ["list", "table"].into_iter().chain(table.split(' ')).collect();
        if !nft(&words).is_some_and(|rules| accepts_mapped_connections(&rules)) {
            log::warn!(
                "the chain {chain} of the table {table} drops what is forwarded, and seems to have no rule \
                 `ct status dnat accept`: without one no mapping leads anywhere"
            );
        }
    }
}

/// What `nft` says, if it is there and does.
fn nft(arguments: &[&str]) -> Option<String> {
    let run = |program| -> io::Result<Output> { Command::new(program).args(arguments).output() };
    // Some systems leave it out of the path of ordinary users.
    let output = run("nft").or_else(|_| run("/usr/sbin/nft")).ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
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
