//! `natpmp keep`: mappings that are held until the command is interrupted.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::thread;

use natpmp_std::{Client, Ending, Event, KeptMapping, LossCause, MachineError, Mapping, Protocol, Schedule};

use crate::args::{self, Global};
use crate::failure::Failure;
use crate::hook::{Hook, HookChange};
use crate::once::{gateway_of, mapping_line, warn_if_ports_differ, warn_of_own_address};
use crate::port_file::PortFile;
use crate::report::{Line, Report, endpoint, name, note, warn_of_address};

pub(crate) fn keep(global: &Global, args: &args::Keep, report: &mut Report) -> Result<(), Failure> {
    let gateway = gateway_of(global)?;
    let schedule = Schedule::within(global.patience());
    let client = global
        .builder()
        .gateway(gateway)
        .schedule(schedule)
        .build()
        .map_err(|error| Failure::new("cannot keep a mapping", &error).at(Some(gateway)))?;
    let messages = messages(&client)?;
    let mut keeper = Keeper::new(global, args, report, client)?;
    keeper.begin()?;
    for message in messages {
        match message {
            Message::Event(event) => keeper.handle(event)?,
            Message::Interrupted => break,
        }
        if keeper.report.is_closed {
            note("natpmp: nobody reads standard output any more: stopping");
            break;
        }
    }
    keeper.end()
}

enum Message {
    Event(Event),
    Interrupted,
}

/// Events of the client, and the signal to stop. A second signal ends the program at once.
fn messages(client: &Client) -> Result<Receiver<Message>, Failure> {
    let (sender, receiver) = mpsc::channel();
    let events = client.events();
    let interrupted = sender.clone();
    let is_second = AtomicBool::new(false);
    let handler = move || {
        if is_second.swap(true, Ordering::Relaxed) {
            std::process::exit(crate::failure::OTHER.into());
        }
        // Whoever would receive it has stopped already.
        let _ = interrupted.send(Message::Interrupted);
    };
    ctrlc::set_handler(handler).map_err(|error| Failure::other("cannot catch signals", error, ""))?;
    thread::spawn(move || events.map(Message::Event).try_for_each(|event| sender.send(event)));
    Ok(receiver)
}

struct Keeper<'a> {
    global: &'a Global,
    args: &'a args::Keep,
    report: &'a mut Report,
    client: Client,
    gateway: SocketAddrV4,
    external_address: Option<Ipv4Addr>,
    held: Vec<Held>,
    hook: Option<Hook>,
    port_file: Option<PortFile>,
}

/// One protocol that is kept.
struct Held {
    protocol: Protocol,
    /// Not yet, while the other protocol's port is awaited.
    kept: Option<KeptMapping>,
    open: Option<Mapping>,
    told_error: Option<MachineError>,
}

impl<'a> Keeper<'a> {
    fn new(global: &'a Global, args: &'a args::Keep, report: &'a mut Report, client: Client) -> Result<Self, Failure> {
        let start = |command: &String| {
            Hook::start(command).map_err(|error| Failure::other("cannot start the --on-change command", error, ""))
        };
        let create = |path: &std::path::PathBuf| {
            PortFile::create(path).map_err(|error| {
                let tried = format!("cannot write the port file {}", path.display());
                Failure::other(tried, error, "Give a path in a directory that exists and may be written.")
            })
        };
        let protocols = args.mapping.protocol.each().iter();
        Ok(Self {
            global,
            args,
            report,
            gateway: client.gateway(),
            client,
            external_address: None,
            held: protocols.map(|&protocol| Held { protocol, kept: None, open: None, told_error: None }).collect(),
            hook: args.on_change.as_ref().map(start).transpose()?,
            port_file: args.port_file.as_ref().map(create).transpose()?,
        })
    }

    fn begin(&mut self) -> Result<(), Failure> {
        if !self.global.json {
            let protocols: Vec<_> = self.held.iter().map(|held| name(held.protocol)).collect();
            let (protocols, port) = (protocols.join(" and "), self.args.mapping.internal_port);
            note(&format!("asking {} for {protocols} {port}; interrupt to end", self.gateway.ip()));
        }
        warn_of_own_address(self.client.local_address());
        self.client.watch_external_address(true);
        self.keep_next(None)
    }

    /// Begins with the next protocol, on the port that the one before it got.
    fn keep_next(&mut self, external_port: Option<u16>) -> Result<(), Failure> {
        let Some(held) = self.held.iter_mut().find(|held| held.kept.is_none()) else { return Ok(()) };
        let mut request = self.args.request(held.protocol);
        if let Some(port) = external_port {
            request = request.external_port(port);
        }
        let kept = self.client.keep(&request).map_err(|error| Failure::new("cannot keep the mapping", &error))?;
        held.kept = Some(kept);
        Ok(())
    }

    fn handle(&mut self, event: Event) -> Result<(), Failure> {
        match event {
            Event::Mapped(mapping) => {
                self.opened("mapped", &mapping);
                self.keep_next(Some(mapping.external_port))?;
            }
            Event::PortChanged { mapping, .. } => self.opened("changed", &mapping),
            Event::Renewed(mapping) => self.renewed(&mapping),
            Event::Failed { protocol, internal_port, error, .. } => {
                self.failed(protocol, internal_port, error);
                self.keep_next(None)?;
            }
            Event::Lost { protocol, internal_port, cause, .. } => self.lost(protocol, internal_port, cause),
            Event::ExternalAddress(result) => self.external_address(result),
            Event::GatewayRestarted => {
                let line = Line::new("gateway-restarted", self.gateway);
                self.report.event(&line, "the gateway has lost its mappings; asking again within 5 s");
            }
            // Endings are told where they are asked for.
            _ => {}
        }
        Ok(())
    }

