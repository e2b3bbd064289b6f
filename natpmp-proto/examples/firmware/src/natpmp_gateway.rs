//! The glue between smoltcp and the gateway machine of `natpmp-proto`. Copy it.
//!
//! One socket, on port 5351 of the internal address: requests come in there, and answers and announcements go out. What the NAT is to do
//! goes to a [`Nat`].

use core::net::{Ipv4Addr, SocketAddrV4};
use core::time::Duration;

use natpmp_proto::gateway::{Event, NatFailure, NatRequest, Output, RateLimit};
use natpmp_proto::wire::GATEWAY_PORT;
use natpmp_proto::{Gateway, Instant, SocketId, Transmit, TransmitKind};
use smoltcp::iface::{SocketHandle, SocketSet};
use smoltcp::socket::udp;
use smoltcp::wire::{IpAddress, IpEndpoint, Ipv4Cidr};

use crate::natpmp_client::Next;

/// What installs mappings, and removes them.
pub trait Nat {
    /// Does it at once. One that takes its time (a switch that is asked over a bus) is better driven from your own loop: keep what
    /// [`Output::Nat`] said, and pass it to [`Gateway::handle_nat`] with the outcome.
    ///
    /// # Errors
    /// It could not: the client gets result 3 or 4.
    fn apply(&mut self, now: Instant, request: &NatRequest) -> Result<(), NatFailure>;
}

/// A gateway on smoltcp's sockets, with room for `N` mappings.
#[derive(Debug)]
pub struct NatPmpGateway<'a, const N: usize> {
    /// The machine: its commands and getters are all yours.
    pub gateway: &'a mut Gateway<N>,
    limit: RateLimit<8>,
    socket: SocketHandle,
    address: Option<Ipv4Cidr>,
    /// When the first of what is still to be sent was given to the socket.
    queued_at: Instant,
}

