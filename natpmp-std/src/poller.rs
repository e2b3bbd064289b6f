//! What both workers wait with: mio, and the wake-up of a worker by others.

use std::io;
use std::net::{SocketAddr, SocketAddrV4, UdpSocket};
use std::sync::Arc;
use std::task::Wake;

use log::warn;
use mio::{Interest, Registry, Token};
use natpmp_engine::DatagramSocket;

/// A socket that a worker waits for.
pub(crate) struct Socket(mio::net::UdpSocket);

impl Socket {
    /// Has the worker woken by `token` when there is something to receive.
    pub(crate) fn register(registry: &Registry, token: Token, socket: UdpSocket) -> io::Result<Self> {
        let mut socket = mio::net::UdpSocket::from_std(socket);
        registry.register(&mut socket, token, Interest::READABLE)?;
        Ok(Self(socket))
    }
}

impl DatagramSocket for Socket {
    fn send(&self, payload: &[u8]) -> io::Result<usize> {
        self.0.send(payload)
    }

    fn send_to(&self, payload: &[u8], to: SocketAddrV4) -> io::Result<usize> {
        self.0.send_to(payload, to.into())
    }

    fn receive(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.0.recv_from(buffer)
    }
}

/// Makes whoever polls come back.
pub(crate) fn waker(registry: &Registry, token: Token) -> io::Result<std::task::Waker> {
    Ok(Arc::new(Waker(mio::Waker::new(registry, token)?)).into())
}

struct Waker(mio::Waker);

impl Wake for Waker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if let Err(error) = self.0.wake() {
            warn!("the worker cannot be woken: {error}");
        }
    }
}
