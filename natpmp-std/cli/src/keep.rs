//! `natpmp keep`: mappings that are held until the command is interrupted.

mod ending;
mod failing;
mod finding;
mod messages;
mod status;

use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::mpsc;
use std::time::Instant;

use natpmp_std::{Client, Event, KeptMapping, LossCause, Mapping, Protocol, RequestError};

use crate::args::{self, Global};
use crate::failure::Failure;
use crate::hook::{Hook, HookChange};
use crate::notify::Manager;
use crate::once::{mapping_line, warn_if_ports_differ, warn_of_own_address};
use crate::port_file::PortFile;
use crate::report::{Line, Report, endpoint, name, note, warn_of_address};
use messages::Message;

pub fn keep(global: &Global, args: &args::Keep, report: &mut Report) -> Result<(), Failure> {
    let (sender, messages) = mpsc::sync_channel(crate::signals::MOST_WAITING);
    messages::catch_signals(sender.clone())?;
    let outlets = Outlets::open(args)?;
    let client = finding::client(global, args, report)?;
    messages::follow(client.events(), sender)?;
    let mut keeper = Keeper::new(global, args, report, client, outlets);
    keeper.begin()?;
    keeper.account.tell_manager();
    let mut result = Ok(());
    for message in messages {
        match message {
            Message::Event(event) => keeper.handle(&event)?,
            Message::Interrupted => break,
            Message::Ended => {
                result = Err(Failure::other("cannot keep the mapping any longer", messages::ENDED, "Start it again."));
                break;
            }
        }
        keeper.account.tell_manager();
        if keeper.account.report.is_closed {
            note("natpmp: nobody reads standard output any more: stopping");
            break;
        }
    }
    // Of two failures the first one is the reason.
    let ended = keeper.account.end();
    result.and(ended)
}

/// Whom to tell, apart from standard output.
pub struct Outlets {
    hook: Option<Hook>,
    port_file: Option<PortFile>,
    manager: Manager,
}

impl Outlets {
    pub fn open(args: &args::Keep) -> Result<Self, Failure> {
        let start = |command: &String| {
            Hook::start(command).map_err(|error| Failure::other("cannot start the --on-change command", error, ""))
        };
        let create = |path: &std::path::PathBuf| {
            PortFile::create(path).map_err(|error| {
                let tried = format!("cannot write the port file {}", path.display());
                Failure::other(tried, error, PORT_FILE_ADVICE)
            })
        };
        Ok(Self {
            hook: args.on_change.as_ref().map(start).transpose()?,
            port_file: args.port_file.as_ref().map(create).transpose()?,
            manager: Manager::of_environment(),
        })
    }
}

struct Keeper<'a> {
    client: Client,
    account: Account<'a>,
}

/// What is known of the mappings, and what is said of them.
pub struct Account<'a> {
    global: &'a Global,
    args: &'a args::Keep,
    report: &'a mut Report,
    gateway: SocketAddrV4,
    /// The one before.
    left: SocketAddrV4,
    external_address: Option<Ipv4Addr>,
    /// It was told that the gateway has none at present.
    is_address_refused: bool,
    held: Vec<Held>,
    outlets: Outlets,
}

/// One protocol that is kept.
struct Held {
    protocol: Protocol,
    /// Not yet, while the other protocol's port is awaited.
    kept: Option<KeptMapping>,
    open: Option<Mapping>,
    /// When it was last granted.
    granted: Instant,
    told_error: Option<RequestError>,
    /// Why it is not open any more.
    lost: Option<&'static str>,
}

impl<'a> Keeper<'a> {
    fn new(global: &'a Global, args: &'a args::Keep, report: &'a mut Report, client: Client, outlets: Outlets) -> Self {
        let account = Account::new(global, args, report, client.gateway(), outlets);
        Self { client, account }
    }

    fn begin(&mut self) -> Result<(), Failure> {
        self.account.began();
        warn_of_own_address(self.client.local_address());
        self.client.watch_external_address(true);
        self.keep_next(None)
    }

