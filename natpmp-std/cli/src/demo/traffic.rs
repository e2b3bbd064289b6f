//! The bytes that go through the mappings of the demonstration: services that send back what they receive, and somebody outside who asks them.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::thread;
use std::time::Duration;

use natpmp_std::Protocol;

/// The services, one for each protocol. They run until the program ends.
pub(super) struct Services {
    udp_port: u16,
    tcp_port: u16,
}

impl Services {
    pub(super) fn start(address: Ipv4Addr) -> io::Result<Self> {
        let udp = UdpSocket::bind((address, 0))?;
        let tcp = TcpListener::bind((address, 0))?;
        let services = Self { udp_port: udp.local_addr()?.port(), tcp_port: tcp.local_addr()?.port() };
        thread::spawn(move || echo_udp(&udp));
        thread::spawn(move || {
            for stream in tcp.incoming().map_while(Result::ok) {
                thread::spawn(move || echo_tcp(stream));
            }
        });
        Ok(services)
    }

    pub(super) fn ports(&self) -> [(Protocol, u16); 2] {
        [(Protocol::Tcp, self.tcp_port), (Protocol::Udp, self.udp_port)]
    }
}

/// Sends a greeting from outside and returns the answer.
pub(super) fn ask(protocol: Protocol, target: SocketAddrV4) -> io::Result<String> {
    match protocol {
        Protocol::Udp => ask_udp(target),
        Protocol::Tcp => ask_tcp(target),
    }
}

fn ask_udp(target: SocketAddrV4) -> io::Result<String> {
    let socket = UdpSocket::bind((PEER, 0))?;
    socket.connect(target)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.send(GREETING.as_bytes())?;
    let mut buffer = [0; 64];
    let length = socket.recv(&mut buffer)?;
    Ok(String::from_utf8_lossy(buffer.get(..length).unwrap_or_default()).into_owned())
}

fn ask_tcp(target: SocketAddrV4) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&target.into(), PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(GREETING.as_bytes())?;
    let mut answer = [0; GREETING.len()];
    stream.read_exact(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

fn echo_udp(socket: &UdpSocket) {
    let mut buffer = [0; 1_500];
    // A peer that is gone shows as an error, and is no reason to end.
    loop {
        if let Ok((length, from)) = socket.recv_from(&mut buffer) {
            let _ = socket.send_to(buffer.get(..length).unwrap_or_default(), from);
        }
    }
}

fn echo_tcp(mut stream: TcpStream) -> io::Result<()> {
    let mut buffer = [0; 1_500];
    loop {
        match stream.read(&mut buffer)? {
            0 => return Ok(()),
            length => stream.write_all(buffer.get(..length).unwrap_or_default())?,
        }
    }
}

pub(super) const GREETING: &str = "hello from outside";
const PEER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);
const PATIENCE: Duration = Duration::from_secs(2);
