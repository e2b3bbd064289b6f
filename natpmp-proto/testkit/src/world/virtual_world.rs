use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use natpmp_proto::client::{Ending, MappingState, RequestError};
use natpmp_proto::{Event, Instant, MapRequest, Mapping, Protocol};

use super::{Scale, World};
use crate::gateway::Gateway;
use crate::net::Sim;

/// The core alone, on a virtual network in virtual time.
#[derive(Debug)]
pub struct VirtualWorld {
    /// The network, for what scenarios do not cover.
    pub sim: Sim<32>,
    unread: VecDeque<Event>,
}

impl VirtualWorld {
    /// A client at a gateway that behaves. The seed decides all that is random.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let Scale { schedule, backoff, .. } = Scale::exact();
        let sim = Sim::with_rules(Gateway::new(), |rules| rules.schedule(schedule).backoff(backoff), seed);
        Self { sim, unread: VecDeque::new() }
    }

    /// Waits for the answer to a call. Other events stay to be read.
    fn wait<T>(&mut self, answer: impl Fn(&Event) -> Option<T>) -> T {
        loop {
            let timed = self.sim.next_event(Scale::exact().patience).expect("an answer comes");
            match answer(&timed.event) {
                Some(result) => return result,
                None => self.unread.push_back(timed.event),
            }
        }
    }
}

impl World for VirtualWorld {
    fn scale(&self) -> Scale {
        Scale::exact()
    }

    fn gateway<T>(&mut self, work: impl FnOnce(&mut Gateway, Instant) -> T) -> T {
        self.sim.with_gateway(work)
    }

    fn forge(&mut self, bytes: &[u8]) {
        self.sim.inject(SocketAddrV4::new(Ipv4Addr::new(192, 168, 1, 66), 5351), bytes);
    }

    fn external_address(&mut self) -> Result<Ipv4Addr, RequestError> {
        self.sim.command(|client, now| client.request_external_address(now));
        self.wait(|event| match *event {
            Event::ExternalAddress(result) => Some(result),
            _ => None,
        })
    }

    fn map(&mut self, request: &MapRequest) -> Result<Mapping, RequestError> {
        self.sim.command(|client, now| client.map(now, request)).expect("there is room");
        let key = (request.protocol(), request.internal_port());
        self.wait(|event| match *event {
            Event::Mapped(mapping) | Event::Renewed(mapping) | Event::PortChanged { mapping, .. }
                if (mapping.protocol, mapping.internal_port) == key =>
            {
                Some(Ok(mapping))
            }
            Event::Failed { protocol, internal_port, error, .. } if (protocol, internal_port) == key => {
                Some(Err(error))
            }
            Event::Ended { protocol, internal_port, ending: Ending::NotMapped(error), .. }
                if (protocol, internal_port) == key =>
            {
                Some(Err(error))
            }
            _ => None,
        })
    }

    fn unmap(&mut self, protocol: Protocol, internal_port: u16) -> Result<(), RequestError> {
        self.sim.command(|client, now| client.unmap(now, protocol, internal_port)).expect("there is room");
        let key = (protocol, internal_port);
        self.wait(|event| match *event {
            Event::Ended { protocol, internal_port, ending, .. } if (protocol, internal_port) == key => {
                Some(match ending {
                    Ending::NotUnmapped(error) => Err(error),
                    _ => Ok(()),
                })
            }
            _ => None,
        })
    }

    fn unmap_all(&mut self, all: Protocol) -> Result<(), RequestError> {
        self.sim.command(|client, now| client.unmap_all(now, all));
        self.wait(|event| match *event {
            Event::UnmappedAll { protocol, result } if protocol == all => Some(result),
            _ => None,
        })
    }

    fn keep(&mut self, request: &MapRequest) {
        self.sim.command(|client, now| client.keep(now, request)).expect("there is room");
    }

    fn kept(&mut self, protocol: Protocol, internal_port: u16) -> Option<Mapping> {
        match self.sim.client().mapping(protocol, internal_port)?.state {
            MappingState::Open { mapping, .. } => Some(mapping),
            _ => None,
        }
    }

    fn refresh(&mut self, protocol: Protocol, internal_port: u16) {
        assert!(self.sim.command(|client, now| client.refresh(now, protocol, internal_port)));
    }

    fn stop(&mut self, protocol: Protocol, internal_port: u16) -> Result<(), RequestError> {
        self.unmap(protocol, internal_port)
    }

    fn next_event(&mut self, limit: Duration) -> Option<Event> {
        self.unread.pop_front().or_else(|| self.sim.next_event(limit).map(|timed| timed.event))
    }
}
