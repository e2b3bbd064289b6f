//! Sockets as the relay wants them.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::Duration;

use mio::net::{TcpStream, UdpSocket};
use natpmp_proto::gateway::NatFailure;
use socket2::{SockRef, TcpKeepalive};

/// A socket that exchanges datagrams with this client only.
pub(super) fn udp_to(internal: SocketAddrV4) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)))?;
    socket.connect(internal.into())?;
    Ok(socket)
}

/// What is passed on does not wait for more, and a peer that vanished is noticed some day.
pub(super) fn set_up(stream: &TcpStream) {
    let stream = SockRef::from(stream);
    let _ = stream.set_tcp_nodelay(true);
    let _ = stream.set_tcp_keepalive(&TcpKeepalive::new().with_time(QUIET));
}

/// Closes it so that the other side hears of it as an error.
pub(super) fn reset(stream: TcpStream) {
    let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
}

/// What a mapping is refused with that could not be listened for.
pub(super) fn failure(error: &io::Error) -> NatFailure {
    match error.kind() {
        io::ErrorKind::AddrNotAvailable | io::ErrorKind::NetworkDown | io::ErrorKind::NetworkUnreachable => {
            NatFailure::Network
        }
        // Taken, not permitted, no more files: another port may do, or another time.
        _ => NatFailure::Resources,
    }
}

const QUIET: Duration = Duration::from_secs(300);
