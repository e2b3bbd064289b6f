//! What the command says: results on standard output, as text or as one JSON object a line; notes on standard error.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};

use natpmp_std::{AddressKind, Protocol};
use serde::Serialize;

use crate::failure::Failure;
use crate::streams;

/// Writes results.
#[derive(Debug)]
pub(crate) struct Report {
    is_json: bool,
    /// Standard output is closed: whoever read it is gone.
    pub(crate) is_closed: bool,
    /// What cannot be written is worth a warning only.
    pub(crate) is_lasting: bool,
    /// Why standard output could not be written, the first time.
    error: Option<io::Error>,
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

    /// The external address, and whether the internet can reach such an address.
    pub(crate) fn of_address(mut self, address: Ipv4Addr) -> Self {
        self.external_address = Some(address);
        self.address_kind = Some(AddressKind::of(address).name());
        self
    }

    pub(crate) fn of_mapping(mut self, protocol: Protocol, internal_port: u16) -> Self {
        self.protocol = Some(name(protocol));
        self.internal_port = Some(internal_port);
        self
    }
}

impl Report {
    pub(crate) const fn new(is_json: bool) -> Self {
        Self { is_json, is_closed: false, is_lasting: false, error: None }
    }

    pub(crate) const fn is_json(&self) -> bool {
        self.is_json
    }

    /// A result: the JSON object, or `text`.
    pub(crate) fn result(&mut self, line: &impl Serialize, text: &str) {
        let json = self.is_json.then(|| serde_json::to_string(line).unwrap_or_default());
        let Err(error) = streams::result(&printable(json.as_deref().unwrap_or(text))) else { return };
        if error.kind() == io::ErrorKind::BrokenPipe {
            self.is_closed = true;
        } else if self.error.is_none() {
            if self.is_lasting {
                note(&format!("warning: {CANNOT_WRITE}: {error}; going on without"));
            }
            self.error = Some(error);
        }
    }

    /// Whether all results could be written, if that is what the command is for. That nobody reads them is no failure.
    pub(crate) fn written(&mut self) -> Result<(), Failure> {
        match self.error.take().filter(|_| !self.is_lasting) {
            Some(error) => Err(Failure::other(CANNOT_WRITE, error, "")),
            None => Ok(()),
        }
    }

    /// What is a result in JSON, and a note for a person.
    pub(crate) fn event(&mut self, line: &Line, text: &str) {
        if self.is_json {
            self.result(line, "");
        } else {
            note(text);
        }
    }

    /// The end, if it is not a good one.
    pub(crate) fn failed(&mut self, failure: &Failure) {
        note(&format!("natpmp: {failure}"));
        if self.is_json {
            let mut line = Line { event: "failed", gateway: failure.gateway, ..Line::default() };
            if let Some((protocol, internal_port)) = failure.mapping {
                line = line.of_mapping(protocol, internal_port);
            }
            line.error = Some(failure.error().to_owned());
            self.result(&line, "");
        }
    }
}

pub(crate) const CANNOT_WRITE: &str = "cannot write to standard output";

/// For the person who reads standard error.
pub(crate) fn note(text: &str) {
    streams::note(&printable(text));
}

/// Wherever a text comes from, an interface that somebody named or a program that complains: it is no command to the terminal.
fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() && c != '\n' && c != '\t' { char::REPLACEMENT_CHARACTER } else { c })
        .collect()
}

/// Says so if the internet cannot reach this address.
pub(crate) fn warn_of_address(address: Ipv4Addr) {
    let reason = match AddressKind::of(address) {
        AddressKind::Public => return,
        AddressKind::Private => "private: the gateway is itself behind another NAT",
        AddressKind::Shared => "shared (100.64.0.0/10): the provider has a NAT of its own",
        AddressKind::Unspecified => "no address: the gateway is not connected",
        _ => "reserved: no host of the internet has it",
    };
    note(&format!(
        "warning: the external address {address} is {reason}; ports will not be reachable from the internet"
    ));
}

pub(crate) const fn name(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Udp => "udp",
        Protocol::Tcp => "tcp",
    }
}

/// `11.22.33.44:4000`, or `port 4000` where the address is not known.
pub(crate) fn endpoint(address: Option<Ipv4Addr>, port: u16) -> String {
    address.map_or_else(|| format!("port {port}"), |address| format!("{address}:{port}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_command_a_terminal_is_not_printed() {
        assert_eq!(printable("eth0\x1b[2J\u{9b}31m\x7f\r\x07"), "eth0\u{fffd}[2J\u{fffd}31m\u{fffd}\u{fffd}\u{fffd}");
        assert_eq!(printable("two lines,\nand a\ttab: ü"), "two lines,\nand a\ttab: ü");
    }
}
