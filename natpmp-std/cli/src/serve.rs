//! The subcommand `serve`: this host as a gateway.

use std::net::Ipv4Addr;
use std::str::FromStr;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use natpmp_std::server::nat::{Relay, RelayLimits};
use natpmp_std::server::{CloseCause, Config, Event, External, Internal, Mapping, NatMapping, Server, ServerBuilder};

use crate::args::{self, Backend, Global};
use crate::failure::Failure;
use crate::lines::Line;
use crate::notify::Manager;
use crate::report::Report;
use crate::signals;

/// Serves until a signal comes, or nobody reads the results any more.
pub(crate) fn serve(global: &Global, args: &args::Serve, report: &mut Report) -> Result<(), Failure> {
    refuse_client_options(global)?;
    let builder = configure(backend(args)?, args)?;
    let (sender, messages) = mpsc::sync_channel(signals::MOST_WAITING);
    let interrupted = sender.clone();
    signals::on_stop(move || signals::deliver(&interrupted, None))
        .map_err(|error| Failure::other("cannot catch signals", error, ""))?;
    let server = builder.build().map_err(|error| Failure::other("cannot serve", error, ""))?;
    let events = server.events();
    thread::spawn(move || events.map(Some).try_for_each(|event| sender.send(event)));
    for address in server.addresses() {
        report.note(&format!("serving NAT-PMP on {address}; interrupt to end"));
    }
    let mut manager = Manager::of_environment(&report.notes());
    if let Some(manager) = &mut manager {
        manager.notify(true, &status(&server));
    }
    let mut reported_address = None;
    loop {
        report_address(report, &server, &mut reported_address);
        match messages.recv_timeout(LOOK_INTERVAL) {
            Ok(Some(event)) => report_event(report, &server, &event),
            Err(RecvTimeoutError::Timeout) => {}
            Ok(None) | Err(RecvTimeoutError::Disconnected) => break,
        }
        if report.is_closed() {
            break;
        }
    }
    if let Some(manager) = &mut manager {
        manager.notify_stop("closing what is open");
    }
    match server.dropped_requests() {
        0 => {}
        dropped => {
            report.note(&format!("{dropped} requests were dropped: more than --requests-per-second allows"));
        }
    }
    Ok(())
}

/// For the service manager.
fn status(server: &Server) -> String {
    let addresses: Vec<String> = server.addresses().iter().map(ToString::to_string).collect();
    format!("serving NAT-PMP on {}", addresses.join(", "))
}

/// Reports the external address when it is another one than before.
fn report_address(report: &mut Report, server: &Server, reported: &mut Option<Option<Ipv4Addr>>) {
    let address = server.external_address();
    if reported.replace(address) == Some(address) {
        return;
    }
    let line = Line { event: "external-address", external_address: address, ..Line::default() };
    match address {
        Some(address) => report.event(&line, &format!("the external address is {address}")),
        None => report.event(&line, "there is no external address: clients are told result 3"),
    }
    if let Some(address) = address {
        report.warn_of_address(address);
    }
}

fn backend(args: &args::Serve) -> Result<ServerBuilder, Failure> {
    match args.backend {
        Backend::Relay => Ok(Server::builder(|_| Relay::start(RelayLimits::default()))),
        Backend::Nftables => nftables(),
    }
}

#[cfg(target_os = "linux")]
fn nftables() -> Result<ServerBuilder, Failure> {
    Ok(Server::builder(|sides| {
        let internal: Vec<&str> = sides.internal.iter().map(String::as_str).collect();
        natpmp_std::server::nat::Nftables::start(sides.external.as_deref(), &internal)
    }))
}

#[cfg(not(target_os = "linux"))]
fn nftables() -> Result<ServerBuilder, Failure> {
    Err(Failure::usage("cannot serve", "nftables is the NAT of Linux: use --backend relay"))
}

fn configure(mut builder: ServerBuilder, args: &args::Serve) -> Result<ServerBuilder, Failure> {
    let mut config = Config::new();
    if let Some(seconds) = args.max_lifetime {
        config = config.longest_lifetime(seconds);
    }
    if let Some(ports) = args.ports {
        config = config.ports(ports);
    }
    for &ports in &args.deny_ports {
        config = config.deny(ports).map_err(|error| Failure::usage("cannot deny these ports", error))?;
    }
    if let Some(mappings) = args.per_client {
        config = config.per_client(mappings);
    }
    builder = builder.requests_per_second(Some(args.requests_per_second).filter(|&requests| requests != 0));
    for internal in &args.internal {
        builder = builder.internal(match Ipv4Addr::from_str(internal) {
            Ok(address) => Internal::Address(address),
            Err(_) => Internal::Interface(internal.clone()),
        });
    }
    for &mapping in &args.statics {
        builder = builder.static_mapping(mapping);
    }
    if let Some(path) = &args.state {
        builder = builder.state_file(path);
    }
    Ok(builder.external(external(&args.external)).config(config))
}

fn external(text: &str) -> External {
    match Ipv4Addr::from_str(text) {
        Ok(address) => External::Address(address),
        Err(_) => External::Interface(text.to_owned()),
    }
}

fn refuse_client_options(global: &Global) -> Result<(), Failure> {
    let given = [
        ("--gateway", global.gateway.is_some()),
        ("--bind", global.bind.is_some()),
        ("--interface", global.interface.is_some()),
        ("--timeout", global.timeout.is_some()),
    ];
    match given.into_iter().find(|(_, is_given)| *is_given) {
        Some((option, _)) => {
            Err(Failure::usage("cannot serve", format!("{option} is for clients: use --internal and --external")))
        }
        None => Ok(()),
    }
}

fn report_event(report: &mut Report, server: &Server, event: &Event) {
    match event {
        Event::Opened(opened) => {
            let text =
                format!("{} is open at external port {}", describe(&opened.mapping), opened.mapping.external_port);
            report.result(&mapping_line("mapped", server, opened), &text);
        }
        Event::Renewed(renewed) => report
            .event(&mapping_line("renewed", server, renewed), &format!("{} is renewed", describe(&renewed.mapping))),
        Event::Closed { mapping, cause } => {
            let mut line = mapping_line("unmapped", server, mapping);
            if *cause == CloseCause::NatFailed {
                line.error = Some("the NAT did not take it".to_owned());
            }
            let reason = line.error.as_deref().unwrap_or("deleted, or its lease has ended").to_owned();
            report.result(&line, &format!("{} is closed: {reason}", describe(&mapping.mapping)));
        }
        Event::Refused { client, protocol, internal_port, refusal } => {
            let line = Line {
                event: "refused",
                internal_address: Some(*client),
                error: Some(refusal.to_string()),
                ..Line::default()
            };
            let line = line.of_mapping(*protocol, *internal_port);
            report.result(&line, &format!("{protocol} {client}:{internal_port} is refused: {refusal}"));
        }
        _ => {}
    }
}

fn mapping_line(event: &'static str, server: &Server, open: &Mapping) -> Line {
    let NatMapping { protocol, internal, external_port } = open.mapping;
    Line {
        event,
        internal_address: Some(*internal.ip()),
        external_port: Some(external_port),
        external_address: server.external_address(),
        lifetime: server.time_left(open).and_then(|left| u32::try_from(left.as_secs()).ok()),
        ..Line::default()
    }
    .of_mapping(protocol, internal.port())
}

fn describe(mapping: &NatMapping) -> String {
    format!("{} {}", mapping.protocol, mapping.internal)
}

/// As often as the address of an interface is looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);
