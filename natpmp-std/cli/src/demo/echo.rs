//! The services that the demonstration makes reachable: what they receive they send back.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::thread;

use natpmp_std::Protocol;

pub(super) struct Echo {
    udp_port: u16,
    tcp_port: u16,
}

/// They run until the program ends.
pub(super) fn start(address: Ipv4Addr) -> io::Result<Echo> {
    let udp = UdpSocket::bind((address, 0))?;
    let tcp = TcpListener::bind((address, 0))?;
    let echo = Echo { udp_port: udp.local_addr()?.port(), tcp_port: tcp.local_addr()?.port() };
    thread::spawn(move || serve_udp(&udp));
    thread::spawn(move || {
        for stream in tcp.incoming().map_while(Result::ok) {
            thread::spawn(move || serve_tcp(stream));
        }
    });
    Ok(echo)
}

impl Echo {
    pub(super) fn services(&self) -> [(Protocol, u16); 2] {
        [(Protocol::Tcp, self.tcp_port), (Protocol::Udp, self.udp_port)]
    }
}

fn serve_udp(socket: &UdpSocket) {
    let mut buffer = [0; 1_500];
    // A peer that is gone shows as an error, and is no reason to end.
    loop {
        if let Ok((length, from)) = socket.recv_from(&mut buffer) {
            let _ = socket.send_to(buffer.get(..length).unwrap_or_default(), from);
        }
    }
}

fn serve_tcp(mut stream: TcpStream) -> io::Result<()> {
    let mut buffer = [0; 1_500];
    loop {
        match stream.read(&mut buffer)? {
            0 => return Ok(()),
            length => stream.write_all(buffer.get(..length).unwrap_or_default())?,
        }
    }
}
