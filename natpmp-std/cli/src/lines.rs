//! What the results of the command say: one method of [`Report`] for each thing that there is to report, with its JSON object and its text.

use std::net::{Ipv4Addr, SocketAddrV4};

use natpmp_proto::wire::GATEWAY_PORT;
use natpmp_std::{AddressKind, Announcement, Ending, GatewayCandidate, Mapping, Protocol};
use serde::Serialize;

use crate::failure::Failure;
use crate::report::{Format, Report};

/// The events that come of an answer of a gateway or of the kernel.
impl Report {
    /// The gateway that is used: `gateway`.
    pub fn gateway(&mut self, gateway: SocketAddrV4) {
        self.result(&Line::new("gateway", gateway), &gateway.ip().to_string());
    }

    /// All gateways that there are to choose from, as a table: `gateway`, once for each.
    pub fn candidates(&mut self, candidates: &[GatewayCandidate]) {
        for (candidate, text) in candidates.iter().zip(table(candidates)) {
            self.result(&CandidateLine::new(candidate), &text);
        }
    }

    /// The external address: `external-address`. Warns if the internet cannot reach it.
    pub fn external_address(&mut self, gateway: SocketAddrV4, address: Ipv4Addr) {
        self.result(&Line::new("external-address", gateway).of_address(address), &address.to_string());
        self.warn_of_address(address);
    }

    /// A mapping that was made once, and where, if the external address is known: `mapped`.
    pub fn mapping(&mut self, gateway: SocketAddrV4, mapping: &Mapping, address: Option<Ipv4Addr>) {
        let text = format!("{} for {} s", open_at(mapping, address), mapping.lifetime);
        self.result(&Line::of_open("mapped", gateway, mapping, address), &text);
    }

    /// A mapping that was deleted: `unmapped`.
    pub fn unmapped(&mut self, gateway: SocketAddrV4, protocol: Protocol, internal_port: u16) {
        self.ended(gateway, protocol, internal_port, Ending::Unmapped, None);
    }

    /// All mappings of this host and protocol were deleted: `unmapped-all`.
    pub fn unmapped_all(&mut self, gateway: SocketAddrV4, protocol: Protocol) {
        let line = Line { protocol: Some(name(protocol)), ..Line::new("unmapped-all", gateway) };
        self.result(&line, &format!("all {} mappings of this host are unmapped", name(protocol)));
    }

    /// What a gateway announced to all hosts: `announcement`.
    pub fn announcement(&mut self, announcement: &Announcement) {
        let line = Line {
            epoch: announcement.epoch,
            external_address: announcement.external_address,
            ..Line::new("announcement", announcement.gateway)
        };
        let gateway = announcement.gateway.ip();
        let text = match (announcement.external_address, announcement.epoch) {
            (Some(address), Some(epoch)) => {
                format!("{gateway} announces: external address {address}, {epoch} s since it lost its mappings")
            }
            _ => format!("{gateway} announces that it restarted (by PCP)"),
        };
        self.result(&line, &text);
    }

    /// Why the command failed: a note, and `failed`.
    pub fn failure(&mut self, failure: &Failure) {
        self.note(&format!("natpmp: {failure}"));
        if self.format() == Format::Json {
            let mut line = Line { event: "failed", gateway: failure.gateway, ..Line::default() };
            if let Some((protocol, internal_port)) = failure.mapping {
                line = line.of_mapping(protocol, internal_port);
            }
            line.error = Some(failure.error().to_owned());
            self.result(&line, "");
        }
    }

    /// A mapping is kept no longer: `unmapped`, or `lapsing` with what is left of its lease, if that is known.
    pub(crate) fn ended(
        &mut self,
        gateway: SocketAddrV4,
        protocol: Protocol,
        internal_port: u16,
        ending: Ending,
        lifetime: Option<u32>,
    ) {
        let (event, what) = match ending {
            Ending::LeftToLapse => ("lapsing", "is left to lapse: internal port 0 cannot be deleted alone"),
            _ => ("unmapped", "is unmapped"),
        };
        let lifetime = lifetime.filter(|_| ending == Ending::LeftToLapse);
        let line = Line { lifetime, ..Line::new(event, gateway).of_mapping(protocol, internal_port) };
        self.result(&line, &format!("{} {internal_port} {what}", name(protocol)));
    }

