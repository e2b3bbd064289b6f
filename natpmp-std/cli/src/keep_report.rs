//! What `keep` knows of its mappings, and what it says of them: to the reader of the results, to the hook, in the port file and to the service
//! manager.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Instant;

use natpmp_std::{Ending, Error, Event, LossCause, Mapping, Protocol, RequestError};

use crate::args::{self, Global};
use crate::failure::Failure;
use crate::hook::{Hook, HookChange};
use crate::lines::{Line, name, open_at};
use crate::notify::Manager;
use crate::once::find_gateway;
use crate::port_file::PortFile;
use crate::report::{Format, Report};

/// Reports the events of a client that keeps a mapping, as `natpmp keep` does.
#[derive(Debug)]
pub struct KeepReporter<'a> {
    pub(crate) report: &'a mut Report,
    global: &'a Global,
    args: &'a args::Keep,
    gateway: SocketAddrV4,
    /// Where a mapping was that is lost by a change of the gateway.
    previous_gateway: SocketAddrV4,
    external_address: ExternalAddress,
    /// One for each protocol of the arguments.
    mappings: Vec<Kept>,
    outputs: Outputs,
}

/// Who hears of changes, apart from the reader of the results.
#[derive(Debug, Default)]
pub(crate) struct Outputs {
    pub(crate) hook: Option<Hook>,
    pub(crate) port_file: Option<PortFile>,
    pub(crate) manager: Option<Manager>,
}

/// The mapping of one protocol.
#[derive(Debug)]
struct Kept {
    protocol: Protocol,
    request: RequestState,
    state: State,
}

/// Whether the client was asked to keep a mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RequestState {
    /// Not yet, while the port of the other protocol is awaited.
    Waiting,
    Asked,
}

/// What is known of a mapping.
#[derive(Clone, Copy, Debug)]
enum State {
    /// Nothing yet, or it was deleted.
    Unknown,
    Open(Grant),
    /// Open still, but the last renewal failed.
    NotRenewed(Grant, RequestError),
    /// Not open, because the last request failed.
    Failing(RequestError),
    /// Not open any more, for this reason.
    Lost(&'static str),
}

/// What the gateway granted, and when it last did.
#[derive(Clone, Copy, Debug)]
struct Grant {
    mapping: Mapping,
    at: Instant,
}

/// What is known of the external address of the present gateway.
#[derive(Clone, Copy, Debug)]
enum ExternalAddress {
    Unknown,
    Known(Ipv4Addr),
    /// The gateway has refused to name one, which was reported; it had this one before.
    Refused {
        last: Option<Ipv4Addr>,
    },
}

impl<'a> KeepReporter<'a> {
    /// A reporter for a client of this gateway (the unspecified address if there is none yet) that keeps what `keep` says.
    ///
    /// It writes to the report, and neither runs the hook nor writes the port file that `keep` names.
    pub fn new(global: &'a Global, keep: &'a args::Keep, report: &'a mut Report, gateway: SocketAddrV4) -> Self {
        Self::with_outputs(global, keep, report, gateway, Outputs::default())
    }

    pub(crate) fn with_outputs(
        global: &'a Global,
        args: &'a args::Keep,
        report: &'a mut Report,
        gateway: SocketAddrV4,
        outputs: Outputs,
    ) -> Self {
        let kept = |&protocol| Kept { protocol, request: RequestState::Waiting, state: State::Unknown };
        Self {
            report,
            global,
            args,
            gateway,
            previous_gateway: gateway,
            external_address: ExternalAddress::Unknown,
            mappings: args.mapping.protocol.each().iter().map(kept).collect(),
            outputs,
        }
    }

    /// Reports an event of the client. The end of a mapping is not among them: see [`report_ending`](Self::report_ending).
    pub fn report_event(&mut self, event: &Event) {
        match *event {
            Event::Mapped(mapping) => self.opened("mapped", &mapping),
            Event::PortChanged { mapping, .. } => self.opened("changed", &mapping),
            Event::Renewed(mapping) => self.renewed(&mapping),
            Event::Failed { protocol, internal_port, error, .. } => self.failed(protocol, internal_port, error),
            Event::Lost { protocol, external_port, cause, .. } => self.lost(protocol, external_port, cause),
            Event::ExternalAddress(Ok(address)) => self.address_known(address),
            Event::ExternalAddress(Err(error)) => self.address_unknown(error),
            Event::GatewayRestarted => {
                let line = Line::new("gateway-restarted", self.gateway);
                self.report.event(&line, "the gateway has lost its mappings; asking again within 5 s");
            }
            Event::GatewayChanged(gateway) => {
                self.previous_gateway = self.gateway;
                self.gateway = gateway;
                self.external_address = ExternalAddress::Unknown;
                let line = Line::new("gateway", gateway);
                self.report.event(&line, &format!("the gateway is {} now", gateway.ip()));
            }
            // Endings are reported where they are asked for.
            _ => {}
        }
    }