    fn opened(&mut self, event: &'static str, mapping: &Mapping) {
        self.set_open(mapping.protocol, Some(*mapping));
        let line = mapping_line(event, self.gateway, mapping, self.external_address);
        let text = format!(
            "{} {} is open at {}",
            name(mapping.protocol),
            mapping.internal_port,
            endpoint(self.external_address, mapping.external_port)
        );
        self.report.result(&line, &text);
        self.tell_hook(event, mapping.protocol, Some(mapping.external_port));
        let open: Vec<Mapping> = self.held.iter().filter_map(|held| held.open).collect();
        warn_if_ports_differ(&open);
    }

    fn renewed(&mut self, mapping: &Mapping) {
        self.set_open(mapping.protocol, Some(*mapping));
        let line = mapping_line("renewed", self.gateway, mapping, self.external_address);
        if self.global.json || self.global.verbose {
            let text =
                format!("{} {} is renewed for {} s", name(mapping.protocol), mapping.internal_port, mapping.lifetime);
            self.report.event(&line, &text);
        }
    }

    fn failed(&mut self, protocol: Protocol, internal_port: u16, error: MachineError) {
        let Some(held) = self.held.iter_mut().find(|held| held.protocol == protocol) else { return };
        let is_new = held.told_error != Some(error);
        held.told_error = Some(error);
        let line = Line {
            error: Some(format!("{}: {error}", self.gateway)),
            ..Line::new("retrying", self.gateway).of_mapping(protocol, internal_port)
        };
        // A person is told once, and a program every time.
        if self.global.json || is_new {
            let text = format!("{} {internal_port}: {error}; trying on", name(protocol));
            self.report.event(&line, &text);
        }
    }

    fn lost(&mut self, protocol: Protocol, internal_port: u16, cause: LossCause) {
        self.set_open(protocol, None);
        let reason = match cause {
            LossCause::GatewayRestarted => "the gateway has lost it",
            LossCause::Expired => "its lease ended and could not be renewed",
            _ => "the gateway has changed",
        };
        let line = Line {
            error: Some(reason.to_owned()),
            ..Line::new("lost", self.gateway).of_mapping(protocol, internal_port)
        };
        self.report.result(&line, &format!("{} {internal_port} is not open: {reason}", name(protocol)));
        self.tell_hook("lost", protocol, None);
    }

    fn external_address(&mut self, result: Result<Ipv4Addr, MachineError>) {
        let line = Line::new("external-address", self.gateway);
        match result {
            Ok(address) => {
                let is_first = self.external_address.is_none();
                let has_changed = self.external_address.replace(address) != Some(address);
                let line = Line { external_address: Some(address), ..line };
                if self.global.json || !is_first {
                    self.report.event(&line, &format!("the external address is {address}"));
                }
                if has_changed {
                    warn_of_address(address);
                    let open: Vec<Mapping> = self.held.iter().filter_map(|held| held.open).collect();
                    for mapping in open {
                        self.tell_hook("changed", mapping.protocol, Some(mapping.external_port));
                    }
                }
            }
            // That the gateway does not answer at all is told of the mappings.
            Err(error @ MachineError::Refused(_)) => {
                let line = Line { error: Some(format!("{}: {error}", self.gateway)), ..line };
                self.report.event(&line, &format!("no external address: {error}"));
            }
            Err(_) => {}
        }
    }

    fn set_open(&mut self, protocol: Protocol, open: Option<Mapping>) {
        if let Some(held) = self.held.iter_mut().find(|held| held.protocol == protocol) {
            held.open = open;
            held.told_error = None;
        }
        if let Some(file) = &mut self.port_file {
            let ports: Vec<_> =
                self.held.iter().map(|held| (held.protocol, held.open.map(|mapping| mapping.external_port))).collect();
            file.set(&ports);
        }
    }

    fn tell_hook(&self, event: &'static str, protocol: Protocol, external_port: Option<u16>) {
        if let Some(hook) = &self.hook {
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

    /// Deletes what was kept, and says what came of it.
    fn end(mut self) -> Result<(), Failure> {
        let mut result = Ok(());
        let port = self.args.mapping.internal_port;
        let stops: Vec<_> = self
            .held
            .iter_mut()
            .filter_map(|held| Some((held.protocol, held.open, held.kept.take()?)))
            // At a gateway that is gone, each waits in vain: all at the same time.
            .map(|(protocol, open, kept)| (protocol, open, thread::spawn(move || kept.stop())))
            .collect();
        for (protocol, open, stop) in stops {
            let outcome = stop.join().unwrap_or(Err(natpmp_std::Error::Stopped));
            self.set_open(protocol, None);
            match outcome {
                Ok(ending) => self.ended(protocol, open, ending),
                Err(error) => {
                    let tried = format!("cannot delete {} {port}", name(protocol));
                    let failure = Failure::new(tried, &error).at(Some(self.gateway)).of_mapping(protocol, port);
                    result = result.and(Err(failure));
                }
            }
            if open.is_some() {
                self.tell_hook("unmapped", protocol, None);
            }
        }
        if let Some(hook) = self.hook.take() {
            hook.finish();
        }
        result
    }

    fn ended(&mut self, protocol: Protocol, open: Option<Mapping>, ending: Ending) {
        let port = self.args.mapping.internal_port;
        let (event, what) = match ending {
            Ending::LeftToLapse => ("lapsing", "is left to lapse: internal port 0 cannot be deleted alone"),
            _ => ("unmapped", "is unmapped"),
        };
        let line = Line {
            lifetime: open.filter(|_| ending == Ending::LeftToLapse).map(|mapping| mapping.lifetime),
            ..Line::new(event, self.gateway).of_mapping(protocol, port)
        };
        self.report.result(&line, &format!("{} {port} {what}", name(protocol)));
    }
}