impl<'a, const N: usize> NatPmpGateway<'a, N> {
    /// A gateway that serves nobody before it has an internal address, and then each client as often as the limit says: 10 to
    /// 100 requests a second are enough.
    #[must_use]
    pub fn new<'s>(
        gateway: &'a mut Gateway<N>,
        limit: RateLimit<8>,
        sockets: &mut SocketSet<'s>,
        storage: &'s mut Storage,
    ) -> Self {
        let Storage { received: (received, received_bytes), to_send: (to_send, bytes_to_send) } = storage;
        let received = udp::PacketBuffer::new(&mut received[..], &mut received_bytes[..]);
        let mut socket = udp::Socket::new(received, udp::PacketBuffer::new(&mut to_send[..], &mut bytes_to_send[..]));
        // Binding fails for port 0 only, and for a socket that is bound.
        let _ = socket.bind(GATEWAY_PORT);
        Self { gateway, limit, socket: sockets.add(socket), address: None, queued_at: Instant::ZERO }
    }

    /// The address that the clients ask, and the network that they are in. A device with several internal interfaces has one
    /// [`SocketSet`] for each; what comes from the external one is never passed in (section 3.3).
    pub fn set_internal_address(&mut self, address: Option<Ipv4Cidr>) {
        self.address = address;
    }

    /// Takes what came, has the NAT do what is asked for, sends what is due, and says what is next. To be called after every poll of the
    /// interface, and after every command to the [`gateway`](Self::gateway), until it says [`Next::Wait`].
    #[must_use]
    pub fn poll(&mut self, now: Instant, sockets: &mut SocketSet<'_>, nat: &mut impl Nat) -> Next<Event> {
        let socket = sockets.get_mut::<udp::Socket<'_>>(self.socket);
        self.receive(now, socket);
        loop {
            match self.gateway.poll(now) {
                Output::Transmit(transmit) => self.transmit(now, socket, &transmit, &[]),
                Output::Nat(request) => {
                    // The client gets its yes only when the NAT has it.
                    let outcome = nat.apply(now, &request);
                    self.gateway.handle_nat(now, &request, outcome);
                }
                Output::Event(event) => return Next::Event(event),
                Output::Wait(deadline) => return Next::Wait(deadline),
            }
        }
    }

    fn receive(&mut self, now: Instant, socket: &mut udp::Socket<'_>) {
        let mut request = [0; LARGEST];
        while socket.can_recv() {
            // What is larger is dropped.
            let Ok((length, meta)) = socket.recv_slice(&mut request) else { continue };
            #[allow(irrefutable_let_patterns, reason = "with smoltcp's proto-ipv6 there are other addresses")]
            let IpAddress::Ipv4(from) = meta.endpoint.addr else { continue };
            // What was sent to all is no request to this gateway.
            if meta.local_address != self.address.map(|own| IpAddress::Ipv4(own.address())) {
                continue;
            }
            let from = SocketAddrV4::new(from, meta.endpoint.port);
            if !self.admits(now, *from.ip()) {
                continue;
            }
            let bytes = request.get(..length).unwrap_or_default();
            // What cannot be answered is dropped; the reason could be logged.
            let _ = self.gateway.handle_datagram(now, SOCKET, from, bytes);
            // Its answer goes out before the next one is read. What the NAT is to do first comes later.
            while let Some(transmit) = self.gateway.poll_transmit(now) {
                self.transmit(now, socket, &transmit, bytes);
            }
        }
    }

    /// Whoever is on the link can forge a source. It shall not open a port of a host that is elsewhere, nor of this one, and nobody is
    /// answered without bound.
    fn admits(&mut self, now: Instant, client: Ipv4Addr) -> bool {
        self.address.is_some_and(|own| is_neighbour(own, client)) && self.limit.admits(now, client)
    }

    fn transmit(&mut self, now: Instant, socket: &mut udp::Socket<'_>, transmit: &Transmit, request: &[u8]) {
        match transmit.kind {
            TransmitKind::Echo { .. } => {
                if let Some(bytes) = transmit.write(request, &mut [0; LARGEST]) {
                    self.send(now, socket, transmit.to, bytes);
                }
            }
            // Without an address they are dropped: left where they are, they would be due for ever, and nobody would sleep.
            TransmitKind::Announcement if self.address.is_none() => {}
            // An announcement goes to all hosts of the link; smoltcp knows the Ethernet address of a group.
            _ => self.send(now, socket, transmit.to, &transmit.payload),
        }
    }

    fn send(&mut self, now: Instant, socket: &mut udp::Socket<'_>, to: SocketAddrV4, bytes: &[u8]) {
        if socket.send_queue() == 0 {
            self.queued_at = now;
        } else if now.saturating_since(self.queued_at) > STALE {
            // The first in the queue is for a host that does not answer ARP, if it exists at all, and smoltcp would have the others wait
            // for it for ever. Closing is how it empties a queue; what came meanwhile is asked again.
            socket.close();
            let _ = socket.bind(GATEWAY_PORT);
            self.queued_at = now;
        }
        let to = IpEndpoint::new(IpAddress::Ipv4(*to.ip()), to.port());
        // With the queue full it is lost, as packets are: the client asks again.
        let _ = socket.send_slice(bytes, to);
    }
}

/// Whether a client of this network can have the address.
fn is_neighbour(own: Ipv4Cidr, client: Ipv4Addr) -> bool {
    let is_no_host = client.is_unspecified() || client.is_multicast() || client.is_loopback() || client.is_broadcast();
    own.contains_addr(&client) && client != own.address() && own.broadcast() != Some(client) && !is_no_host
}

/// The memory of the socket: one for each [`NatPmpGateway`], as a `static`.
#[derive(Debug)]
pub struct Storage {
    received: ([udp::PacketMetadata; 16], [u8; 4 * LARGEST]),
    to_send: ([udp::PacketMetadata; 16], [u8; 4 * LARGEST]),
}

impl Storage {
    /// Empty.
    #[must_use]
    pub const fn new() -> Self {
        let empty = ([udp::PacketMetadata::EMPTY; 16], [0; 4 * LARGEST]);
        Self { received: empty, to_send: empty }
    }
}

impl Default for Storage {
    fn default() -> Self {
        Self::new()
    }
}

/// The only one.
const SOCKET: SocketId = SocketId(0);
/// Requests have 12 bytes, and those of PCP, which get the answer that this is NAT-PMP, 60 as a rule.
const LARGEST: usize = 128;
/// A host that has asked answers ARP within some milliseconds, and asks again after 250.
const STALE: Duration = Duration::from_millis(100);
