//! The subcommands that ask once and end.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::{Duration, Instant};

use natpmp_std::{AddressKind, Client, DiscoverError, Error, Mapping, Schedule, discover_gateway, discover_gateway_on};

use crate::args::{self, GATEWAY_PORT, Global, Protocols};
use crate::failure::Failure;
use crate::report::{Line, Report, endpoint, name, note, warn_of_address};

pub fn gateway(global: &Global, report: &mut Report) -> Result<(), Failure> {
    let gateway = gateway_of(global)?;
    report.result(&Line::new("gateway", gateway), &gateway.ip().to_string());
    Ok(())
}

pub fn external_address(global: &Global, report: &mut Report) -> Result<(), Failure> {
    let asker = Asker::new(global)?;
    let address = asker
        .ask(Client::external_address)
        .map_err(|error| asker.failure("cannot learn the external address", &error))?;
    let line = Line::new("external-address", asker.gateway).of_address(address);
    report.result(&line, &address.to_string());
    warn_of_address(address);
    Ok(())
}

/// With `both`, all or nothing: if the second cannot be made the first is taken back.
pub fn map(global: &Global, args: &args::Mapping, report: &mut Report) -> Result<(), Failure> {
    let asker = Asker::new(global)?;
    let mut made: Vec<Mapping> = Vec::new();
    for &protocol in args.protocol.each() {
        let mut request = args.request(protocol);
        if let Some(first) = made.first() {
            request = request.external_port(first.external_port);
        }
        match asker.ask(|client| client.map(&request)) {
            Ok(mapping) => made.push(mapping),
            Err(error) => {
                for mapping in &made {
                    asker.take_back(mapping);
                }
                let tried = format!("cannot map {} {}", name(protocol), args.internal_port);
                return Err(asker.failure(tried, &error).of_mapping(protocol, args.internal_port));
            }
        }
    }
    // It is open; where is good to know, but not worth failing for.
    let address = asker.ask(Client::external_address).ok();
    for mapping in &made {
        report_mapping(report, asker.gateway, mapping, address);
    }
    warn_if_ports_differ(&made);
    if let Some(address) = address {
        warn_of_address(address);
    }
    asker.warn_of_own_address();
    Ok(())
}

pub fn unmap(global: &Global, protocols: Protocols, internal_port: u16, report: &mut Report) -> Result<(), Failure> {
    let asker = Asker::new(global)?;
    for &protocol in protocols.each() {
        asker.ask(|client| client.unmap(protocol, internal_port)).map_err(|error| {
            let tried = format!("cannot unmap {} {internal_port}", name(protocol));
            asker.failure(tried, &error).of_mapping(protocol, internal_port)
        })?;
        let line = Line::new("unmapped", asker.gateway).of_mapping(protocol, internal_port);
        report.result(&line, &format!("{} {internal_port} is unmapped", name(protocol)));
    }
    Ok(())
}

pub fn unmap_all(global: &Global, protocols: Protocols, report: &mut Report) -> Result<(), Failure> {
    let asker = Asker::new(global)?;
    for &protocol in protocols.each() {
        asker
            .ask(|client| client.unmap_all(protocol))
            .map_err(|error| asker.failure(format!("cannot unmap all of {}", name(protocol)), &error))?;
        let line = Line { protocol: Some(name(protocol)), ..Line::new("unmapped-all", asker.gateway) };
        report.result(&line, &format!("all {} mappings of this host are unmapped", name(protocol)));
    }
    Ok(())
}

pub fn report_mapping(report: &mut Report, gateway: SocketAddrV4, mapping: &Mapping, address: Option<Ipv4Addr>) {
    let line = mapping_line("mapped", gateway, mapping, address);
    let text = format!(
        "{} {} is open at {} for {} s",
        name(mapping.protocol),
        mapping.internal_port,
        endpoint(address, mapping.external_port),
        mapping.lifetime
    );
    report.result(&line, &text);
}

#[must_use]
pub fn mapping_line(event: &'static str, gateway: SocketAddrV4, mapping: &Mapping, address: Option<Ipv4Addr>) -> Line {
    Line {
        external_port: Some(mapping.external_port),
        external_address: address,
        lifetime: Some(mapping.lifetime),
        ..Line::new(event, gateway).of_mapping(mapping.protocol, mapping.internal_port)
    }
}

pub fn warn_if_ports_differ(mappings: &[Mapping]) {
    if let [udp, tcp] = mappings {
        if udp.external_port != tcp.external_port {
            note(&format!(
                "warning: the external ports differ: {} for UDP, {} for TCP",
                udp.external_port, tcp.external_port
            ));
        }
    }
}

/// The gateway that was given or is discovered.
pub fn gateway_of(global: &Global) -> Result<SocketAddrV4, Failure> {
    find_gateway(global).map_err(|error| Failure::new("cannot find the gateway", &Error::Discover(error)))
}

/// The same, for those who know what to do if there is none.
pub fn find_gateway(global: &Global) -> Result<SocketAddrV4, DiscoverError> {
    if let Some(gateway) = global.gateway {
        return Ok(gateway);
    }
    let found = match &global.interface {
        Some(interface) => discover_gateway_on(interface),
        None => discover_gateway(),
    };
    found.map(|found| SocketAddrV4::new(found.address, GATEWAY_PORT))
}

/// Asks one gateway several things, with one patience for all of them.
struct Asker<'a> {
    global: &'a Global,
    gateway: SocketAddrV4,
    deadline: Instant,
}

impl<'a> Asker<'a> {
    fn new(global: &'a Global) -> Result<Self, Failure> {
        let gateway = gateway_of(global)?;
        let now = Instant::now();
        let deadline = now.checked_add(global.patience()).unwrap_or(now);
        Ok(Self { global, gateway, deadline })
    }

    /// Asks with what is left of the patience.
    fn ask<T>(&self, question: impl FnOnce(&Client) -> Result<T, Error>) -> Result<T, Error> {
        let shortest = SHORTEST.min(self.global.patience());
        let left = self.deadline.saturating_duration_since(Instant::now()).max(shortest);
        let builder = self.global.builder().gateway(self.gateway);
        question(&builder.announcements(false).schedule(Schedule::within(left)).build()?)
    }

    fn take_back(&self, mapping: &Mapping) {
        if mapping.internal_port == 0 || self.ask(|client| client.delete(mapping)).is_err() {
            let (protocol, port) = (name(mapping.protocol), mapping.external_port);
            note(&format!("warning: {protocol} stays open at port {port} for up to {} s", mapping.lifetime));
        }
    }

    fn failure(&self, tried: impl Into<String>, error: &Error) -> Failure {
        Failure::new(tried, error).at(Some(self.gateway))
    }

    /// NAT-PMP is meant for hosts with private addresses (RFC 6886, section 3); others are told.
    fn warn_of_own_address(&self) {
        let builder = self.global.builder().gateway(self.gateway).announcements(false);
        warn_of_own_address(builder.build().ok().and_then(|client| client.local_address()));
    }
}

pub fn warn_of_own_address(address: Option<Ipv4Addr>) {
    if let Some((address, what)) = address.and_then(|address| Some((address, unusual(address)?))) {
        note(&format!("note: this host's own address {address} is {what}"));
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

/// What the last of several questions has at least, if the first one had as much.
const SHORTEST: Duration = Duration::from_millis(500);

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
            let told = unusual(own.into());
            assert_eq!(told.is_some(), words.is_some(), "{own:?}: {told:?}");
            assert!(told.is_none_or(|told| told.contains(words.unwrap_or_default())), "{own:?}: {told:?}");
        }
    }
}
