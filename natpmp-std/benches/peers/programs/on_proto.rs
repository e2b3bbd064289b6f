//! The gateway is an argument: finding it is the adapters' work.

use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use natpmp_proto::{Client, Config, Event, Instant, MapRequest, Output, Protocol};

fn main() {
    let gateway = std::env::args().nth(1).expect("a gateway").parse().expect("an address");
    let mut client: Client<1> = Client::new(Config::new(gateway));
    let socket = UdpSocket::bind("0.0.0.0:0").expect("a socket");
    socket.connect(client.gateway()).expect("a route");
    let origin = std::time::Instant::now();
    let now = || Instant::ZERO + origin.elapsed();
    client.map(now(), &MapRequest::new(Protocol::Tcp, 8080)).expect("there is room");
    let mut buffer = [0; 1100];
    loop {
        let deadline = match client.poll(now()) {
            Output::Transmit(transmit) => {
                if socket.send(&transmit.payload).is_err() {
                    client.handle_network_down(now());
                }
                continue;
            }
            Output::Event(Event::Mapped(mapping)) => return println!("{}", mapping.external_port),
            Output::Event(_) => panic!("no mapping"),
            Output::Wait(deadline) => deadline,
        };
        let wait = deadline.map(|at| at.saturating_since(now()).max(Duration::from_millis(1)));
        socket.set_read_timeout(wait).expect("a wait");
        match socket.recv_from(&mut buffer) {
            Ok((length, SocketAddr::V4(from))) => drop(client.handle_datagram(now(), from, &buffer[..length])),
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => client.handle_unreachable(now()),
            _ => {}
        }
    }
}
