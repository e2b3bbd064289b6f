//! How a server behaves, on the loopback interface, with a NAT that only takes notes.

mod answering;
mod commands;
mod failing;
mod notes;
mod starting;
mod state;

use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::time::{Duration, Instant};

use natpmp_proto::wire::{Request, Response};
use natpmp_proto::{Protocol, Schedule};
use natpmp_std::server::{External, Internal};
use natpmp_suites::{Adapter, ClientSetup, ClientUnderTest, ServerSetup, ServerUnderTest};
use natpmp_testkit::waiting::SOON;

use notes::Notes;

/// Of a server between two addresses of this host.
fn setup(nat: &Notes) -> ServerSetup<Notes> {
    ServerSetup {
        internal: Some(Internal::Address(INSIDE)),
        external: Some(External::Address(OUTSIDE)),
        // Nobody is there.
        announce_to: Some(SocketAddrV4::new(INSIDE, 9)),
        ..ServerSetup::new(nat.clone())
    }
}

fn start<A: Adapter>(setup: ServerSetup<Notes>) -> A::Server {
    A::Server::start(setup).unwrap()
}

fn serve<A: Adapter>(nat: &Notes) -> A::Server {
    start::<A>(setup(nat))
}

fn client<A: Adapter>(server: &A::Server) -> A::Client {
    let schedule = Some(Schedule::QUICK);
    A::Client::start(&ClientSetup { gateway: Some(server.addresses()[0]), schedule, ..ClientSetup::default() }).unwrap()
}

/// A client that asks once.
struct Asker(UdpSocket);

impl Asker {
    fn new(server: &impl ServerUnderTest) -> Self {
        let socket = UdpSocket::bind((INSIDE, 0)).unwrap();
        socket.connect(server.addresses()[0]).unwrap();
        socket.set_read_timeout(Some(SOON)).unwrap();
        Self(socket)
    }

    fn send(&self, packet: &[u8]) {
        self.0.send(packet).unwrap();
    }

    fn send_map(&self, internal_port: u16) {
        let protocol = Protocol::Udp;
        let request = Request::Map { protocol, internal_port, suggested_external_port: internal_port, lifetime: 600 };
        self.send(&request.encode());
    }

    /// The next answer, from whoever else asks by this socket too.
    fn receive(&self) -> Response {
        Response::decode(&self.receive_bytes()).unwrap()
    }

    fn receive_bytes(&self) -> Vec<u8> {
        let mut buffer = [0; 64];
        let length = self.0.recv(&mut buffer).expect("an answer");
        buffer[..length].to_vec()
    }

    fn external_address(&self) -> (u32, Ipv4Addr) {
        self.send(&Request::ExternalAddress.encode());
        match self.receive() {
            Response::ExternalAddress { epoch, address } => (epoch, address),
            other => panic!("{other:?}"),
        }
    }

    /// The external port.
    fn map(&self, internal_port: u16) -> u16 {
        self.send_map(internal_port);
        match self.receive() {
            Response::Map { external_port, .. } => external_port,
            other => panic!("{other:?}"),
        }
    }

    /// The next answer that `is_answer` takes, if one comes within a while.
    fn receive_soon(&self, is_answer: impl Fn(&Response) -> bool) -> bool {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            self.0.set_read_timeout(Some(left.max(Duration::from_millis(1)))).unwrap();
            let mut buffer = [0; 64];
            match self.0.recv(&mut buffer) {
                Ok(length) if Response::decode(&buffer[..length]).is_ok_and(|answer| is_answer(&answer)) => {
                    return true;
                }
                Ok(_) => {}
                Err(_) => return false,
            }
        }
    }
}

fn inside(port: u16) -> SocketAddrV4 {
    SocketAddrV4::new(INSIDE, port)
}

const INSIDE: Ipv4Addr = Ipv4Addr::LOCALHOST;
const OUTSIDE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
/// Until a client asks again: the system drops what the server's socket has no room for.
const PATIENCE: Duration = Duration::from_millis(250);
