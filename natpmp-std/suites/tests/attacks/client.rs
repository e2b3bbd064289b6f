//! Against a client: what an attacker has to guess, and what it cannot send.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use natpmp_proto::Schedule;
use natpmp_proto::wire::{Request, Response};
use natpmp_suites::{Adapter, ClientSetup, ClientUnderTest, on_each_adapter};
use natpmp_testkit::waiting::{SOON, begin, eventually};

on_each_adapter!(each_client_asks_from_a_random_port, the_socket_of_a_request_hears_the_gateway_only);

/// Linux draws it from `ip_local_port_range`, 28,232 ports by default.
fn each_client_asks_from_a_random_port<A: Adapter>() {
    let (gateway, ports) = gateway();
    let mut drawn: Vec<u16> = Vec::new();
    for _ in 0..CLIENTS {
        client::<A>(gateway).external_address().unwrap();
        drawn.push(ports.recv_timeout(SOON).unwrap());
    }
    let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap();
    let range: Vec<u16> = range.split_whitespace().map(|port| port.parse().unwrap()).collect();
    let (low, high) = (range[0], range[1]);
    assert!(drawn.iter().all(|port| (low..=high).contains(port)), "{drawn:?}");
    let different: BTreeSet<_> = drawn.iter().collect();
    assert!(different.len() > CLIENTS * 9 / 10, "{drawn:?}");
    // As many above the middle as below, and the next is above or below the one before as it happens.
    let middle = low + (high - low) / 2;
    let above = drawn.iter().filter(|port| **port > middle).count();
    let rising = drawn.windows(2).filter(|pair| pair[0] < pair[1]).count();
    for count in [above, rising] {
        assert!((CLIENTS / 4..CLIENTS * 3 / 4).contains(&count), "{count} of {CLIENTS}: {drawn:?}");
    }
}

/// The kernel passes on what comes from the gateway's address and port, and nothing else.
fn the_socket_of_a_request_hears_the_gateway_only<A: Adapter>() {
    let silent = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    silent.set_read_timeout(Some(SOON)).unwrap();
    let SocketAddr::V4(gateway) = silent.local_addr().unwrap() else { panic!("IPv4") };
    let client = client::<A>(gateway);
    let asking = begin(move || client.external_address());
    let (_, port) = silent.recv_from(&mut [0; 64]).unwrap();
    let answer = |address| Response::ExternalAddress { epoch: 1, address }.encode();
    for other in [(Ipv4Addr::LOCALHOST, 0), (Ipv4Addr::new(127, 0, 0, 2), gateway.port())] {
        let forger = UdpSocket::bind(other).unwrap();
        forger.connect(port).unwrap();
        forger.send(&answer([6, 6, 6, 6].into())).unwrap();
        // Nobody is there, for this one: that the port is connected is known at once.
        eventually("the kernel turns it away", || {
            forger.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
            forger.recv(&mut [0; 64]).is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionRefused)
        });
    }
    silent.send_to(&answer([11, 22, 33, 44].into()), port).unwrap();
    assert_eq!(asking.recv_timeout(SOON).unwrap().unwrap(), Ipv4Addr::new(11, 22, 33, 44));
}

fn client<A: Adapter>(gateway: SocketAddrV4) -> A::Client {
    let setup = ClientSetup { gateway: Some(gateway), schedule: Some(Schedule::QUICK), ..ClientSetup::default() };
    A::Client::start(&setup).unwrap()
}

/// One that answers, and tells from which ports it was asked.
fn gateway() -> (SocketAddrV4, Receiver<u16>) {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let SocketAddr::V4(address) = socket.local_addr().unwrap() else { panic!("IPv4") };
    let (sender, ports) = mpsc::channel();
    std::thread::spawn(move || {
        let mut buffer = [0; 64];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            if Request::decode(&buffer[..length]) == Ok(Request::ExternalAddress) {
                let answer = Response::ExternalAddress { epoch: 1, address: [11, 22, 33, 44].into() };
                let _ = socket.send_to(&answer.encode(), from);
            }
            if sender.send(from.port()).is_err() {
                break;
            }
        }
    });
    (address, ports)
}

const CLIENTS: usize = 100;
