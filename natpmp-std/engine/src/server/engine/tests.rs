//! The engine on sockets made of memory, a turn at a time.

use std::collections::{HashMap, VecDeque};
use std::net::{SocketAddr, SocketAddrV4};
use std::sync::{Mutex, MutexGuard};

use natpmp_nat::Nat;
use natpmp_proto::Protocol;
use natpmp_proto::gateway::{NatFailure, NatRequest};
use natpmp_proto::wire::{Encoded, Request};

use super::*;
use crate::server::Internal;

#[test]
fn a_flood_at_one_address_keeps_nobody_at_another_from_an_answer() {
    let mut served = Served::start(&[FIRST, SECOND]);
    for (flooded, other) in [(FIRST, SECOND), (SECOND, FIRST)] {
        let mut wire = served.wire.lock();
        wire.sent.clear();
        wire.inbox(flooded).extend(vec![Request::ExternalAddress.encode(); 1_000]);
        wire.inbox(other).push_back(Request::ExternalAddress.encode());
        drop(wire);
        assert_eq!(served.engine.turn(), Turn::Yield);
        let mut wire = served.wire.lock();
        assert_eq!(wire.answers_from(other).len(), 1);
        assert_eq!(wire.answers_from(flooded).len(), STEPS_IN_A_TURN * INPUTS_IN_A_STEP - 1, "and then others come");
        wire.inbox(flooded).clear();
    }
}

#[test]
fn a_command_counts_for_a_request_that_comes_after_it() {
    let mut served = Served::start(&[FIRST]);
    for (is_allowed, result) in [(false, 2), (true, 0), (false, 2)] {
        served.handle().allow_mapping(is_allowed);
        served.wire.lock().inbox(FIRST).push_back(map_request(4_000));
        served.until(|wire| wire.answers_from(FIRST).len() == 1);
        assert_eq!(served.wire.lock().answers_from(FIRST)[0][3], result);
        served.wire.lock().sent.clear();
    }
}

#[test]
fn the_requests_of_a_step_are_one_call_of_the_nat() {
    let mut served = Served::start(&[FIRST]);
    served.until(|wire| wire.calls == [0]);
    // The thread of the NAT waits for the next request by now.
    thread::sleep(Duration::from_millis(50));
    served.wire.lock().inbox(FIRST).extend((0..20).map(|number| map_request(4_000 + number)));
    served.until(|wire| wire.answers_from(FIRST).len() == 20);
    assert_eq!(served.wire.lock().calls, [0, 20]);
}

#[test]
fn without_its_handle_it_answers_what_has_come_and_ends_when_the_nat_is_down() {
    let mut served = Served::start(&[FIRST]);
    let mut events = served.handle().events();
    served.wire.lock().inbox(FIRST).push_back(map_request(4_000));
    served.until(|wire| wire.answers_from(FIRST).len() == 1);
    assert!(matches!(events.try_next(), Some(Event::Opened(_))));
    let refused = Request::Map { protocol: Protocol::Udp, internal_port: 0, suggested_external_port: 0, lifetime: 60 };
    served.wire.lock().inbox(FIRST).push_back(refused.encode());
    served.handle = None;
    let mut turn = served.engine.turn();
    assert_eq!(served.wire.lock().answers_from(FIRST).len(), 2, "it came before");
    assert!(matches!(events.try_next(), Some(Event::Refused { .. })), "and is told");
    assert_eq!(served.engine.sockets().count(), 0);
    while turn != Turn::End {
        assert_eq!(turn, Turn::Wait(None));
        thread::sleep(Duration::from_millis(1));
        turn = served.engine.turn();
    }
    assert!(served.wire.lock().has_ended);
    drop(served);
    assert_eq!(events.wait_next(None), None);
}

#[test]
fn when_its_adapter_cannot_wait_it_ends_as_without_its_handle() {
    let mut served = Served::start(&[FIRST]);
    served.wire.lock().inbox(FIRST).push_back(map_request(4_000));
    served.until(|wire| wire.answers_from(FIRST).len() == 1);
    served.engine.give_up(&io::Error::other("no more"));
    while served.engine.turn() != Turn::End {
        thread::sleep(Duration::from_millis(1));
    }
    assert!(served.wire.lock().has_ended);
    assert_eq!(served.handle().external_address(), Some(EXTERNAL), "until the engine is gone");
    assert_eq!(served.handle().mappings().len(), 1);
    drop(served.engine);
    let handle = served.handle.unwrap();
    handle.clear();
    assert_eq!((handle.external_address(), handle.mappings()), (None, Vec::new()));
}

