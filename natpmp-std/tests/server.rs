//! The gateway on real sockets, with a NAT that only takes notes.
#![cfg(feature = "server")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test that panics has failed, as it should"
)]

use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use natpmp_proto::wire::{Request, Response};
use natpmp_std::server::nat::Nat;
use natpmp_std::server::{
    Config, External, Internal, NatFailure, NatMapping, NatRequest, Server, ServerBuilder, ServerError, State,
    StateError, StoredMapping,
};
use natpmp_std::{Client, Ending, Error, Event, MapRequest, Protocol, Refusal, Schedule};

#[test]
fn a_client_gets_the_address_a_mapping_and_its_deletion() {
    let nat = Notes::default();
    let server = serve(&nat).build().unwrap();
    let client = client(&server);
    assert_eq!(client.external_address().unwrap(), OUTSIDE);
    let mapping = client.map(&MapRequest::new(Protocol::Udp, 4000).lifetime(60)).unwrap();
    assert_eq!((mapping.external_port, mapping.lifetime), (4000, 60));
    let standing = NatMapping { protocol: Protocol::Udp, internal: inside(4000), external_port: 4000 };
    assert_eq!(nat.standing(), [standing]);
    assert_eq!(server.mappings()[0].mapping, standing);
    assert_eq!(client.unmap(Protocol::Udp, 4000).unwrap(), Ending::Unmapped);
    assert_eq!(nat.standing(), []);
    for port in 5000..5010 {
        client.map(&MapRequest::new(Protocol::Tcp, port)).unwrap();
    }
    assert_eq!(nat.standing().len(), 10);
    client.unmap_all(Protocol::Tcp).unwrap();
    assert_eq!(nat.standing(), []);
}

/// G18: what the NAT does not take, the client does not get.
#[test]
fn a_nat_that_fails_is_told_to_the_client() {
    for (failure, refusal) in
        [(NatFailure::Network, Refusal::NetworkFailure), (NatFailure::Resources, Refusal::OutOfResources)]
    {
        let nat = Notes::default();
        let server = serve(&nat).build().unwrap();
        nat.0.lock().unwrap().failure = Some(failure);
        let result = client(&server).map(&MapRequest::new(Protocol::Udp, 4000));
        assert!(matches!(result, Err(Error::Refused { refusal: Some(told), .. }) if told == refusal), "{result:?}");
        assert!(server.mappings().is_empty());
    }
}

/// Otherwise the client would ask in vain until it gives up, and so would the next one.
#[test]
fn what_the_nat_says_nothing_of_or_panics_at_has_failed() {
    for is_panic in [false, true] {
        let nat = Notes::default();
        let server = serve(&nat).build().unwrap();
        let ask = |port| client(&server).map(&MapRequest::new(Protocol::Udp, port));
        ask(4000).unwrap();
        if is_panic {
            nat.0.lock().unwrap().is_to_panic = true;
        } else {
            nat.0.lock().unwrap().is_silent = true;
        }
        for port in 4001..4004 {
            let result = ask(port);
            let is_refused = matches!(result, Err(Error::Refused { refusal: Some(Refusal::NetworkFailure), .. }));
            assert!(is_refused, "{result:?}");
        }
        assert_eq!(client(&server).external_address().unwrap(), OUTSIDE);
        let open: Vec<u16> = server.mappings().iter().map(|open| open.mapping.external_port).collect();
        assert_eq!(open, [4000]);
    }
}

#[test]
fn a_slow_nat_does_not_delay_the_answers_to_others() {
    let nat = Notes::default();
    let server = serve(&nat).build().unwrap();
    nat.block();
    let waiting = client(&server);
    let mapped = std::thread::spawn(move || waiting.map(&MapRequest::new(Protocol::Udp, 4000)));
    nat.wait_blocked();
    // The NAT is at it, and the external address is told all the same.
    assert_eq!(client(&server).external_address().unwrap(), OUTSIDE);
    nat.unblock();
    assert_eq!(mapped.join().unwrap().unwrap().external_port, 4000);
}

