//! Sockets on the hosts of the lab.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream, UdpSocket};

use natpmp_lab::Host;
use socket2::{Domain, Socket, Type};

use super::{SOON, v4};

pub(super) fn udp(host: &Host, port: u16) -> UdpSocket {
    let socket = host.within(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)).unwrap());
    socket.set_read_timeout(Some(SOON)).unwrap();
    socket
}

pub(super) fn listener(host: &Host, port: u16) -> TcpListener {
    host.within(|| TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).unwrap())
}

/// A connection from this port of this host; 0 is any.
pub(super) fn connect(host: &Host, port: u16, to: SocketAddrV4) -> std::io::Result<TcpStream> {
    host.within(|| {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        socket.bind(&SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port).into())?;
        socket.connect_timeout(&to.into(), SOON)?;
        Ok(with_patience(socket.into()))
    })
}

/// The next connection, and from where it seems to come.
pub(super) fn accept(listener: &TcpListener) -> (TcpStream, SocketAddrV4) {
    let (stream, from) = listener.accept().unwrap();
    (with_patience(stream), v4(from))
}

/// Who seems to have sent what comes next.
#[track_caller]
pub(super) fn receive(socket: &UdpSocket, expected: &[u8]) -> SocketAddrV4 {
    let mut buffer = [0; 64];
    let (length, from) = socket.recv_from(&mut buffer).expect("a datagram");
    assert_eq!(&buffer[..length], expected);
    v4(from)
}

/// A question through there, and its answer back to who asked.
#[track_caller]
pub(super) fn exchange(asking: &UdpSocket, there: SocketAddrV4, answering: &UdpSocket) -> SocketAddrV4 {
    asking.send_to(b"?", there).unwrap();
    let from = receive(answering, b"?");
    answering.send_to(b"!", from).unwrap();
    assert_eq!(receive(asking, b"!"), there);
    from
}

/// Bytes in both directions.
#[track_caller]
pub(super) fn talk(one: &mut TcpStream, other: &mut TcpStream) {
    for _ in 0..2 {
        one.write_all(b"?").unwrap();
        other.read_exact(&mut [0; 1]).unwrap();
        other.write_all(b"!").unwrap();
        one.read_exact(&mut [0; 1]).unwrap();
    }
}

/// Whether it is reset when it has something to say, or was already: an acknowledgement says something too.
pub(super) fn is_reset_when_it_speaks(stream: &mut TcpStream) -> bool {
    let is_reset = |kind| kind == ErrorKind::ConnectionReset;
    match stream.write_all(b"?") {
        Ok(()) => stream.read(&mut [0; 1]).is_err_and(|error| is_reset(error.kind())),
        Err(error) => is_reset(error.kind()),
    }
}

/// Whether nobody listens there, and the sender is told.
pub(super) fn is_refused(host: &Host, there: SocketAddrV4) -> bool {
    let peer = udp(host, 0);
    peer.connect(there).unwrap();
    peer.send(b"?").unwrap();
    let is_refused = |kind| kind == ErrorKind::ConnectionRefused;
    peer.recv(&mut [0; 8]).is_err_and(|error| is_refused(error.kind()))
        && connect(host, 0, there).is_err_and(|error| is_refused(error.kind()))
}

fn with_patience(stream: TcpStream) -> TcpStream {
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream.set_write_timeout(Some(SOON)).unwrap();
    stream
}
