//! Requests written by hand.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::time::Duration;

use natpmp_lab::Host;

/// The answer to a request, asked several times.
pub(crate) fn ask(from: &Host, to: SocketAddrV4, request: &[u8]) -> Option<Vec<u8>> {
    from.within(|| {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
        socket.connect(to).ok()?;
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut buffer = [0; 2_048];
        for _ in 0..TRIES {
            // Port unreachable is reported here or below.
            let _ = socket.send(request);
            match socket.recv(&mut buffer) {
                Ok(length) => return Some(buffer[..length].to_vec()),
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => return None,
                Err(_) => {}
            }
        }
        None
    })
}

/// What the host is told that sends a request: that nobody listens there. Neither an answer nor silence is that.
pub(crate) fn is_turned_away(from: &Host, to: SocketAddrV4, request: &[u8]) -> bool {
    from.within(|| {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
        socket.connect(to).unwrap();
        socket.set_read_timeout(Some(PATIENCE * 4)).unwrap();
        socket.send(request).unwrap();
        let result = socket.recv(&mut [0; 64]);
        result.is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
    })
}

/// A request for a UDP mapping.
pub(crate) fn map_udp(internal_port: u16, external_port: u16, lifetime: u32) -> [u8; 12] {
    let ([i1, i2], [e1, e2]) = (internal_port.to_be_bytes(), external_port.to_be_bytes());
    let [l1, l2, l3, l4] = lifetime.to_be_bytes();
    [0, 1, 0, 0, i1, i2, e1, e2, l1, l2, l3, l4]
}

pub(crate) const EXTERNAL_ADDRESS: &[u8] = &[0, 0];
const PATIENCE: Duration = Duration::from_millis(250);
const TRIES: usize = 8;
