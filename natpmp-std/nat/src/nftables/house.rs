//! What the box must bring itself.

use super::kernel::nft;

/// Warns of what seems to be missing.
pub(super) fn look_around() {
    if std::fs::read_to_string(FORWARDING).is_ok_and(|value| value.trim() == "0") {
        log::warn!("this box does not forward: set net.ipv4.ip_forward=1, or no mapping leads anywhere");
    }
    let listed = nft(&["list", "chains"], "").unwrap_or_default();
    for (table, chain) in closed_chains(&listed) {
        let words: Vec<&str> = ["list", "table"].into_iter().chain(table.split(' ')).collect();
        if !nft(&words, "").is_ok_and(|rules| lets_mapped_connections_through(&rules)) {
            log::warn!(
                "the chain {chain} of the table {table} drops what is forwarded, and seems to have no rule \
                 `ct status dnat accept`: without one no mapping leads anywhere"
            );
        }
    }
}

/// Those that are asked about what is forwarded, and drop by default, each with its table.
fn closed_chains(listed: &str) -> Vec<(&str, &str)> {
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

fn lets_mapped_connections_through(rules: &str) -> bool {
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
        assert_eq!(closed_chains(&listed), [("inet filter", "forward")]);
    }

    #[test]
    fn a_rule_for_mapped_connections_is_recognised() {
        assert!(lets_mapped_connections_through("\t\tct status dnat accept"));
        assert!(lets_mapped_connections_through("\t\t# xt_conntrack --ctstate DNAT counter accept"));
        assert!(!lets_mapped_connections_through("\t\tct state established accept\n\t\tdnat to 10.0.0.1"));
    }
}
