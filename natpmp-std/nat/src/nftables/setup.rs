//! A check of what the box itself must bring: forwarding, and a filter that lets mapped connections through.

use std::io;

use natpmp_netlink::netfilter::{self, IPV4, NFTABLES};
use natpmp_netlink::{AttributeWriter, Attributes, Message, NLM_F_DUMP, Socket, array, find};
use rustix::net::netlink::NETFILTER;

use super::schema::{NEW_CHAIN, NEW_RULE};

/// Warns, through the log, when the host does not forward packets or when its filter seems to drop mapped connections.
pub(super) fn warn_of_missing() {
    if std::fs::read_to_string(FORWARDING).is_ok_and(|value| value.trim() == "0") {
        log::warn!("this box does not forward: set net.ipv4.ip_forward=1, or no mapping leads anywhere");
    }
    match chains_in_the_way() {
        Ok(chains) => {
            for Chain { family, table, name } in chains {
                let family = if family == IPV4 { "ip" } else { "inet" };
                log::warn!(
                    "the chain {name} of the table {family} {table} drops what is forwarded, and seems to have no rule \
                     `ct status dnat accept`: without one no mapping leads anywhere"
                );
            }
        }
        Err(error) => log::debug!("what the box's filter drops cannot be read: {error}"),
    }
}

/// A chain that filters forwarded packets and drops by default.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Chain {
    family: u8,
    table: String,
    name: String,
}

/// The chains that drop by default, of tables without a rule that is about mapped connections.
fn chains_in_the_way() -> io::Result<Vec<Chain>> {
    let mut socket = Socket::open(Some(NETFILTER))?;
    let mut chains = Vec::new();
    let kind = |kind| u16::from_be_bytes([NFTABLES, kind]);
    let every_family = netfilter::header(0, 0);
    let take = |answer: Message<'_>| chains.extend(Chain::read(&answer));
    socket.ask(kind(GET_CHAINS), NLM_F_DUMP, &every_family, take)?.accepted()?;
    let mut in_the_way = Vec::new();
    for chain in chains {
        let mut request = AttributeWriter::after(&netfilter::header(chain.family, 0));
        request.name(1, &chain.table);
        let mut accepts = false;
        let look = |answer: Message<'_>| accepts |= is_about_mapped_connections(&answer, &chain);
        socket.ask(kind(GET_RULES), NLM_F_DUMP, &request.into_bytes(), look)?.accepted()?;
        if !accepts {
            in_the_way.push(chain);
        }
    }
    Ok(in_the_way)
}

impl Chain {
    /// Reads a chain from a message of the kernel, if it is one that drops forwarded packets of IPv4 by default.
    fn read(message: &Message<'_>) -> Option<Self> {
        let family = *message.body.first().filter(|family| [INET, IPV4].contains(family))?;
        let attributes =
            message.body.get(HEADER..).filter(|_| message.kind == u16::from_be_bytes([NFTABLES, NEW_CHAIN]))?;
        let hook = u32::from_be_bytes(array(find(find(attributes, CHAIN_HOOK)?, 1)?, 0)?);
        let policy = u32::from_be_bytes(array(find(attributes, CHAIN_POLICY)?, 0)?);
        let text = |kind| {
            let bytes = find(attributes, kind)?;
            Some(String::from_utf8_lossy(bytes.strip_suffix(b"\0").unwrap_or(bytes)).into_owned())
        };
        (hook == FORWARD && policy == DROP).then_some(Self { family, table: text(1)?, name: text(CHAIN_NAME)? })
    }
}

/// Whether a message has a rule of the chain's table that looks at whether a connection is mapped: by an expression of
/// nftables, or by the match of `iptables` that is called conntrack.
fn is_about_mapped_connections(message: &Message<'_>, chain: &Chain) -> bool {
    let is_rule =
        message.kind == u16::from_be_bytes([NFTABLES, NEW_RULE]) && message.body.first() == Some(&chain.family);
    let attributes = message.body.get(HEADER..).filter(|_| is_rule).unwrap_or_default();
    let is_of_table = find(attributes, 1).and_then(|name| name.strip_suffix(b"\0")) == Some(chain.table.as_bytes());
    let list = find(attributes, RULE_EXPRESSIONS).filter(|_| is_of_table).unwrap_or_default();
    let mut has_status = false;
    for (_, expression) in Attributes::new(list) {
        let data = find(expression, 2).unwrap_or_default();
        let number = |kind| find(data, kind).and_then(|value| array(value, 0)).map(u32::from_be_bytes);
        match find(expression, 1).unwrap_or_default() {
            b"ct\0" => has_status = number(2) == Some(CT_STATUS),
            b"bitwise\0" if has_status => {
                // A mask in the byte order of the machine.
                let mask = find(data, 4).and_then(|mask| find(mask, 1)).and_then(|mask| array(mask, 0));
                if mask.map_or(0, u32::from_ne_bytes) & STATUS_DNAT != 0 {
                    return true;
                }
            }
            b"match\0" if find(data, 1) == Some(b"conntrack\0") => {
                let states = find(data, 3).and_then(|info| array(info, XT_STATES_AT)).map_or(0, u16::from_ne_bytes);
                if states & XT_STATE_DNAT != 0 {
                    return true;
                }
            }
            _ => {}
        }
    }
    false
}

