//! The subcommands that ask once and end, and which gateway it is that any subcommand asks.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::{Duration, Instant};

use natpmp_proto::wire::GATEWAY_PORT;
use natpmp_std::{
    Client, DiscoverError, Error, Mapping, Schedule, discover_gateway, discover_gateway_on, list_gateways,
};

use crate::args::{self, Global, Protocols};
use crate::failure::Failure;
use crate::lines::name;
use crate::report::Report;

/// `gateway`: the one that counts.
pub(crate) fn gateway(global: &Global, report: &mut Report) -> Result<(), Failure> {
    report.gateway(gateway_of(global)?);
    Ok(())
}

/// `gateway --all`: what it is chosen from. If none of it has an address that is a failure all the same.
pub(crate) fn all_gateways(global: &Global, report: &mut Report) -> Result<(), Failure> {
    if global.gateway.is_some() {
        return Err(Failure::usage("cannot list the gateways", "--all looks for them: leave out --gateway"));
    }
    let mut candidates = list_gateways().map_err(failure)?;
    if let Some(interface) = &global.interface {
        candidates.retain(|candidate| candidate.interface == *interface);
    }
    report.candidates(&candidates);
    if candidates.iter().any(|candidate| candidate.gateway.is_some()) {
        return Ok(());
    }
    // That none was found is reported as `gateway` reports it.
    find_gateway(global).map(drop).map_err(failure)
}

/// `external-address`.
pub(crate) fn external_address(global: &Global, report: &mut Report) -> Result<(), Failure> {
    let asker = Asker::new(global)?;
    let address = asker
        .ask(Client::external_address)
        .map_err(|error| asker.failure("cannot learn the external address", &error))?;
    report.external_address(asker.gateway, address);
    Ok(())
}

/// `map`. With `both`, all or nothing: if the second cannot be made the first is taken back.
pub(crate) fn map(global: &Global, args: &args::Mapping, report: &mut Report) -> Result<(), Failure> {
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
                    asker.take_back(mapping, report);
                }
                let tried = format!("cannot map {} {}", name(protocol), args.internal_port);
                return Err(asker.failure(tried, &error).of_mapping(protocol, args.internal_port));
            }
        }
    }
    // It is open; where is good to know, but not worth failing for.
    let address = asker.ask(Client::external_address).ok();
    for mapping in &made {
        report.mapping(asker.gateway, mapping, address);
    }
    report.warn_if_ports_differ(&made);
    if let Some(address) = address {
        report.warn_of_address(address);
    }
    report.note_own_address(asker.own_address());
    Ok(())
}

/// `unmap`.
pub(crate) fn unmap(
    global: &Global,
    protocols: Protocols,
    internal_port: u16,
    report: &mut Report,
) -> Result<(), Failure> {
    let asker = Asker::new(global)?;
    for &protocol in protocols.each() {
        asker.ask(|client| client.unmap(protocol, internal_port)).map_err(|error| {
            let tried = format!("cannot unmap {} {internal_port}", name(protocol));
            asker.failure(tried, &error).of_mapping(protocol, internal_port)
        })?;
        report.unmapped(asker.gateway, protocol, internal_port);
    }
    Ok(())
}

/// `unmap-all`.
pub(crate) fn unmap_all(global: &Global, protocols: Protocols, report: &mut Report) -> Result<(), Failure> {
    let asker = Asker::new(global)?;
    for &protocol in protocols.each() {
        asker
            .ask(|client| client.unmap_all(protocol))
            .map_err(|error| asker.failure(format!("cannot unmap all of {}", name(protocol)), &error))?;
        report.unmapped_all(asker.gateway, protocol);
    }
    Ok(())
}

/// The gateway that was given or is discovered.
pub(crate) fn gateway_of(global: &Global) -> Result<SocketAddrV4, Failure> {
    find_gateway(global).map_err(failure)
}

/// The same, for those who know what to do if there is none.
pub(crate) fn find_gateway(global: &Global) -> Result<SocketAddrV4, DiscoverError> {
    if let Some(gateway) = global.gateway {
        return Ok(gateway);
    }
    let found = match &global.interface {
        Some(interface) => discover_gateway_on(interface),
        None => discover_gateway(),
    };
    found.map(|found| SocketAddrV4::new(found.address, GATEWAY_PORT))
}

fn failure(error: DiscoverError) -> Failure {
    Failure::new("cannot find the gateway", &Error::Discover(error))
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

    fn take_back(&self, mapping: &Mapping, report: &Report) {
        if mapping.internal_port == 0 || self.ask(|client| client.delete(mapping)).is_err() {
            let (protocol, port) = (name(mapping.protocol), mapping.external_port);
            report.notes().warn(&format!("{protocol} stays open at port {port} for up to {} s", mapping.lifetime));
        }
    }

    fn failure(&self, tried: impl Into<String>, error: &Error) -> Failure {
        Failure::new(tried, error).at(Some(self.gateway))
    }

    /// The address of this host that the gateway sees.
    fn own_address(&self) -> Option<Ipv4Addr> {
        let builder = self.global.builder().gateway(self.gateway).announcements(false);
        builder.build().ok().and_then(|client| client.local_address())
    }
}

/// What the last of several questions has at least, if the first one had as much.
const SHORTEST: Duration = Duration::from_millis(500);
