//! The gateway machine driven by hand: what each method is documented to do, one behaviour a test.

mod announcements;
mod bytes;
mod deleting;
mod deleting_all;
mod events;
mod external;
mod leases;
mod limits;
mod mapping;
mod nat;
mod output;
mod ports;
mod rate;
mod size;
mod statics;

use std::vec::Vec;

use super::*;
use crate::datagram::{Discard, SocketId, TransmitKind};
use crate::wire::{Failure, FailureDetail, Refusal, Request, Response};

pub(super) const ADDRESS: Ipv4Addr = Ipv4Addr::new(11, 22, 33, 44);
pub(super) const OTHER_ADDRESS: Ipv4Addr = Ipv4Addr::new(11, 22, 33, 55);
pub(super) const UDP: Protocol = Protocol::Udp;
pub(super) const TCP: Protocol = Protocol::Tcp;

/// The requests come in by it.
pub(super) const SOCKET: SocketId = SocketId(3);

/// A gateway that booted at second 1, has its address, and has made all its announcements; and the present moment.
pub(super) struct Rig<const N: usize = 16> {
    pub(super) gateway: Gateway<N>,
    pub(super) now: Instant,
}

impl Rig {
    pub(super) fn new() -> Self {
        Self::with(Config::new().seed(7))
    }
}

impl<const N: usize> Rig<N> {
    pub(super) fn with(config: Config) -> Self {
        let mut rig = Self { gateway: Gateway::new(config), now: Instant::from_secs(1) };
        rig.gateway.start(rig.now, 0);
        rig.gateway.set_external_address(rig.now, Some(ADDRESS));
        while let Some(at) = rig.gateway.next_announcement() {
            rig.now = at;
            assert!(rig.gateway.poll_transmit(at).is_some());
        }
        rig
    }

    /// Lets seconds pass, and time come there.
    pub(super) fn pass(&mut self, seconds: u64) -> &mut Self {
        self.at(self.now + core::time::Duration::from_secs(seconds))
    }

    pub(super) fn at(&mut self, now: Instant) -> &mut Self {
        assert!(self.now <= now, "time goes forward");
        self.now = now;
        self.gateway.handle_timeout(now);
        assert!(self.gateway.poll_timeout().is_none_or(|at| at > now || self.gateway.next_announcement() == Some(at)));
        self
    }

    /// A datagram comes in; what is answered at once.
    pub(super) fn ask(&mut self, from: SocketAddrV4, bytes: &[u8]) -> Result<Option<Transmit>, Discard> {
        self.gateway.handle_datagram(self.now, SOCKET, from, bytes)?;
        Ok(self.answered())
    }

    /// The answer that waits to be sent, through the socket of the request.
    pub(super) fn answered(&mut self) -> Option<Transmit> {
        self.gateway.outgoing.as_ref()?;
        assert_eq!(self.gateway.poll_timeout(), Some(Instant::ZERO), "it is due now");
        let answer = self.gateway.poll_transmit(self.now);
        assert!(answer.as_ref().is_some_and(|answer| matches!(
            answer.kind,
            TransmitKind::Answer { socket: SOCKET } | TransmitKind::Echo { socket: SOCKET }
        )));
        answer
    }

    /// The answer that a request gets at once.
    #[track_caller]
    pub(super) fn answer(&mut self, from: SocketAddrV4, request: &Request) -> Response {
        let answer = self.ask(from, &request.encode()).expect("it is no request").expect("no answer at once");
        assert_eq!(answer.to, from);
        Response::decode(&answer.payload).unwrap()
    }

    /// Takes a request that is to wait for the NAT.
    #[track_caller]
    pub(super) fn waits(&mut self, from: SocketAddrV4, request: &Request) {
        assert_eq!(self.ask(from, &request.encode()), Ok(None));
    }

    /// What the NAT is asked next; it must be something.
    #[track_caller]
    pub(super) fn nat(&mut self) -> NatRequest {
        self.gateway.poll_nat().expect("the NAT is asked for something")
    }

    #[track_caller]
    pub(super) fn nat_is_left_alone(&mut self) {
        assert_eq!(self.gateway.poll_nat(), None);
    }

    /// The NAT has done it; the answer that follows.
    pub(super) fn done(&mut self, request: &NatRequest) -> Option<(SocketAddrV4, Response)> {
        self.outcome(request, Ok(()))
    }