const FORWARDING: &str = "/proc/sys/net/ipv4/ip_forward";
// linux/netfilter/nf_tables.h and nf_conntrack_common.h
const HEADER: usize = 4;
const GET_CHAINS: u8 = 4;
const GET_RULES: u8 = 7;
const INET: u8 = 1;
const CHAIN_NAME: u16 = 3;
const CHAIN_HOOK: u16 = 4;
const CHAIN_POLICY: u16 = 5;
const RULE_EXPRESSIONS: u16 = 4;
const FORWARD: u32 = 2;
const DROP: u32 = 0;
const CT_STATUS: u32 = 2;
const STATUS_DNAT: u32 = 1 << 5;
// linux/netfilter/xt_conntrack.h
const XT_STATES_AT: usize = 150;
const XT_STATE_DNAT: u16 = 1 << 7;

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u8, body: &[u8]) -> Message<'_> {
        Message { kind: u16::from_be_bytes([NFTABLES, kind]), flags: 0, sequence: 0, port: 0, body }
    }

    #[test]
    fn a_chain_that_drops_what_is_forwarded_is_found() {
        let chain = |family, table: &str, hook, policy| {
            let mut body = AttributeWriter::after(&[family, 0, 0, 0]);
            body.name(1, table);
            body.name(3, "chain");
            body.nested(4, |place| place.number(1, hook));
            body.number(5, policy);
            body.into_bytes()
        };
        let all = [
            chain(1, "filter", 2, 0),
            chain(1, "other", 1, 0),
            chain(2, "open", 2, 1),
            chain(10, "six", 2, 0),
            AttributeWriter::after(&[2, 0, 0, 0]).into_bytes(),
        ];
        let found: Vec<_> = all.iter().filter_map(|body| Chain::read(&message(NEW_CHAIN, body))).collect();
        assert_eq!(found, [Chain { family: 1, table: "filter".into(), name: "chain".into() }]);
        for end in 0..all[0].len() {
            let _ = Chain::read(&message(NEW_CHAIN, &all[0][..end]));
        }
    }

    #[test]
    fn a_rule_for_mapped_connections_is_recognised() {
        let chain = Chain { family: 1, table: "filter".into(), name: "forward".into() };
        let rule = |write: &dyn Fn(&mut AttributeWriter)| {
            let mut body = AttributeWriter::after(&[1, 0, 0, 0]);
            body.name(1, "filter");
            body.nested(4, write);
            body.into_bytes()
        };
        let expression = |list: &mut AttributeWriter, name: &str, data: &dyn Fn(&mut AttributeWriter)| {
            list.nested(1, |each| {
                each.name(1, name);
                each.nested(2, data);
            });
        };
        let masked = |key, mask: u32| {
            rule(&|list| {
                expression(list, "ct", &|data| data.number(2, key));
                expression(list, "bitwise", &|data| data.nested(4, |value| value.bytes(1, &mask.to_ne_bytes())));
            })
        };
        let matched = |state: u16| {
            let mut info = [0; 164];
            info[150..152].copy_from_slice(&state.to_ne_bytes());
            rule(&|list| {
                expression(list, "match", &|data| {
                    data.name(1, "conntrack");
                    data.bytes(3, &info);
                });
            })
        };
        let is_recognised = |body: &[u8]| is_about_mapped_connections(&message(NEW_RULE, body), &chain);
        assert!(is_recognised(&masked(2, 0x20)) && is_recognised(&masked(2, 0x30)), "ct status dnat");
        assert!(is_recognised(&matched(0x80)), "--ctstate DNAT");
        assert!(!is_recognised(&masked(2, 0x10)) && !is_recognised(&masked(0, 0x20)), "something else of a connection");
        assert!(!is_recognised(&matched(0x02)) && !is_recognised(&rule(&|_| {})));
        let elsewhere = Chain { table: "other".into(), ..chain.clone() };
        assert!(!is_about_mapped_connections(&message(NEW_RULE, &masked(2, 0x20)), &elsewhere));
        for end in 0..matched(0x80).len() {
            let _ = is_recognised(&matched(0x80)[..end]);
        }
    }
}
