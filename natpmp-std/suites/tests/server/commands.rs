//! What the program that owns a server asks of it.

use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::time::{Duration, Instant};

use natpmp_proto::gateway;
use natpmp_proto::wire::{Request, Response};
use natpmp_std::server::{External, Internal};
use natpmp_suites::{Adapter, ServerSetup, ServerUnderTest, on_each_adapter};
use natpmp_testkit::waiting::{SOON, eventually};

use super::notes::Notes;
use super::{Asker, INSIDE, serve, setup, start};

on_each_adapter!(
    commands_of_the_server_reach_the_clients,
    every_request_every_outcome_of_the_nat_and_every_command_is_seen_to_at_once,
    a_new_external_address_is_announced,
    #[cfg(target_os = "linux")]
    an_internal_interface_that_is_made_anew_is_heard_again,
);

fn commands_of_the_server_reach_the_clients<A: Adapter>() {
    let nat = Notes::default();
    let server = serve::<A>(&nat);
    let asker = Asker::new(&server);
    asker.map(4_000);
    let other = Ipv4Addr::new(127, 0, 0, 4);
    server.set_external_address(Some(other));
    assert_eq!(asker.external_address().1, other);
    assert_eq!(server.external_address(), Some(other));
    server.clear();
    eventually("what was mapped is closed", || nat.standing().is_empty());
    server.allow_mapping(false);
    asker.send_map(4_001);
    let answer = asker.receive_bytes();
    assert_eq!(answer[3], 2, "not authorized: {answer:02x?}");
}

/// Each of them wakes the server: the announcements, whose time comes now and then, would not do for all.
fn every_request_every_outcome_of_the_nat_and_every_command_is_seen_to_at_once<A: Adapter>() {
    let nat = Notes::default();
    let server = start::<A>(ServerSetup { config: Some(gateway::Config::new().per_client(200)), ..setup(&nat) });
    let asker = Asker::new(&server);
    let began = Instant::now();
    for round in 0..100 {
        let address = Ipv4Addr::new(127, 0, 1, round);
        server.set_external_address(Some(address));
        eventually("the address is taken", || server.external_address() == Some(address));
        assert_eq!(asker.external_address().1, address);
        asker.map(4_000 + u16::from(round));
    }
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
}

/// G06: announced from the internal address, with the right epoch.
fn a_new_external_address_is_announced<A: Adapter>() {
    let ear = UdpSocket::bind((INSIDE, 0)).unwrap();
    let port = ear.local_addr().unwrap().port();
    let nat = Notes::default();
    let announce_to = Some(SocketAddrV4::new(INSIDE, port));
    let server = start::<A>(ServerSetup { announce_to, ..setup(&nat) });
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

/// The server waits for the new socket as it did for the old one.
#[cfg(target_os = "linux")]
fn an_internal_interface_that_is_made_anew_is_heard_again<A: Adapter>() {
    let Some(lab) = natpmp_lab::Lab::or_skip() else { return };
    let router = lab.router().host();
    let is_answered = || {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        let _ = socket.send_to(&Request::ExternalAddress.encode(), natpmp_lab::GATEWAY);
        socket.recv(&mut [0; 64]).is_ok()
    };
    let is_answered = || lab.client().within(is_answered);
    // A socket is opened by the thread that serves, which is of this network too.
    let server = router.within(|| {
        A::Server::start(ServerSetup {
            internal: Some(Internal::Interface("lan0".into())),
            external: Some(External::Interface("wan0".into())),
            port: None,
            ..ServerSetup::new(Notes::default())
        })
        .unwrap()
    });
    eventually("it is heard", is_answered);
    router.ip(&["link", "delete", "lan0"]);
    router.ip(&["link", "add", "lan0", "type", "bridge", "stp_state", "0", "forward_delay", "0"]);
    router.ip(&["link", "set", "port0", "master", "lan0"]);
    router.ip(&["link", "set", "lan0", "up"]);
    router.ip(&["address", "add", "192.168.1.1/24", "dev", "lan0"]);
    eventually("it is heard again", is_answered);
    drop(server);
}
