use std::io;
use std::net::{SocketAddr, SocketAddrV4, UdpSocket};
use std::task::{Context, Poll};

use async_io::Async;
use natpmp_engine::DatagramSocket;

/// Read and written as it is; only readiness is waited for.
pub(crate) struct Socket(Async<UdpSocket>);

impl Socket {
    pub(crate) fn new(socket: UdpSocket) -> io::Result<Self> {
        Async::new_nonblocking(socket).map(Self)
    }

    pub(crate) fn poll_readable(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_readable(context)
    }
}

impl DatagramSocket for Socket {
    fn send(&self, payload: &[u8]) -> io::Result<usize> {
        self.0.get_ref().send(payload)
    }

    fn send_to(&self, payload: &[u8], to: SocketAddrV4) -> io::Result<usize> {
        self.0.get_ref().send_to(payload, to)
    }

    fn receive(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.0.get_ref().recv_from(buffer)
    }
}
