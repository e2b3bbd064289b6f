use std::io;
use std::net::{SocketAddr, SocketAddrV4};

/// A UDP socket that does not block, as an adapter waits for it.
pub trait DatagramSocket {
    /// Sends to the address that the socket is connected to.
    ///
    /// # Errors
    /// What the system says; [`WouldBlock`](io::ErrorKind::WouldBlock) if its buffer is full.
    fn send(&self, payload: &[u8]) -> io::Result<usize>;

    /// Sends to this address.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    fn send_to(&self, payload: &[u8], to: SocketAddrV4) -> io::Result<usize>;

    /// Receives the next datagram.
    ///
    /// # Errors
    /// What the system says; [`WouldBlock`](io::ErrorKind::WouldBlock) if there is none.
    fn receive(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)>;
}