/// Many programs of a host may share a socket, and none of them waits for another.
#[test]
fn one_socket_that_asks_for_many_mappings_at_once_is_answered_for_each() {
    let nat = Notes::default();
    let server = serve(&nat).build().unwrap();
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.connect(server.addresses()[0]).unwrap();
    socket.set_read_timeout(Some(SOON)).unwrap();
    let request = |port| Request::Map {
        protocol: Protocol::Udp,
        internal_port: port,
        suggested_external_port: port,
        lifetime: 60,
    };
    nat.block();
    for port in 4000..4010 {
        socket.send(&request(port).encode()).unwrap();
        nat.wait_blocked();
    }
    nat.unblock();
    let mut answered: Vec<u16> = (4000..4010)
        .map(|_| {
            let mut buffer = [0; 64];
            let length = socket.recv(&mut buffer).expect("an answer");
            match Response::decode(&buffer[..length]) {
                Ok(Response::Map { internal_port, .. }) => internal_port,
                other => panic!("{other:?}"),
            }
        })
        .collect();
    answered.sort_unstable();
    assert_eq!(answered, (4000..4010).collect::<Vec<_>>());
}

/// G19: after an end in order, the epoch and the mappings go on.
#[test]
fn a_restart_with_its_state_is_none_to_its_clients() {
    let directory = Directory::new("restart");
    let nat = Notes::default();
    let server = serve(&nat).state_file(directory.file("state")).build().unwrap();
    let address = server.addresses()[0];
    let client = client(&server);
    let mapping = client.map(&MapRequest::new(Protocol::Tcp, 4000).external_port(5000).lifetime(600)).unwrap();
    drop(server);
    assert_eq!(nat.standing(), [], "nothing stays open without a gateway");

    let server = serve(&nat).port(address.port()).state_file(directory.file("state")).build().unwrap();
    wait_until(|| !server.mappings().is_empty());
    let standing = NatMapping { protocol: Protocol::Tcp, internal: inside(4000), external_port: 5000 };
    assert_eq!(nat.standing(), [standing]);
    let left = server.mappings()[0].expires;
    assert!(left.is_some());
    let mut events = client.events();
    assert_eq!(client.refresh(&mapping).unwrap().external_port, 5000);
    assert!(matches!(events.next_timeout(SOON), Some(Event::Renewed(_))), "no restart was noticed");
}

/// G19: the last mappings before it may not be in the file, and this is how their clients learn that they have to ask.
#[test]
fn after_a_crash_the_leases_stand_and_the_epoch_begins_anew() {
    let directory = Directory::new("crash");
    let (path, nat) = (directory.file("state"), Notes::default());
    state_with_a_mapping().save(&path).unwrap();
    let server = serve(&nat).state_file(&path).build().unwrap();
    assert!(!State::load(&path).unwrap().unwrap().is_final, "it may be killed from now on");
    assert!(epoch(&server) >= 1_000, "the one before ended in order");
    client(&server).map(&MapRequest::new(Protocol::Udp, 4001)).unwrap();
    wait_until(|| State::load(&path).unwrap().unwrap().mappings.len() == 2);
    let crashed = State::load(&path).unwrap().unwrap();
    assert!(!crashed.is_final);
    drop(server);
    let ended = State::load(&path).unwrap().unwrap();
    assert!(ended.is_final && ended.epoch >= 1_000, "{ended:?}");

    crashed.save(&path).unwrap();
    let server = serve(&nat).state_file(&path).build().unwrap();
    assert!(epoch(&server) < 60);
    wait_until(|| nat.standing().len() == 2);
    drop(server);
    let ended = State::load(&path).unwrap().unwrap();
    assert!(ended.is_final && ended.epoch < 60, "{ended:?}");
    assert_eq!(ended.mappings.len(), 2);
}

/// G19: nothing was granted.
#[test]
fn a_start_that_fails_is_no_crash() {
    let directory = Directory::new("no-nat");
    let path = directory.file("state");
    state_with_a_mapping().save(&path).unwrap();
    let builder = Server::builder(|_| Err::<Notes, _>(std::io::Error::other("no NAT"))).port(0);
    let result = builder.internal(Internal::Address(INSIDE)).state_file(&path).build();
    assert!(matches!(result, Err(ServerError::Nat(_))), "{result:?}");
    assert_eq!(State::load(&path).unwrap(), Some(state_with_a_mapping()));
}

