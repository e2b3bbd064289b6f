//! The client machine driven by hand: what each method is documented to do, one behaviour a test.

mod answers;
mod commands;
mod external;
mod gateway;
mod hints;
mod hostile;
mod lives;
mod matching;
mod patience;
mod unmapping;

use core::net::Ipv4Addr;
use core::time::Duration;
use std::vec::Vec;

use super::*;
use crate::datagram::Discard;
use crate::mapping::{MapRequest, Mapping};
use crate::wire::{Failure, FailureDetail, Refusal, Request, Response};

pub(super) const GATEWAY: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(192, 168, 1, 1), 5351);
pub(super) const ADDRESS: Ipv4Addr = Ipv4Addr::new(11, 22, 33, 44);
pub(super) const UDP: Protocol = Protocol::Udp;
pub(super) const TCP: Protocol = Protocol::Tcp;

/// What happened when, in milliseconds.
type Timeline<T> = Vec<(u64, T)>;

/// A client, the present moment, and a gateway's clock that started with it.
pub(super) struct Rig<const N: usize = 4> {
    pub(super) client: Client<N>,
    now: u64,
}

impl Rig {
    pub(super) fn new() -> Self {
        Self::with(Config::for_gateway(GATEWAY).seed(7))
    }

    /// With one mapping kept, open since moment 0 on the port it has inside, for 7200 s.
    pub(super) fn keeping(protocol: Protocol, port: u16) -> Self {
        let mut rig = Self::new();
        rig.keep(MapRequest::new(protocol, port));
        rig.grants(protocol, port, port, 7200);
        assert!(matches!(rig.event(), Some(Event::Mapped(_))));
        rig
    }
}

impl<const N: usize> Rig<N> {
    pub(super) fn with(config: Config) -> Self {
        Self { client: Client::new(config), now: 0 }
    }

    pub(super) fn now(&self) -> Instant {
        Instant::from_millis(self.now)
    }

    /// Goes to a moment, in milliseconds, and lets time come there.
    pub(super) fn at(&mut self, millis: u64) -> &mut Self {
        assert!(self.now <= millis, "time goes forward");
        self.now = millis;
        self.client.handle_timeout(self.now());
        self
    }

    pub(super) fn keep(&mut self, request: MapRequest) {
        let now = self.now();
        self.client.keep(now, &request).unwrap();
    }

    pub(super) fn map(&mut self, request: MapRequest) {
        let now = self.now();
        self.client.map(now, &request).unwrap();
    }

    pub(super) fn unmap(&mut self, protocol: Protocol, port: u16) {
        let now = self.now();
        self.client.unmap(now, protocol, port).unwrap();
    }

    pub(super) fn refresh(&mut self, protocol: Protocol, port: u16) -> bool {
        let now = self.now();
        self.client.refresh(now, protocol, port)
    }

    /// What is sent now, if anything, and how often it was sent before.
    pub(super) fn sent(&mut self) -> Option<(Request, u8)> {
        let now = self.now();
        let transmit = self.client.poll_transmit(now)?;
        assert_eq!(transmit.to, self.client.gateway(), "nothing is sent to anybody else");
        assert_eq!(self.client.poll_transmit(now), None, "one request is in flight at a time");
        Some((Request::decode(&transmit.payload).unwrap(), transmit.resends()))
    }

    /// What is sent now; it must be something.
    #[track_caller]
    pub(super) fn request(&mut self) -> Request {
        self.sent().expect("a request is due").0
    }

    pub(super) fn event(&mut self) -> Option<Event> {
        self.client.poll_event()
    }

    #[track_caller]
    pub(super) fn is_quiet(&mut self) {
        assert_eq!(self.sent(), None, "nothing is sent at {} ms", self.now);
        assert_eq!(self.event(), None, "nothing is reported at {} ms", self.now);
    }

    /// An epoch that keeps time.
    pub(super) fn epoch(&self) -> u32 {
        u32::try_from(self.now / 1000).unwrap() + 1000
    }