    /// Reports that the mapping of a protocol is kept no longer, and what became of it; `open` is what it was until then, if it was open.
    pub fn report_ending(&mut self, protocol: Protocol, open: Option<Mapping>, ending: Ending) {
        let lifetime = open.map(|mapping| mapping.lifetime);
        self.report.ended(self.gateway, protocol, self.args.mapping.internal_port, ending, lifetime);
    }

    fn opened(&mut self, event: &'static str, mapping: &Mapping) {
        self.granted(mapping);
        let address = self.external_address.last();
        self.report.result(&Line::of_open(event, self.gateway, mapping, address), &open_at(mapping, address));
        self.run_hook(event, mapping.protocol, Some(mapping.external_port));
        self.report.warn_if_ports_differ(&self.open_mappings());
    }

    fn renewed(&mut self, mapping: &Mapping) {
        let has_failed = self.kept(mapping.protocol).is_some_and(|kept| kept.state.error().is_some());
        self.granted(mapping);
        let line = Line::of_open("renewed", self.gateway, mapping, self.external_address.last());
        // Whoever read of a failure is to read that it is over.
        if self.report.format() == Format::Json || self.global.verbose || has_failed {
            let (protocol, port) = (name(mapping.protocol), mapping.internal_port);
            self.report.event(&line, &format!("{protocol} {port} is renewed for {} s", mapping.lifetime));
        }
    }

    fn failed(&mut self, protocol: Protocol, internal_port: u16, error: RequestError) {
        // That there is no gateway was said.
        if !self.has_gateway() {
            return;
        }
        self.report_failure(protocol, internal_port, error);
        if error == RequestError::NetworkDown {
            // It is why the other protocol is not asked for either.
            let waits = |kept: &&Kept| kept.protocol != protocol && kept.request == RequestState::Waiting;
            if let Some(other) = self.mappings.iter().find(waits).map(|kept| kept.protocol) {
                self.report_failure(other, internal_port, error);
            }
        }
    }

    fn report_failure(&mut self, protocol: Protocol, internal_port: u16, error: RequestError) {
        let Some(kept) = self.mappings.iter_mut().find(|kept| kept.protocol == protocol) else { return };
        let is_new = kept.state.error() != Some(error);
        kept.state = kept.state.failed(error);
        let line = Line {
            error: Some(format!("{}: {error}", self.gateway)),
            ..Line::new("retrying", self.gateway).of_mapping(protocol, internal_port)
        };
        // A person is told once, and a program every time.
        if self.report.format() == Format::Json || is_new {
            let text = format!("{} {internal_port}: {error}; trying on", name(protocol));
            self.report.event(&line, &text);
        }
    }

    fn lost(&mut self, protocol: Protocol, external_port: u16, cause: LossCause) {
        let (reason, gateway) = match cause {
            LossCause::GatewayRestarted => ("the gateway has lost it", self.gateway),
            LossCause::Expired => ("its lease ended and could not be renewed", self.gateway),
            LossCause::GatewayChanged => ("the gateway has changed", self.previous_gateway),
            _ => ("it is asked for again", self.gateway),
        };
        let internal_port = self.args.mapping.internal_port;
        self.set_state(protocol, State::Lost(reason));
        let line = Line {
            error: Some(reason.to_owned()),
            external_port: Some(external_port),
            ..Line::new("lost", gateway).of_mapping(protocol, internal_port)
        };
        self.report.result(&line, &format!("{} {internal_port} is not open: {reason}", name(protocol)));
        self.run_hook("lost", protocol, None);
    }

    fn address_known(&mut self, address: Ipv4Addr) {
        let before = std::mem::replace(&mut self.external_address, ExternalAddress::Known(address));
        if matches!(before, ExternalAddress::Known(known) if known == address) {
            // It could not be asked for in the meantime, which says nothing new of it.
            return;
        }
        let open = self.open_mappings();
        match (self.report.format(), before.last()) {
            (Format::Json, _) => {
                let line = Line::new("external-address", self.gateway).of_address(address);
                self.report.result(&line, "");
            }
            (Format::Text, Some(_)) => self.report.note(&format!("the external address is {address}")),
            // These were reported without it.
            (Format::Text, None) => open.iter().for_each(|mapping| self.report.note(&open_at(mapping, Some(address)))),
        }
        if before.last() != Some(address) {
            self.report.warn_of_address(address);
            for mapping in open {
                self.run_hook("changed", mapping.protocol, Some(mapping.external_port));
            }
        }
    }