/// G19: what it was to take up then waits for the next start, unless it was to be forgotten.
#[test]
fn without_an_external_address_an_end_is_in_order_too() {
    let directory = Directory::new("no-address");
    let (path, nat) = (directory.file("state"), Notes::default());
    for is_cleared in [false, true] {
        state_with_a_mapping().save(&path).unwrap();
        let server = serve(&nat).external(External::Interface("none0".into())).state_file(&path).build().unwrap();
        if is_cleared {
            server.clear();
            wait_until(|| State::load(&path).unwrap().unwrap().mappings.is_empty());
        }
        drop(server);
        let ended = State::load(&path).unwrap().unwrap();
        assert!(ended.is_final, "{ended:?}");
        let expected = if is_cleared { Vec::new() } else { state_with_a_mapping().mappings };
        assert_eq!((ended.epoch >= 1_000, ended.mappings), (!is_cleared, expected));
    }
}

/// A gateway that is ended, or killed, before the NAT has what was in the state has lost nothing of it.
#[test]
fn what_the_nat_does_not_have_yet_stays_in_the_state() {
    let directory = Directory::new("early-end");
    let (path, nat) = (directory.file("state"), Notes::default());
    state_with_a_mapping().save(&path).unwrap();
    nat.block();
    let server = serve(&nat).state_file(&path).build().unwrap();
    nat.wait_blocked();
    std::fs::remove_file(&path).unwrap();
    let ending = std::thread::spawn(move || drop(server));
    wait_until(|| path.exists());
    let stored = State::load(&path).unwrap().unwrap();
    assert_eq!(stored.mappings, state_with_a_mapping().mappings);
    nat.unblock();
    ending.join().unwrap();
}

/// G16: its lease ended while there was no gateway.
#[test]
fn what_is_not_taken_up_again_leaves_the_state() {
    let directory = Directory::new("ended");
    let (path, nat) = (directory.file("state"), Notes::default());
    let mut state = state_with_a_mapping();
    let standing = state.mappings[0].mapping;
    let ended = NatMapping { external_port: 5001, internal: inside(4001), ..standing };
    state.mappings.push(StoredMapping { mapping: ended, expires_at: state.saved_at - 1 });
    state.save(&path).unwrap();
    let server = serve(&nat).state_file(&path).build().unwrap();
    wait_until(|| nat.standing() == [standing]);
    drop(server);
    let stored: Vec<_> = State::load(&path).unwrap().unwrap().mappings.iter().map(|stored| stored.mapping).collect();
    assert_eq!(stored, [standing]);
}

/// Else it would be there again at every start, for as long as its lease was.
#[test]
fn what_was_taken_up_and_is_deleted_leaves_the_state() {
    let directory = Directory::new("deleted");
    let (path, nat) = (directory.file("state"), Notes::default());
    state_with_a_mapping().save(&path).unwrap();
    let server = serve(&nat).state_file(&path).build().unwrap();
    wait_until(|| !server.mappings().is_empty() && !nat.standing().is_empty());
    assert_eq!(client(&server).unmap(Protocol::Tcp, 4000).unwrap(), Ending::Unmapped);
    drop(server);
    assert_eq!(State::load(&path).unwrap().unwrap().mappings, []);
}

#[test]
fn a_damaged_state_is_refused_and_kept_aside_and_the_next_start_goes_on_without() {
    let directory = Directory::new("damaged");
    std::fs::write(directory.file("state"), "natpmp gateway state 1\nsaved 17").unwrap();
    let nat = Notes::default();
    let result = serve(&nat).state_file(directory.file("state")).build();
    assert!(matches!(&result, Err(ServerError::State(StateError::Damaged { kept_as: Some(_), .. }))), "{result:?}");
    drop(result);
    assert!(directory.file("state.damaged").exists());
    assert!(serve(&nat).state_file(directory.file("state")).build().is_ok());
}

