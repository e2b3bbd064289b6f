//! The rule set, in the words of `nft`.

use std::fmt::Write;
use std::io;
use std::net::Ipv4Addr;

use natpmp_proto::gateway::NatMapping;
use natpmp_proto::wire::Protocol;

/// Between which interfaces the NAT is.
#[derive(Debug)]
pub(super) struct Interfaces {
    /// What of `oifname` is outward.
    outward: String,
    internal: String,
}

impl Interfaces {
    pub(super) fn new(external: Option<&str>, internal: &[&str]) -> io::Result<Self> {
        if internal.is_empty() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "an internal interface is needed"));
        }
        let internal = internal.iter().map(|name| quoted(name)).collect::<io::Result<Vec<_>>>()?.join(", ");
        let internal = format!("{{ {internal} }}");
        let outward = external.map_or_else(|| Ok(format!("!= {internal}")), quoted)?;
        Ok(Self { outward, internal })
    }

    /// The whole table in place of the one that is there, if one is.
    pub(super) fn table(&self, external: Option<Ipv4Addr>, mappings: impl Iterator<Item = NatMapping>) -> String {
        let table = TABLE.replace("OUTWARD", &self.outward).replace("INTERNAL", &self.internal);
        no_table() + &table + &self.rules(external) + &add(mappings)
    }

    /// What depends on the external address.
    pub(super) fn rules(&self, external: Option<Ipv4Addr>) -> String {
        let mut script =
            "flush set ip natpmp external\nflush chain ip natpmp outbound\nflush chain ip natpmp hairpin\n".to_owned();
        let Some(external) = external else { return script };
        let _ = writeln!(script, "add element ip natpmp external {{ {external} }}");
        for protocol in PROTOCOLS {
            let _ = writeln!(
                script,
                "add rule ip natpmp outbound meta l4proto {protocol} \
                 snat ip to {external} : ip saddr . {protocol} sport map @{protocol}_out"
            );
        }
        // Also within the house the sender has its mapped port, or else any.
        let _ = write!(
            script,
            "add rule ip natpmp hairpin jump outbound\nadd rule ip natpmp hairpin snat ip to {external}\n"
        );
        script
    }
}

pub(super) fn no_table() -> String {
    // To delete what is not there is an error: so it is made first.
    "table ip natpmp\ndelete table ip natpmp\n".to_owned()
}

pub(super) fn add(mappings: impl Iterator<Item = NatMapping>) -> String {
    elements(mappings.collect(), "add", |key, value| format!("{key} : {value}"))
}

pub(super) fn delete(mappings: impl Iterator<Item = NatMapping>) -> String {
    elements(mappings.collect(), "delete", |key, _| key.to_owned())
}

/// The connections of these TCP mappings are reset from now on.
pub(super) fn guard<'a>(mappings: impl Iterator<Item = &'a NatMapping>) -> String {
    let (ports, clients): (Vec<_>, Vec<_>) = mappings
        .map(|NatMapping { internal, external_port, .. }| {
            (external_port.to_string(), format!("{} . {}", internal.ip(), internal.port()))
        })
        .unzip();
    let mut script = String::new();
    for (set, keys) in [("ended_in", ports), ("ended_out", clients)] {
        let timed: Vec<_> = keys.iter().map(|key| format!("{key} timeout {GUARD_TIME}")).collect();
        let (keys, timed) = (keys.join(", "), timed.join(", "));
        // One that is there already would keep its old time.
        for (verb, elements) in [("add", &timed), ("delete", &keys), ("add", &timed)] {
            let _ = writeln!(script, "{verb} element ip natpmp {set} {{ {elements} }}");
        }
    }
    script
}

/// Mappings in their three forms.
fn elements(mappings: Vec<NatMapping>, verb: &str, pair: fn(&str, &str) -> String) -> String {
    let mut script = String::new();
    for protocol in PROTOCOLS {
        let (mut inward, mut outward, mut open) = (Vec::new(), Vec::new(), Vec::new());
        for NatMapping { internal, external_port, .. } in mappings.iter().filter(|each| each.protocol == protocol) {
            let (client, port) = (format!("{} . {}", internal.ip(), internal.port()), external_port.to_string());
            inward.push(pair(&port, &client));
            outward.push(pair(&client, &port));
            open.push(format!("{port} . {client}"));
        }
        for (form, elements) in [("in", inward), ("out", outward), ("open", open)] {
            if !elements.is_empty() {
                let _ = writeln!(script, "{verb} element ip natpmp {protocol}_{form} {{ {} }}", elements.join(", "));
            }
        }
    }
    script
}

/// A name goes into a script: nothing in it may have a meaning there.
fn quoted(name: &str) -> io::Result<String> {
    let is_name = (1..=15).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_graphic() && !br#""*\/"#.contains(&byte));
    if is_name {
        Ok(format!("\"{name}\""))
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{name:?} is no name of an interface")))
    }
}

const TABLE: &str = include_str!("table.nft");
const PROTOCOLS: [Protocol; 2] = [Protocol::Udp, Protocol::Tcp];
/// As long as a NAT is to remember a TCP connection that says nothing (RFC 5382, REQ-5).
const GUARD_TIME: &str = "124m";