    fn address_unknown(&mut self, error: RequestError) {
        // That the gateway does not answer at all is reported of the mappings.
        if let RequestError::Refused(_) = error {
            self.external_address = ExternalAddress::Refused { last: self.external_address.last() };
            let line = Line {
                error: Some(format!("{}: {error}", self.gateway)),
                ..Line::new("external-address", self.gateway)
            };
            self.report.event(&line, &format!("no external address: {error}"));
        }
    }

    fn granted(&mut self, mapping: &Mapping) {
        self.set_state(mapping.protocol, State::Open(Grant { mapping: *mapping, at: Instant::now() }));
    }

    fn set_state(&mut self, protocol: Protocol, state: State) {
        if let Some(kept) = self.mappings.iter_mut().find(|kept| kept.protocol == protocol) {
            kept.state = state;
        }
        if let Some(file) = &mut self.outputs.port_file {
            let port = |kept: &Kept| kept.state.grant().map(|grant| grant.mapping.external_port);
            file.set(&self.mappings.iter().map(port).collect::<Vec<_>>());
        }
    }

    fn kept(&self, protocol: Protocol) -> Option<&Kept> {
        self.mappings.iter().find(|kept| kept.protocol == protocol)
    }

    fn open_mappings(&self) -> Vec<Mapping> {
        self.mappings.iter().filter_map(|kept| kept.state.grant()).map(|grant| grant.mapping).collect()
    }
}

/// What `keep` itself does besides the events.
impl KeepReporter<'_> {
    /// Says whom it asks for what.
    pub(crate) fn note_beginning(&self) {
        if self.report.format() == Format::Text && self.has_gateway() {
            let protocols: Vec<_> = self.mappings.iter().map(|kept| name(kept.protocol)).collect();
            let (protocols, port) = (protocols.join(" and "), self.args.mapping.internal_port);
            self.report.note(&format!("asking {} for {protocols} {port}; interrupt to end", self.gateway.ip()));
        }
    }

    /// The client was asked to keep this protocol: what was said of it before counts no longer.
    pub(crate) fn asked(&mut self, protocol: Protocol) {
        if let Some(kept) = self.mappings.iter_mut().find(|kept| kept.protocol == protocol) {
            kept.request = RequestState::Asked;
            kept.state = State::Unknown;
        }
    }

    /// Whether a gateway was given or found.
    pub(crate) fn has_gateway(&self) -> bool {
        !self.gateway.ip().is_unspecified()
    }

    pub(crate) fn open_mapping(&self, protocol: Protocol) -> Option<Mapping> {
        self.kept(protocol)?.state.grant().map(|grant| grant.mapping)
    }

    /// What is left of the lease, in seconds.
    pub(crate) fn seconds_left(&self, protocol: Protocol) -> u64 {
        self.kept(protocol).and_then(|kept| kept.state.grant()).map_or(0, Grant::seconds_left)
    }

    /// The mapping of this protocol is asked for no longer.
    pub(crate) fn close(&mut self, protocol: Protocol) {
        self.set_state(protocol, State::Unknown);
    }

    pub(crate) fn note_not_open(&self, protocol: Protocol, why: &str) {
        self.report.note(&format!("{} {} was not open{why}", name(protocol), self.args.mapping.internal_port));
    }

    /// A failure to delete what has so many seconds left.
    pub(crate) fn stays_open(&self, protocol: Protocol, left: u64, error: &Error) -> Failure {
        let port = self.args.mapping.internal_port;
        let failure = Failure::new(format!("cannot delete {} {port}", name(protocol)), error);
        // To wait longer would be no remedy: whoever interrupts it wants it to end.
        let advice = format!("It stays open at the gateway until its lease ends, in up to {left} s.");
        failure.advise(advice).at(Some(self.gateway)).of_mapping(protocol, port)
    }

    pub(crate) fn run_hook(&mut self, event: &'static str, protocol: Protocol, external_port: Option<u16>) {
        if let Some(hook) = &mut self.outputs.hook {
            hook.queue(HookChange {
                event,
                protocol,
                internal_port: self.args.mapping.internal_port,
                external_port,
                external_address: self.external_address.last(),
                gateway: self.gateway,
            });
        }
    }

    /// Tells the service manager what has changed. `keep` is ready once all that it keeps is open.
    pub(crate) fn notify_manager(&mut self) {
        if self.outputs.manager.is_some() {
            let is_ready = self.mappings.iter().all(|kept| kept.state.grant().is_some());
            let status = self.status();
            if let Some(manager) = &mut self.outputs.manager {
                manager.notify(is_ready, &status);
            }
        }
    }