    pub(super) fn receives(&mut self, response: Response) -> Result<Received, Discard> {
        let now = self.now();
        let from = self.client.gateway();
        self.client.handle_datagram(now, from, &response.encode())
    }

    /// Sends what is due and receives that it was granted.
    #[track_caller]
    pub(super) fn grants(&mut self, protocol: Protocol, internal: u16, external: u16, lifetime: u32) {
        let request = self.request();
        assert!(is_for(&request, protocol, internal), "{request:?} is not for {protocol} {internal}");
        let answer = mapped(self.epoch(), protocol, internal, external, lifetime);
        assert_eq!(self.receives(answer), Ok(Received::Answer));
    }

    /// Sends what is due and receives a refusal.
    #[track_caller]
    pub(super) fn refuses(&mut self, refusal: Refusal) {
        let request = self.request();
        let answer = Response::Failure(Failure { opcode: request.opcode(), refusal, detail: None });
        assert_eq!(self.receives(answer), Ok(Received::Answer));
    }

    /// Sends what is due and receives the external address.
    #[track_caller]
    pub(super) fn answers_address(&mut self, address: Ipv4Addr) {
        assert_eq!(self.request(), Request::ExternalAddress);
        let answer = Response::ExternalAddress { epoch: self.epoch(), address };
        assert_eq!(self.receives(answer), Ok(Received::Answer));
    }

    /// Lives on without any answer until a moment: what was sent when, and what was reported when.
    #[track_caller]
    pub(super) fn silence_until(&mut self, millis: u64) -> (Timeline<Request>, Timeline<Event>) {
        let (mut sends, mut events) = (Vec::new(), Vec::new());
        for _ in 0..10_000 {
            match self.client.poll(self.now()) {
                Output::Transmit(transmit) => sends.push((self.now, Request::decode(&transmit.payload).unwrap())),
                Output::Event(event) => events.push((self.now, event)),
                Output::Wait(deadline) => {
                    let deadline = deadline.map_or(u64::MAX, |at| at.as_micros().div_ceil(1000));
                    assert!(deadline > self.now, "a deadline that is due makes progress");
                    self.now = deadline.min(millis);
                    if deadline > millis {
                        return (sends, events);
                    }
                }
            }
        }
        panic!("the machine never becomes quiet");
    }

    /// The state of a mapping that the machine holds.
    #[track_caller]
    pub(super) fn state(&self, protocol: Protocol, port: u16) -> MappingState {
        self.client.mapping(protocol, port).expect("it is held").state
    }
}

pub(super) fn is_for(request: &Request, protocol: Protocol, internal: u16) -> bool {
    matches!(request, Request::Map { protocol: p, internal_port, .. } if (*p, *internal_port) == (protocol, internal))
}

pub(super) fn asks(protocol: Protocol, internal: u16, external: u16, lifetime: u32) -> Request {
    Request::Map { protocol, internal_port: internal, suggested_external_port: external, lifetime }
}

pub(super) fn mapped(epoch: u32, protocol: Protocol, internal: u16, external: u16, lifetime: u32) -> Response {
    Response::Map { protocol, epoch, internal_port: internal, external_port: external, lifetime }
}

pub(super) fn failure(opcode: u8, refusal: Refusal, internal_port: Option<u16>) -> Response {
    let detail = internal_port.map(|_| FailureDetail { epoch: 1000, internal_port });
    Response::Failure(Failure { opcode, refusal, detail })
}

pub(super) fn mapping(protocol: Protocol, internal: u16, external: u16, lifetime: u32) -> Mapping {
    Mapping { protocol, internal_port: internal, external_port: external, lifetime }
}

pub(super) fn ended(protocol: Protocol, internal: u16, external: u16, ending: Ending) -> Option<Event> {
    Some(Event::Ended { protocol, internal_port: internal, external_port: external, ending })
}

pub(super) fn lost(protocol: Protocol, port: u16, external: u16, cause: LossCause) -> Option<Event> {
    Some(Event::Lost { protocol, internal_port: port, external_port: external, cause })
}

pub(super) fn secs(seconds: u64) -> Instant {
    Instant::from_secs(seconds)
}
