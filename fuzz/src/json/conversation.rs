//! The machine of a client that is sent bytes, and what the command reports of it.

use std::time::Duration;

use natpmp_cli::args::Keep;
use natpmp_cli::{Failure, KeepReporter, Report};
use natpmp_proto::client::{Client, Config, Ending, Event, Output, Received, RequestError};
use natpmp_proto::{Instant, Protocol};
use natpmp_std::{Announcement, DiscoverError, Error, Refusal};

use super::GATEWAY;
use crate::reader::Reader;

pub(super) struct Conversation {
    machine: Client<4>,
    now: Instant,
    key: (Protocol, u16),
    /// The last request.
    asked: Vec<u8>,
}

impl Conversation {
    pub(super) fn new(keep: &Keep, protocol: Protocol) -> Self {
        let mut machine = Client::new(Config::for_gateway(GATEWAY));
        for &each in keep.mapping.protocol.each() {
            machine.keep(Instant::ZERO, &keep.request(each)).unwrap();
        }
        machine.watch_external_address(Instant::ZERO, true);
        Self { machine, now: Instant::ZERO, key: (protocol, keep.mapping.internal_port), asked: Vec::new() }
    }

    /// One thing happens, and all that comes of it is reported.
    pub(super) fn step(&mut self, choices: &mut Reader<'_>, keeper: &mut KeepReporter<'_>, once: &mut Report) {
        let (protocol, port) = self.key;
        match choices.u8() % 16 {
            0..=5 => {
                let answer = self.answer(choices);
                let _ = self.machine.handle_datagram(self.now, GATEWAY, &answer);
            }
            6 => {
                let length = usize::from(choices.u8() % 25);
                let _ = self.machine.handle_datagram(self.now, GATEWAY, choices.slice(length));
            }
            7 => self.announcement(&[&[0, 0x80, 0, 0], choices.slice(8)].concat(), once),
            8 => {
                let length = usize::from(choices.u8() % 25);
                self.announcement(choices.slice(length), once);
            }
            9 | 10 => self.now = self.machine.poll_timeout().unwrap_or(self.now),
            11 => self.now = self.now + Duration::from_secs(choices.u16().into()),
            12 => match choices.u8() % 4 {
                0 => self.machine.handle_unreachable(self.now),
                1 => self.machine.handle_network_down(self.now),
                2 => self.machine.network_changed(self.now),
                _ => self.machine.set_gateway(self.now, GATEWAY),
            },
            13 => drop(self.machine.unmap(self.now, protocol, port)),
            14 => self.machine.unmap_all(self.now, protocol),
            _ => failures(choices, once),
        }
        for _ in 0..MOST_OUTPUTS {
            match self.machine.poll(self.now) {
                Output::Transmit(transmit) => self.asked = transmit.payload.to_vec(),
                Output::Event(event) => self.report_event(&event, keeper, once),
                Output::Wait(_) => break,
            }
        }
    }

    /// An answer to what was asked last, with any result, epoch, port and lifetime, and maybe cut off.
    fn answer(&self, choices: &mut Reader<'_>) -> Vec<u8> {
        let opcode = self.asked.get(1).copied().unwrap_or(0) | 0x80;
        let code = choices.u8();
        let mut answer = vec![0, opcode, 0, if code > 100 { 0 } else { code % 7 }];
        answer.extend(choices.array::<4>());
        if opcode == 0x80 {
            answer.extend(choices.array::<4>());
        } else {
            answer.extend(self.asked.get(4..6).unwrap_or_default());
            answer.extend(choices.array::<6>());
        }
        if code % 16 == 1 {
            answer.truncate((code / 16).into());
        }
        answer
    }

    fn announcement(&mut self, bytes: &[u8], once: &mut Report) {
        let content = match self.machine.handle_announcement(self.now, GATEWAY, bytes) {
            Ok(Received::Announcement { epoch, address }) => Some((epoch, address)),
            Ok(Received::PcpAnnouncement) => None,
            _ => return,
        };
        let (epoch, external_address) = content.unzip();
        once.announcement(&Announcement::new(GATEWAY, epoch, external_address));
    }

    /// As `keep` reports it, and as the commands do that ask once.
    fn report_event(&self, event: &Event, keeper: &mut KeepReporter<'_>, once: &mut Report) {
        keeper.report_event(event);
        match *event {
            Event::Mapped(mapping) => once.mapping(GATEWAY, &mapping, self.machine.external_address()),
            Event::ExternalAddress(Ok(address)) => once.external_address(GATEWAY, address),
            Event::ExternalAddress(Err(error)) => failed(once, error, None),
            Event::Failed { error, .. } | Event::Ended { ending: Ending::NotMapped(error), .. } => {
                failed(once, error, event.mapping_key());
            }
            Event::Ended { protocol, ending, .. } => keeper.report_ending(protocol, None, ending),
            Event::UnmappedAll { protocol, result: Ok(()) } => once.unmapped_all(GATEWAY, protocol),
            Event::UnmappedAll { result: Err(error), .. } => failed(once, error, None),
            _ => {}
        }
    }
}

/// As the command fails.
fn failed(report: &mut Report, error: RequestError, mapping: Option<(Protocol, u16)>) {
    let gateway = GATEWAY;
    let error = match error {
        RequestError::NoAnswer => Error::NoAnswer { gateway, waited: Duration::from_millis(7_750) },
        RequestError::PortUnreachable => Error::PortUnreachable { gateway },
        RequestError::Refused(refusal) => Error::Refused { gateway, refusal: Some(refusal) },
        RequestError::GrantedNothing => Error::Refused { gateway, refusal: None },
        RequestError::NetworkDown => {
            Error::NetworkDown { gateway, kind: std::io::ErrorKind::NetworkUnreachable, os_error: Some(101) }
        }
        _ => Error::Interrupted,
    };
    let failure = Failure::new("cannot", &error).at(Some(gateway));
    report.failure(&match mapping {
        Some((protocol, internal_port)) => failure.of_mapping(protocol, internal_port),
        None => failure,
    });
}

/// Failures that no answer brings about, or any answer.
fn failures(choices: &mut Reader<'_>, report: &mut Report) {
    let name = String::from_utf8_lossy(choices.slice(8)).into_owned();
    let code = choices.u16();
    for error in [
        Error::Discover(DiscoverError::NoSuchInterface { interface: name.clone(), interfaces: vec![name] }),
        Error::Refused { gateway: GATEWAY, refusal: Refusal::from_code(code) },
        Error::NetworkDown { gateway: GATEWAY, kind: std::io::ErrorKind::Other, os_error: Some(code.into()) },
        Error::Stopped,
    ] {
        report.failure(&Failure::new("cannot", &error));
    }
}

/// As many as one thing that happens can cause, many times over.
const MOST_OUTPUTS: usize = 64;
