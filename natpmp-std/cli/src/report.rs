//! What the command says: results on standard output, as text or as one JSON object a line; notes on standard error.

use std::fmt;
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddrV4};

use natpmp_std::{AddressKind, Protocol};
use serde::Serialize;

use crate::failure::Failure;

/// Writes results.
pub struct Report {
    /// Where results go: standard output, or what a test reads.
    output: Box<dyn Write + Send>,
    is_json: bool,
    /// Standard output is closed: whoever read it is gone.
    pub is_closed: bool,
    /// What cannot be written is worth a warning only.
    pub is_lasting: bool,
    /// Why standard output could not be written, the first time.
    error: Option<io::Error>,
}

/// One result: the fields of its JSON object.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Line {
    pub event: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub internal_address: Option<Ipv4Addr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub internal_port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub external_port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub external_address: Option<Ipv4Addr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address_kind: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lifetime: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epoch: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gateway: Option<SocketAddrV4>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub who: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

impl fmt::Debug for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Report").field("is_json", &self.is_json).finish_non_exhaustive()
    }
}

impl Line {
    #[must_use]
    pub fn new(event: &'static str, gateway: SocketAddrV4) -> Self {
        Self { event, gateway: Some(gateway), ..Self::default() }
    }

    /// The external address, and whether the internet can reach such an address.
    #[must_use]
    pub fn of_address(mut self, address: Ipv4Addr) -> Self {
        self.external_address = Some(address);
        self.address_kind = Some(AddressKind::of(address).name());
        self
    }

    #[must_use]
    pub fn of_mapping(mut self, protocol: Protocol, internal_port: u16) -> Self {
        self.protocol = Some(name(protocol));
        self.internal_port = Some(internal_port);
        self
    }
}

impl Report {
    #[must_use]
    pub fn new(is_json: bool, output: Box<dyn Write + Send>) -> Self {
        Self { output, is_json, is_closed: false, is_lasting: false, error: None }
    }

    #[must_use]
    pub const fn is_json(&self) -> bool {
        self.is_json
    }

    /// A result: the JSON object, or `text`.
    pub fn result(&mut self, line: &impl Serialize, text: &str) {
        let json = self.is_json.then(|| serde_json::to_string(line).unwrap_or_default());
        let Err(error) = self.write(&printable(json.as_deref().unwrap_or(text))) else { return };
        if error.kind() == io::ErrorKind::BrokenPipe {
            self.is_closed = true;
        } else if self.error.is_none() {
            if self.is_lasting {
                note(&format!("warning: {CANNOT_WRITE}: {error}; going on without"));
            }
            self.error = Some(error);
        }
    }

    fn write(&mut self, text: &str) -> io::Result<()> {
        writeln!(self.output, "{text}")?;
        self.output.flush()
    }

    /// Whether all results could be written, if that is what the command is for. That nobody reads them is no failure.
    pub fn written(&mut self) -> Result<(), Failure> {
        match self.error.take().filter(|_| !self.is_lasting) {
            Some(error) => Err(Failure::other(CANNOT_WRITE, error, "")),
            None => Ok(()),
        }
    }

    /// What is a result in JSON, and a note for a person.
    pub fn event(&mut self, line: &Line, text: &str) {
        if self.is_json {
            self.result(line, "");
        } else {
            note(text);
        }
    }

    /// The end, if it is not a good one.
    pub fn failed(&mut self, failure: &Failure) {
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

pub const CANNOT_WRITE: &str = "cannot write to standard output";

/// For the person who reads standard error: it goes there by the logger.
pub fn note(text: &str) {
    log::error!(target: NOTE, "{text}");
}

/// Wherever a text comes from, an interface that somebody named or a program that complains: it is no command to the terminal.
#[must_use]
pub fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() && c != '\n' && c != '\t' { char::REPLACEMENT_CHARACTER } else { c })
        .collect()
}

/// Says so if the internet cannot reach this address.
pub fn warn_of_address(address: Ipv4Addr) {
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

#[must_use]
pub const fn name(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Udp => "udp",
        Protocol::Tcp => "tcp",
    }
}

/// `11.22.33.44:4000`, or `port 4000` where the address is not known.
#[must_use]
pub fn endpoint(address: Option<Ipv4Addr>, port: u16) -> String {
    address.map_or_else(|| format!("port {port}"), |address| format!("{address}:{port}"))
}

/// What [`note`] logs under.
pub const NOTE: &str = "natpmp::note";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_command_a_terminal_is_not_printed() {
        assert_eq!(printable("eth0\x1b[2J\u{9b}31m\x7f\r\x07"), "eth0\u{fffd}[2J\u{fffd}31m\u{fffd}\u{fffd}\u{fffd}");
        assert_eq!(printable("two lines,\nand a\ttab: ü"), "two lines,\nand a\ttab: ü");
    }
}