    /// Warns if the internet cannot reach this external address.
    pub(crate) fn warn_of_address(&self, address: Ipv4Addr) {
        let reason = match AddressKind::of(address) {
            AddressKind::Public => return,
            AddressKind::Private => "private: the gateway is itself behind another NAT",
            AddressKind::Shared => "shared (100.64.0.0/10): the provider has a NAT of its own",
            AddressKind::Unspecified => "no address: the gateway is not connected",
            _ => "reserved: no host of the internet has it",
        };
        self.notes().warn(&format!(
            "the external address {address} is {reason}; ports will not be reachable from the internet"
        ));
    }

    /// NAT-PMP is meant for hosts with private addresses (RFC 6886, section 3): notes that this host's own is another.
    pub(crate) fn note_own_address(&self, address: Option<Ipv4Addr>) {
        if let Some((address, what)) = address.and_then(|address| Some((address, unusual(address)?))) {
            self.note(&format!("note: this host's own address {address} is {what}"));
        }
    }

    /// Warns if both protocols are mapped, and not at the same external port.
    pub(crate) fn warn_if_ports_differ(&self, mappings: &[Mapping]) {
        if let [udp, tcp] = mappings {
            if udp.external_port != tcp.external_port {
                let (udp, tcp) = (udp.external_port, tcp.external_port);
                self.notes().warn(&format!("the external ports differ: {udp} for UDP, {tcp} for TCP"));
            }
        }
    }
}

/// One result: the fields of its JSON object.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Line {
    pub(crate) event: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) protocol: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) internal_address: Option<Ipv4Addr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) internal_port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) external_port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) external_address: Option<Ipv4Addr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) address_kind: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) lifetime: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) epoch: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) gateway: Option<SocketAddrV4>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) who: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) text: Option<String>,
}

impl Line {
    pub(crate) fn new(event: &'static str, gateway: SocketAddrV4) -> Self {
        Self { event, gateway: Some(gateway), ..Self::default() }
    }

    /// A mapping that is open, at this external address if it is known.
    pub(crate) fn of_open(
        event: &'static str,
        gateway: SocketAddrV4,
        mapping: &Mapping,
        external_address: Option<Ipv4Addr>,
    ) -> Self {
        Self {
            external_port: Some(mapping.external_port),
            external_address,
            lifetime: Some(mapping.lifetime),
            ..Self::new(event, gateway).of_mapping(mapping.protocol, mapping.internal_port)
        }
    }

    /// The external address, and whether the internet can reach such an address.
    pub(crate) fn of_address(self, address: Ipv4Addr) -> Self {
        Self { external_address: Some(address), address_kind: Some(AddressKind::of(address).name()), ..self }
    }

    pub(crate) fn of_mapping(self, protocol: Protocol, internal_port: u16) -> Self {
        Self { protocol: Some(name(protocol)), internal_port: Some(internal_port), ..self }
    }
}

/// One gateway of those that there are to choose from: the fields of its JSON object.
#[derive(Debug, Serialize)]
struct CandidateLine<'a> {
    event: &'static str,
    /// Null where the route names none.
    gateway: Option<SocketAddrV4>,
    interface: &'a str,
    metric: Option<u32>,
    table: Option<u32>,
    chosen: bool,
    reason: String,
}

impl<'a> CandidateLine<'a> {
    fn new(candidate: &'a GatewayCandidate) -> Self {
        Self {
            event: "gateway",
            gateway: candidate.gateway.map(|address| SocketAddrV4::new(address, GATEWAY_PORT)),
            interface: &candidate.interface,
            metric: candidate.metric,
            table: candidate.table,
            chosen: candidate.is_chosen(),
            reason: candidate.reason(),
        }
    }
}

