//! Somebody on the outside, who knows an address and a port and nothing else.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream, UdpSocket};
use std::time::Duration;

use natpmp_std::Protocol;

/// Sends a greeting and returns the answer.
pub(super) fn ask(protocol: Protocol, target: SocketAddrV4) -> io::Result<String> {
    match protocol {
        Protocol::Udp => ask_udp(target),
        Protocol::Tcp => ask_tcp(target),
    }
}

fn ask_udp(target: SocketAddrV4) -> io::Result<String> {
    let socket = UdpSocket::bind((SOMEBODY, 0))?;
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

pub(super) const GREETING: &str = "hello from outside";
const SOMEBODY: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);
const PATIENCE: Duration = Duration::from_secs(2);
