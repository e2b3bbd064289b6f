//! A client that keeps as many mappings as it has slots, and the steps that it takes.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use natpmp_proto::client::{Event, Received};
use natpmp_proto::wire::{Request, Response};
use natpmp_proto::{Client, Config, Instant, MapRequest, Output, Protocol, Transmit};

pub(crate) const SLOTS: [usize; 4] = [1, 16, 256, 1_024];

/// All of its mappings are open; the renewals of no two are due at one time.
pub(crate) struct Keeper<const N: usize> {
    client: Box<Client<N>>,
    now: Instant,
    sent: Option<Transmit>,
    turns: u64,
}

impl<const N: usize> Keeper<N> {
    pub(crate) fn new() -> Self {
        let mut new = Self {
            client: Box::new(Client::new(Config::for_gateway(GATEWAY))),
            now: Instant::from_secs(1),
            sent: None,
            turns: 0,
        };
        for number in 0..N {
            // In an order that has nothing to do with that of the slots.
            let lifetime = 3_600 + (number * 7_919 % 10_007) as u32;
            let request = MapRequest::new(Protocol::Udp, LOWEST + number as u16).lifetime(lifetime);
            new.client.keep(new.now, &request).unwrap();
        }
        loop {
            match new.poll() {
                Output::Transmit(transmit) => new.receive(&answer(new.now, &transmit)),
                Output::Event(event) => assert!(matches!(event, Event::Mapped(_))),
                Output::Wait(_) => break,
            }
        }
        assert_eq!(new.client.mappings().count(), N);
        new
    }

    /// Lets time come to the next renewal.
    pub(crate) fn come_to_renewal(&mut self) {
        self.now = self.client.poll_timeout().unwrap();
    }

    /// With nothing to do this is one look for when there will be.
    pub(crate) fn poll(&mut self) -> Output {
        self.client.poll(self.now)
    }

    /// The timer has fired: the request that is due.
    pub(crate) fn send(&mut self) {
        let Output::Transmit(transmit) = self.poll() else { panic!("a renewal is due") };
        self.sent = Some(transmit);
    }

    /// The answer to what was sent, if anything was.
    pub(crate) fn answer(&mut self) -> Option<Vec<u8>> {
        self.sent.take().map(|sent| answer(self.now, &sent))
    }

    /// The answer comes: takes it, tells of it, and looks for what is next.
    pub(crate) fn take(&mut self, answer: &[u8]) -> Output {
        self.receive(answer);
        assert!(matches!(self.poll(), Output::Event(Event::Renewed(_))), "no two are due at one time");
        self.poll()
    }

    /// One that answers nothing is dropped.
    pub(crate) fn drop(&mut self, datagram: &[u8]) {
        assert!(self.client.handle_datagram(self.now, GATEWAY, datagram).is_err());
    }

    fn receive(&mut self, answer: &[u8]) {
        // So that no two renewals come to be due at one time.
        self.turns = (self.turns + 1) % 997;
        self.now = self.now + Duration::from_micros(self.turns);
        assert_eq!(self.client.handle_datagram(self.now, GATEWAY, answer), Ok(Received::Answer));
    }
}

/// Of a gateway that grants everything.
fn answer(now: Instant, transmit: &Transmit) -> Vec<u8> {
    let epoch = now.saturating_since(Instant::ZERO).as_secs() as u32;
    let Ok(Request::Map { protocol, internal_port, lifetime, .. }) = Request::decode(&transmit.payload) else {
        panic!("a mapping is asked for")
    };
    Response::Map { protocol, epoch, internal_port, external_port: internal_port, lifetime }.encode().to_vec()
}

const GATEWAY: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(192, 168, 1, 1), 5_351);
const LOWEST: u16 = 1_024;