/// G06: announced from the internal address, with the right epoch.
#[test]
fn a_new_external_address_is_announced() {
    let ear = UdpSocket::bind((INSIDE, 0)).unwrap();
    let port = ear.local_addr().unwrap().port();
    let nat = Notes::default();
    let server = serve(&nat).announce_to(SocketAddrV4::new(INSIDE, port)).build().unwrap();
    let other = Ipv4Addr::new(127, 0, 0, 4);
    server.set_external_address(Some(other));
    ear.set_read_timeout(Some(SOON)).unwrap();
    let mut buffer = [0; 64];
    loop {
        let (length, from) = ear.recv_from(&mut buffer).unwrap();
        assert_eq!(from.to_string(), server.addresses()[0].to_string());
        let Ok(Response::ExternalAddress { address, .. }) = Response::decode(&buffer[..length]) else { panic!() };
        if address == other {
            return;
        }
    }
}

/// G11, G23: who sends from the external address is not served; nor is what cannot be answered.
#[test]
fn the_external_side_gets_no_answer() {
    let nat = Notes::default();
    let server = serve(&nat).build().unwrap();
    let outside = UdpSocket::bind((OUTSIDE, 0)).unwrap();
    outside.send_to(&Request::ExternalAddress.encode(), server.addresses()[0]).unwrap();
    let short = UdpSocket::bind((INSIDE, 0)).unwrap();
    short.send_to(&[0], server.addresses()[0]).unwrap();
    // What was sent before has been read when this is answered.
    assert_eq!(client(&server).external_address().unwrap(), OUTSIDE);
    let mut buffer = [0; 64];
    for socket in [outside, short] {
        socket.set_nonblocking(true).unwrap();
        assert_eq!(socket.recv(&mut buffer).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    }
}

/// G03: also one that is longer than any packet of NAT-PMP.
#[test]
fn an_unknown_request_comes_back_whole() {
    let nat = Notes::default();
    let server = serve(&nat).build().unwrap();
    let socket = UdpSocket::bind((INSIDE, 0)).unwrap();
    socket.set_read_timeout(Some(SOON)).unwrap();
    let mut request = [7; 1_000];
    request[0] = 0;
    socket.send_to(&request, server.addresses()[0]).unwrap();
    let mut buffer = [0; 2_000];
    let length = socket.recv(&mut buffer).unwrap();
    request[1..4].copy_from_slice(&[135, 0, 5]);
    assert_eq!(&buffer[..length], &request[..]);
}

#[test]
fn what_cannot_be_served_is_said_at_the_start() {
    let start = |internal: Option<Internal>| {
        let mut builder = Server::builder(|_| Ok(Notes::default())).port(0);
        if let Some(internal) = internal {
            builder = builder.internal(internal);
        }
        builder.build()
    };
    assert!(matches!(start(None), Err(ServerError::NoInternal)));
    let missing = start(Some(Internal::Interface("none0".into())));
    assert!(matches!(missing, Err(ServerError::NoAddress { .. })));
    let foreign = start(Some(Internal::Address(Ipv4Addr::new(192, 0, 2, 1))));
    assert!(matches!(foreign, Err(ServerError::NotLocal { .. })));
    let same = serve(&Notes::default()).external(External::Address(INSIDE)).build();
    assert!(matches!(same, Err(ServerError::SameSides)), "{same:?}");
    let lost = serve(&Notes::default()).state_file("/nonexistent/natpmp/state").build();
    assert!(matches!(lost, Err(ServerError::State(StateError::Io { .. }))), "{lost:?}");
    let server = serve(&Notes::default()).build().unwrap();
    let taken = serve(&Notes::default()).port(server.addresses()[0].port()).build();
    assert!(matches!(taken, Err(ServerError::Socket { .. })));
}

/// G16: and what the lease was for is closed.
#[test]
fn a_lease_that_ends_takes_its_mapping_with_it() {
    let nat = Notes::default();
    let server = serve(&nat).build().unwrap();
    client(&server).map(&MapRequest::new(Protocol::Udp, 4000).lifetime(1)).unwrap();
    assert_eq!(nat.standing().len(), 1);
    wait_until(|| nat.standing().is_empty());
    assert!(server.mappings().is_empty());
}

fn serve(nat: &Notes) -> ServerBuilder {
    let nat = nat.clone();
    Server::builder(move |_| Ok(nat))
        .internal(Internal::Address(INSIDE))
        .external(External::Address(OUTSIDE))
        .config(Config::new())
        .announce_to(SocketAddrV4::new(INSIDE, 9))
        .port(0)
}

fn client(server: &Server) -> Client {
    let builder = Client::builder().gateway(server.addresses()[0]).announcements(false);
    builder.schedule(Schedule::QUICK).build().unwrap()
}

fn epoch(server: &Server) -> u32 {
    let socket = UdpSocket::bind((INSIDE, 0)).unwrap();
    socket.set_read_timeout(Some(SOON)).unwrap();
    socket.send_to(&Request::ExternalAddress.encode(), server.addresses()[0]).unwrap();
    let mut buffer = [0; 64];
    let length = socket.recv(&mut buffer).expect("an answer");
    Response::decode(&buffer[..length]).unwrap().epoch().unwrap()
}

fn inside(port: u16) -> SocketAddrV4 {
    SocketAddrV4::new(INSIDE, port)
}

fn wait_until(condition: impl Fn() -> bool) {
    let deadline = Instant::now() + SOON;
    while !condition() {
        assert!(Instant::now() < deadline, "not within {SOON:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Of a gateway that has had it for some while.
fn state_with_a_mapping() -> State {
    let saved_at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let mapping = NatMapping { protocol: Protocol::Tcp, internal: inside(4000), external_port: 5000 };
    // The day after tomorrow, so that no test is at the edge of it.
    let stored = StoredMapping { mapping, expires_at: saved_at / DAY * DAY + 2 * DAY };
    State { saved_at, epoch: 1_000, is_final: true, mappings: vec![stored] }
}

/// A NAT that takes notes.
#[derive(Clone, Default)]
struct Notes(Arc<Mutex<Noted>>, Arc<Condvar>);

#[derive(Default)]
struct Noted {
    standing: Vec<NatMapping>,
    failure: Option<NatFailure>,
    is_to_panic: bool,
    is_silent: bool,
    is_to_block: bool,
    is_blocked: bool,
}

impl Notes {
    fn standing(&self) -> Vec<NatMapping> {
        self.0.lock().unwrap().standing.clone()
    }

    fn block(&self) {
        self.0.lock().unwrap().is_to_block = true;
    }

    fn unblock(&self) {
        self.0.lock().unwrap().is_to_block = false;
        self.1.notify_all();
    }

    fn wait_blocked(&self) {
        wait_until(|| self.0.lock().unwrap().is_blocked);
    }
}

impl Nat for Notes {
    fn apply(&mut self, requests: &[NatRequest]) -> Vec<Result<(), NatFailure>> {
        let mut noted = self.0.lock().unwrap();
        if noted.is_to_panic {
            // Others look at the notes afterwards.
            drop(noted);
            panic!("as it was told");
        }
        if noted.is_silent {
            return Vec::new();
        }
        while noted.is_to_block && !requests.is_empty() {
            noted.is_blocked = true;
            noted = self.1.wait(noted).unwrap();
        }
        let mut apply = |request: &NatRequest| {
            noted.standing.retain(|mapping| mapping != request.mapping());
            match (request, noted.failure) {
                (NatRequest::Install(_), Some(failure)) => return Err(failure),
                (NatRequest::Install(mapping), None) => noted.standing.push(*mapping),
                (NatRequest::Remove(_), _) => {}
            }
            Ok(())
        };
        requests.iter().map(&mut apply).collect()
    }

    fn set_external_address(&mut self, _address: Option<Ipv4Addr>) {}

    fn end(&mut self) {
        self.0.lock().unwrap().standing.clear();
    }
}

/// A directory that goes with the test.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("natpmp-server-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

const INSIDE: Ipv4Addr = Ipv4Addr::LOCALHOST;
const OUTSIDE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const SOON: Duration = Duration::from_secs(10);
/// In seconds.
const DAY: u64 = 86_400;