    /// Begins with the next protocol, on the port that the one before it got.
    fn keep_next(&mut self, external_port: Option<u16>) -> Result<(), Failure> {
        let account = &mut self.account;
        let Some(held) = account.held.iter_mut().find(|held| held.kept.is_none()) else { return Ok(()) };
        let mut request = account.args.request(held.protocol);
        if let Some(port) = external_port {
            request = request.external_port(port);
        }
        let kept = self.client.keep(&request).map_err(|error| Failure::new("cannot keep the mapping", &error))?;
        held.kept = Some(kept);
        held.told_error = None;
        Ok(())
    }

    fn handle(&mut self, event: &Event) -> Result<(), Failure> {
        self.account.tell(event);
        match *event {
            Event::Mapped(mapping) => self.keep_next(Some(mapping.external_port))?,
            // Without a network nothing is known of the gateway.
            Event::Failed { error, .. } if error != RequestError::NetworkDown => self.keep_next(None)?,
            Event::GatewayChanged(_) => warn_of_own_address(self.client.local_address()),
            _ => {}
        }
        Ok(())
    }
}

impl<'a> Account<'a> {
    pub fn new(
        global: &'a Global,
        args: &'a args::Keep,
        report: &'a mut Report,
        gateway: SocketAddrV4,
        outlets: Outlets,
    ) -> Self {
        let held = |&protocol| Held {
            protocol,
            kept: None,
            open: None,
            granted: Instant::now(),
            told_error: None,
            lost: None,
        };
        let held = args.mapping.protocol.each().iter().map(held).collect();
        Self {
            global,
            args,
            report,
            gateway,
            left: gateway,
            external_address: None,
            is_address_refused: false,
            held,
            outlets,
        }
    }

    fn began(&self) {
        if !self.global.json && self.has_gateway() {
            let protocols: Vec<_> = self.held.iter().map(|held| name(held.protocol)).collect();
            let (protocols, port) = (protocols.join(" and "), self.args.mapping.internal_port);
            note(&format!("asking {} for {protocols} {port}; interrupt to end", self.gateway.ip()));
        }
    }

    /// None was given, and none was found yet.
    fn has_gateway(&self) -> bool {
        !self.gateway.ip().is_unspecified()
    }

    pub fn tell(&mut self, event: &Event) {
        match *event {
            Event::Mapped(mapping) => self.opened("mapped", &mapping),
            Event::PortChanged { mapping, .. } => self.opened("changed", &mapping),
            Event::Renewed(mapping) => self.renewed(&mapping),
            Event::Failed { protocol, internal_port, error, .. } => self.failed(protocol, internal_port, error),
            Event::Lost { protocol, external_port, cause, .. } => self.lost(protocol, external_port, cause),
            Event::ExternalAddress(result) => self.external_address(result),
            Event::GatewayRestarted => {
                let line = Line::new("gateway-restarted", self.gateway);
                self.report.event(&line, "the gateway has lost its mappings; asking again within 5 s");
            }
            Event::GatewayChanged(gateway) => {
                self.left = self.gateway;
                (self.gateway, self.external_address, self.is_address_refused) = (gateway, None, false);
                let line = Line::new("gateway", gateway);
                self.report.event(&line, &format!("the gateway is {} now", gateway.ip()));
            }
            // Endings are told where they are asked for.
            _ => {}
        }
    }

    fn opened(&mut self, event: &'static str, mapping: &Mapping) {
        self.set_open(mapping.protocol, Some(*mapping));
        let line = mapping_line(event, self.gateway, mapping, self.external_address);
        let text = open_at(mapping, self.external_address);
        self.report.result(&line, &text);
        self.tell_hook(event, mapping.protocol, Some(mapping.external_port));
        let open: Vec<Mapping> = self.held.iter().filter_map(|held| held.open).collect();
        warn_if_ports_differ(&open);
    }