/// An engine, its handle, and both ends of what it sends and receives.
struct Served {
    engine: ServerEngine<Memory>,
    handle: Option<ServerHandle>,
    wire: Wire,
}

impl Served {
    fn start(addresses: &[Ipv4Addr]) -> Self {
        let wire = Wire::default();
        let options = ServerOptions {
            internal: addresses.iter().copied().map(Internal::Address).collect(),
            external: External::Address(EXTERNAL),
            port: 0,
            announce_to: ANNOUNCE_TO,
            requests_per_second: None,
            ..ServerOptions::default()
        };
        let (sockets, nat) = (wire.clone(), Yes(wire.clone()));
        let register = move |socket: UdpSocket| {
            let SocketAddr::V4(address) = socket.local_addr()? else { panic!("not IPv4") };
            Ok(Memory { address: *address.ip(), wire: sockets.clone() })
        };
        let (engine, handle) = ServerEngine::start(options, Box::new(|_| Ok(Box::new(nat))), register).unwrap();
        Self { engine, handle: Some(handle), wire }
    }

    fn handle(&self) -> &ServerHandle {
        self.handle.as_ref().unwrap()
    }

    /// Gives the engine its turns until that holds.
    fn until(&mut self, condition: impl Fn(&Recorded) -> bool) {
        for _ in 0..5_000 {
            let _ = self.engine.turn();
            if condition(&self.wire.lock()) {
                return;
            }
            thread::sleep(Duration::from_millis(1));
        }
        panic!("{:?}", self.wire.lock());
    }
}

fn map_request(port: u16) -> Encoded {
    let protocol = Protocol::Udp;
    Request::Map { protocol, internal_port: port, suggested_external_port: port, lifetime: 60 }.encode()
}

#[derive(Clone, Default)]
struct Wire(Arc<Mutex<Recorded>>);

impl Wire {
    fn lock(&self) -> MutexGuard<'_, Recorded> {
        self.0.lock().unwrap()
    }
}

/// What comes in, what went out, and what the NAT was asked for.
#[derive(Debug, Default)]
struct Recorded {
    inbox: HashMap<Ipv4Addr, VecDeque<Encoded>>,
    sent: Vec<(Ipv4Addr, Vec<u8>)>,
    /// The number of requests in each call.
    calls: Vec<usize>,
    has_ended: bool,
}

impl Recorded {
    fn inbox(&mut self, address: Ipv4Addr) -> &mut VecDeque<Encoded> {
        self.inbox.entry(address).or_default()
    }

    fn answers_from(&self, address: Ipv4Addr) -> Vec<Vec<u8>> {
        self.sent.iter().filter(|(from, _)| *from == address).map(|(_, packet)| packet.clone()).collect()
    }
}

struct Memory {
    address: Ipv4Addr,
    wire: Wire,
}

impl DatagramSocket for Memory {
    fn send(&self, payload: &[u8]) -> io::Result<usize> {
        Ok(payload.len())
    }

    fn receive(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let request = self.wire.lock().inbox(self.address).pop_front().ok_or(io::ErrorKind::WouldBlock)?;
        buffer[..request.len()].copy_from_slice(&request);
        Ok((request.len(), CLIENT.into()))
    }

    fn send_to(&self, payload: &[u8], to: SocketAddrV4) -> io::Result<usize> {
        if to == CLIENT {
            self.wire.lock().sent.push((self.address, payload.to_vec()));
        }
        Ok(payload.len())
    }
}

struct Yes(Wire);

impl Nat for Yes {
    fn apply(&mut self, requests: &[NatRequest]) -> Vec<Result<(), NatFailure>> {
        self.0.lock().calls.push(requests.len());
        vec![Ok(()); requests.len()]
    }

    fn set_external_address(&mut self, _: Option<Ipv4Addr>) {}

    fn end(&mut self) {
        self.0.lock().has_ended = true;
    }
}

const FIRST: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 1);
const SECOND: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const CLIENT: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 50_000);
const ANNOUNCE_TO: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 9);
const EXTERNAL: Ipv4Addr = Ipv4Addr::new(11, 22, 33, 44);