    pub(crate) fn notify_manager_of_stop(&mut self) {
        if let Some(manager) = &mut self.outputs.manager {
            manager.notify_stop("deleting what is open");
        }
    }

    /// Lets the hook run for what has happened.
    pub(crate) fn finish(self) {
        if let Some(hook) = self.outputs.hook {
            hook.finish();
        }
    }

    fn status(&self) -> String {
        if !self.has_gateway() {
            let reason = find_gateway(self.global).err().map(|error| format!(": {error}"));
            return format!("waiting for a gateway{}", reason.unwrap_or_default());
        }
        let each: Vec<String> = self.mappings.iter().map(|kept| self.status_of(kept)).collect();
        each.join("; ")
    }

    fn status_of(&self, kept: &Kept) -> String {
        let (protocol, port) = (name(kept.protocol), self.args.mapping.internal_port);
        let open_at = |grant: &Grant| open_at(&grant.mapping, self.external_address.last());
        match &kept.state {
            State::Unknown => format!("asking {} for {protocol} {port}", self.gateway.ip()),
            State::Open(grant) => open_at(grant),
            State::NotRenewed(grant, error) => format!("{}, not renewed: {error}; trying on", open_at(grant)),
            State::Failing(error) => format!("{protocol} {port}: {error}; trying on"),
            State::Lost(reason) => format!("{protocol} {port} is not open: {reason}"),
        }
    }
}

impl State {
    const fn grant(&self) -> Option<&Grant> {
        match self {
            Self::Open(grant) | Self::NotRenewed(grant, _) => Some(grant),
            Self::Unknown | Self::Failing(_) | Self::Lost(_) => None,
        }
    }

    /// Why the last request failed.
    const fn error(&self) -> Option<RequestError> {
        match self {
            Self::NotRenewed(_, error) | Self::Failing(error) => Some(*error),
            Self::Unknown | Self::Open(_) | Self::Lost(_) => None,
        }
    }

    const fn failed(self, error: RequestError) -> Self {
        match self {
            Self::Open(grant) | Self::NotRenewed(grant, _) => Self::NotRenewed(grant, error),
            Self::Unknown | Self::Failing(_) | Self::Lost(_) => Self::Failing(error),
        }
    }
}

impl Grant {
    fn seconds_left(&self) -> u64 {
        u64::from(self.mapping.lifetime).saturating_sub(self.at.elapsed().as_secs())
    }
}

impl ExternalAddress {
    /// The latest that the gateway has named.
    const fn last(self) -> Option<Ipv4Addr> {
        match self {
            Self::Unknown => None,
            Self::Known(address) => Some(address),
            Self::Refused { last } => last,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use clap::Parser;

    use super::*;
    use crate::args::{Args, Command};
    use crate::report::Buffer;

    #[test]
    fn what_is_lost_by_a_change_of_the_gateway_was_at_the_previous_one() {
        let [before, after] = [1, 2].map(|last| SocketAddrV4::new([192, 168, 1, last].into(), 5351));
        let lines = reported(before, |mapping| {
            [
                Event::Mapped(mapping),
                Event::GatewayChanged(after),
                Event::Lost {
                    protocol: Protocol::Udp,
                    internal_port: 4000,
                    external_port: 4000,
                    cause: LossCause::GatewayChanged,
                },
                Event::Mapped(mapping),
            ]
        });
        let found: Vec<_> = lines.iter().map(|line| (text(&line["event"]), text(&line["gateway"]))).collect();
        let [before, after] = [before, after].map(|gateway| gateway.to_string());
        assert_eq!(
            found,
            [
                ("mapped".to_owned(), before.clone()),
                ("gateway".to_owned(), after.clone()),
                ("lost".to_owned(), before),
                ("mapped".to_owned(), after)
            ]
        );
    }

    /// What a reporter makes of events of a `keep udp 4000 --json`.
    fn reported<const N: usize>(
        gateway: SocketAddrV4,
        events: impl FnOnce(Mapping) -> [Event; N],
    ) -> Vec<serde_json::Value> {
        let args = Args::parse_from(["natpmp", "keep", "udp", "4000", "--json"]);
        let Command::Keep(keep) = &args.command else { panic!("keep") };
        let output = Buffer::default();
        let mut report = Report::new(Format::Json, output.clone(), io::sink());
        let mut reporter = KeepReporter::new(&args.global, keep, &mut report, gateway);
        let mapping = Mapping { protocol: Protocol::Udp, internal_port: 4000, external_port: 4000, lifetime: 60 };
        events(mapping).iter().for_each(|event| reporter.report_event(event));
        output.lines().iter().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn text(value: &serde_json::Value) -> String {
        value.as_str().unwrap_or_default().to_owned()
    }
}