/// A text for each candidate, all as wide as each other; the first has the heading above it.
fn table(candidates: &[GatewayCandidate]) -> Vec<String> {
    let heading = ["gateway", "interface", "metric", ""].map(str::to_owned);
    let rows: Vec<[String; 4]> = std::iter::once(heading).chain(candidates.iter().map(row)).collect();
    let width = |column: fn(&[String; 4]) -> &String| rows.iter().map(|row| column(row).chars().count()).max();
    let widths = [width(|row| &row[0]), width(|row| &row[1]), width(|row| &row[2])].map(Option::unwrap_or_default);
    let mut lines = rows.iter().map(|[gateway, interface, metric, reason]| {
        let [first, second, third] = widths;
        let line = format!("{gateway:first$}  {interface:second$}  {metric:third$}  {reason}");
        line.trim_end().to_owned()
    });
    let heading = lines.next().unwrap_or_default();
    let mut lines: Vec<String> = lines.collect();
    if let Some(first) = lines.first_mut() {
        *first = format!("{heading}\n{first}");
    }
    lines
}

fn row(candidate: &GatewayCandidate) -> [String; 4] {
    let or_dash = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
    let lead = if candidate.is_chosen() { "chosen: " } else { "" };
    [
        or_dash(candidate.gateway.map(|address| address.to_string())),
        candidate.interface.clone(),
        or_dash(candidate.metric.map(|metric| metric.to_string())),
        format!("{lead}{}", candidate.reason()),
    ]
}

/// `udp 4000 is open at 11.22.33.44:5000`.
pub(crate) fn open_at(mapping: &Mapping, address: Option<Ipv4Addr>) -> String {
    let endpoint = endpoint(address, mapping.external_port);
    format!("{} {} is open at {endpoint}", name(mapping.protocol), mapping.internal_port)
}

/// `11.22.33.44:4000`, or `port 4000` where the address is not known.
pub(crate) fn endpoint(address: Option<Ipv4Addr>, port: u16) -> String {
    address.map_or_else(|| format!("port {port}"), |address| format!("{address}:{port}"))
}

/// The protocol as the command line and the JSON have it.
pub(crate) const fn name(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Udp => "udp",
        Protocol::Tcp => "tcp",
    }
}

/// What is to be said of an own address. Nothing of those that NAT-PMP is meant for, and of this host's own.
fn unusual(own: Ipv4Addr) -> Option<&'static str> {
    match AddressKind::of(own) {
        AddressKind::Private => None,
        _ if own.is_loopback() => None,
        AddressKind::Public => Some("public: it may need no mapping"),
        AddressKind::Shared => Some("shared (100.64.0.0/10), from a NAT of the provider: the gateway may serve none"),
        _ if own.is_link_local() => Some("link-local (169.254.0.0/16): the network has given it none"),
        _ => Some("neither private nor public: the gateway may serve none such"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// C21
    #[test]
    fn every_own_address_but_a_private_one_is_worth_a_note() {
        for (own, words) in [
            ([8, 8, 8, 8], Some("public")),
            ([100, 64, 0, 7], Some("shared")),
            ([169, 254, 3, 4], Some("link-local")),
            ([192, 0, 2, 1], Some("neither")),
            ([0, 0, 0, 0], Some("neither")),
            ([10, 0, 0, 2], None),
            ([172, 16, 0, 2], None),
            ([192, 168, 1, 2], None),
            ([127, 0, 0, 1], None),
        ] {
            let found = unusual(own.into());
            assert_eq!(found.is_some(), words.is_some(), "{own:?}: {found:?}");
            assert!(found.is_none_or(|text| text.contains(words.unwrap_or_default())), "{own:?}: {found:?}");
        }
    }
}