    fn renewed(&mut self, mapping: &Mapping) {
        let held = self.held.iter().find(|held| held.protocol == mapping.protocol);
        let has_failed = held.is_some_and(|held| held.told_error.is_some());
        self.set_open(mapping.protocol, Some(*mapping));
        let line = mapping_line("renewed", self.gateway, mapping, self.external_address);
        // Whoever was told of a failure is told that it is over.
        if self.global.json || self.global.verbose || has_failed {
            let text =
                format!("{} {} is renewed for {} s", name(mapping.protocol), mapping.internal_port, mapping.lifetime);
            self.report.event(&line, &text);
        }
    }

    fn lost(&mut self, protocol: Protocol, external_port: u16, cause: LossCause) {
        let (reason, gateway) = match cause {
            LossCause::GatewayRestarted => ("the gateway has lost it", self.gateway),
            LossCause::Expired => ("its lease ended and could not be renewed", self.gateway),
            LossCause::GatewayChanged => ("the gateway has changed", self.left),
            _ => ("it is asked for again", self.gateway),
        };
        let internal_port = self.args.mapping.internal_port;
        self.set_open(protocol, None);
        if let Some(held) = self.held.iter_mut().find(|held| held.protocol == protocol) {
            held.lost = Some(reason);
        }
        let line = Line {
            error: Some(reason.to_owned()),
            external_port: Some(external_port),
            ..Line::new("lost", gateway).of_mapping(protocol, internal_port)
        };
        self.report.result(&line, &format!("{} {internal_port} is not open: {reason}", name(protocol)));
        self.tell_hook("lost", protocol, None);
    }

    fn external_address(&mut self, result: Result<Ipv4Addr, RequestError>) {
        let line = Line::new("external-address", self.gateway);
        match result {
            Ok(address) => {
                let told = self.external_address;
                self.external_address = Some(address);
                if !std::mem::take(&mut self.is_address_refused) && told == Some(address) {
                    // It could not be asked for in the meantime, which is no news of it.
                    return;
                }
                let line = line.of_address(address);
                let open: Vec<Mapping> = self.held.iter().filter_map(|held| held.open).collect();
                if self.global.json {
                    self.report.result(&line, "");
                } else if told.is_some() {
                    note(&format!("the external address is {address}"));
                } else {
                    // These were told without it.
                    open.iter().for_each(|mapping| note(&open_at(mapping, Some(address))));
                }
                if told != Some(address) {
                    warn_of_address(address);
                    for mapping in open {
                        self.tell_hook("changed", mapping.protocol, Some(mapping.external_port));
                    }
                }
            }
            // That the gateway does not answer at all is told of the mappings.
            Err(error @ RequestError::Refused(_)) => {
                self.is_address_refused = true;
                let line = Line { error: Some(format!("{}: {error}", self.gateway)), ..line };
                self.report.event(&line, &format!("no external address: {error}"));
            }
            Err(_) => {}
        }
    }

    fn set_open(&mut self, protocol: Protocol, open: Option<Mapping>) {
        if let Some(held) = self.held.iter_mut().find(|held| held.protocol == protocol) {
            held.open = open;
            held.granted = Instant::now();
            held.told_error = None;
        }
        if let Some(file) = &mut self.outlets.port_file {
            let ports: Vec<_> =
                self.held.iter().map(|held| (held.protocol, held.open.map(|mapping| mapping.external_port))).collect();
            file.set(&ports);
        }
    }

    fn tell_hook(&self, event: &'static str, protocol: Protocol, external_port: Option<u16>) {
        if let Some(hook) = &self.outlets.hook {
            hook.tell(HookChange {
                event,
                protocol,
                internal_port: self.args.mapping.internal_port,
                external_port,
                external_address: self.external_address,
                gateway: self.gateway,
            });
        }
    }
}

fn open_at(mapping: &Mapping, address: Option<Ipv4Addr>) -> String {
    let endpoint = endpoint(address, mapping.external_port);
    format!("{} {} is open at {endpoint}", name(mapping.protocol), mapping.internal_port)
}

const PORT_FILE_ADVICE: &str =
    "Give a file in a directory that exists and may be written; one that is mounted by itself has to be writable.";