    pub(super) fn outcome(
        &mut self,
        request: &NatRequest,
        outcome: Result<(), NatFailure>,
    ) -> Option<(SocketAddrV4, Response)> {
        self.gateway.handle_nat(self.now, request, outcome);
        let transmit = self.answered()?;
        assert!(transmit.payload.len() <= 16, "G24");
        Some((transmit.to, Response::decode(&transmit.payload).unwrap()))
    }

    /// A client maps a port, and the NAT does it: the external port.
    #[track_caller]
    pub(super) fn opens(&mut self, from: SocketAddrV4, request: &Request) -> u16 {
        self.waits(from, request);
        let asked = self.nat();
        assert!(matches!(asked, NatRequest::Install(_)));
        let external_port = asked.mapping().external_port;
        let (protocol, internal_port, lifetime) = parts(request);
        let granted = self.mapped(protocol, internal_port, external_port, lifetime);
        assert_eq!(self.done(&asked), Some((from, granted)));
        external_port
    }

    /// The NAT does all that it is asked for, and the answers leave by this socket.
    pub(super) fn settle_by(&mut self, socket: SocketId) {
        while let Some(request) = self.gateway.poll_nat() {
            self.gateway.handle_nat(self.now, &request, Ok(()));
            let answer = self.gateway.poll_transmit(self.now);
            assert!(answer.is_none_or(|answer| answer.kind == TransmitKind::Answer { socket }));
        }
    }

    /// The NAT does all that it is asked for; the answers that follow.
    pub(super) fn settle(&mut self) -> Vec<(SocketAddrV4, Response)> {
        let mut answers = Vec::new();
        for _ in 0..4 * N {
            let Some(request) = self.gateway.poll_nat() else { return answers };
            answers.extend(self.done(&request));
        }
        panic!("the NAT is asked without end");
    }

    /// All events that wait.
    pub(super) fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.gateway.poll_event()).collect()
    }

    pub(super) fn epoch(&self) -> u32 {
        self.gateway.epoch(self.now)
    }

    pub(super) fn mapped(&self, protocol: Protocol, internal_port: u16, external_port: u16, lifetime: u32) -> Response {
        Response::Map { protocol, epoch: self.epoch(), internal_port, external_port, lifetime }
    }

    pub(super) fn deleted(&self, protocol: Protocol, internal_port: u16) -> Response {
        self.mapped(protocol, internal_port, 0, 0)
    }

    pub(super) fn refused(&self, protocol: Protocol, internal_port: u16, refusal: Refusal) -> Response {
        let detail = Some(FailureDetail { epoch: self.epoch(), internal_port: Some(internal_port) });
        Response::Failure(Failure { opcode: protocol.opcode(), refusal, detail })
    }

    /// The external ports that are open, in order.
    pub(super) fn open_ports(&self) -> Vec<u16> {
        let mut ports: Vec<u16> = self.gateway.mappings().map(|open| open.mapping.external_port).collect();
        ports.sort_unstable();
        ports
    }

    /// The NAT holds nothing, is asked for nothing, and the table has room for everybody again.
    #[track_caller]
    pub(super) fn no_trace_is_left(&mut self) {
        self.nat_is_left_alone();
        assert_eq!(self.gateway.mappings().count(), 0);
        assert!(self.gateway.is_empty());
        assert_eq!(self.gateway.poll_timeout(), self.gateway.next_announcement());
    }
}

/// A client's request socket.
pub(super) fn client(number: u8) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::new(192, 168, 1, number), 50_000)
}

/// Another program on the same client.
pub(super) fn neighbour(client: SocketAddrV4) -> SocketAddrV4 {
    SocketAddrV4::new(*client.ip(), client.port() + 1)
}

pub(super) fn map(protocol: Protocol, internal_port: u16, suggested_external_port: u16, lifetime: u32) -> Request {
    Request::Map { protocol, internal_port, suggested_external_port, lifetime }
}

pub(super) fn internal(client: SocketAddrV4, port: u16) -> SocketAddrV4 {
    SocketAddrV4::new(*client.ip(), port)
}

pub(super) fn nat_mapping_of(from: SocketAddrV4, protocol: Protocol, port: u16, external_port: u16) -> NatMapping {
    NatMapping { protocol, internal: internal(from, port), external_port }
}

fn parts(request: &Request) -> (Protocol, u16, u32) {
    match *request {
        Request::Map { protocol, internal_port, lifetime, .. } => (protocol, internal_port, lifetime),
        Request::ExternalAddress => panic!("not about a mapping"),
    }
}
