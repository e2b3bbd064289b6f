//! The glue between smoltcp and the client machine of `natpmp-proto`. Copy it.
//!
//! The machine says what to send and takes what comes; smoltcp has the sockets. There are three:
//! - one for requests and their answers, on a port of its own;
//! - one that hears the gateway's announcements, on 224.0.0.1 port 5350: a restart heals at once, and not at the next renewal;
//! - one that hears "port unreachable" about the first: a gateway without NAT-PMP is known for that at once, and not after the
//!   whole schedule.
//!
//! ```ignore
//! let mut natpmp: NatPmp<1> = NatPmp::new(Config::new(Ipv4Addr::UNSPECIFIED), seed, &mut sockets, storage);
//! natpmp.client.keep(now, &MapRequest::new(Protocol::Udp, 4000));
//! loop {
//!     interface.poll(…);
//!     // When DHCP has said who the router is, or that the lease is lost: natpmp.set_gateway(now, router);
//!     let wake = loop {
//!         match natpmp.poll(now, &mut sockets) {
//!             Next::Event(event) => …,
//!             Next::Wait(until) => break until,
//!         }
//!     };
//!     // Sleep until then, or until the interface wants something, or a frame comes.
//! }
//! ```

use core::net::{Ipv4Addr, SocketAddrV4};

use natpmp_proto::wire::{ANNOUNCEMENT_GROUP, ANNOUNCEMENT_PORT, GATEWAY_PORT};
use natpmp_proto::{Client, Config, Event, Instant, Output, Transmit};
use smoltcp::iface::{SocketHandle, SocketSet};
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::socket::{icmp, udp};
use smoltcp::wire::{Icmpv4DstUnreachable, Icmpv4Packet, Icmpv4Repr, IpAddress, IpEndpoint, IpListenEndpoint};

/// A client on smoltcp's sockets, for `N` mappings.
#[derive(Debug)]
pub struct NatPmp<const N: usize> {
    /// The machine: its commands and getters are all yours.
    pub client: Client<N>,
    requests: SocketHandle,
    unreachable: SocketHandle,
    announcements: SocketHandle,
    port: u16,
    is_up: bool,
}

/// What is to be done next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next<E> {
    /// Something happened; poll again.
    Event(E),
    /// Nothing more until then, or until a packet comes.
    Wait(Option<Instant>),
}

impl<const N: usize> NatPmp<N> {
    /// A client without a way to its gateway so far. `seed` has to differ from device to device: it spreads the client's renewals
    /// in time, and chooses the port to send from, which an attacker off the link would have to guess.
    #[must_use]
    pub fn new<'a>(config: Config, seed: u64, sockets: &mut SocketSet<'a>, storage: &'a mut Storage) -> Self {
        let Storage { requests, unreachable, announcements } = storage;
        let port = 0xc000 | seed as u16; // 49152 to 65535
        let mut socket = requests.udp();
        // Binding fails for port 0 only, and for a socket that is bound.
        let _ = socket.bind(port);
        let requests = sockets.add(socket);

        let mut socket = unreachable.icmp();
        let _ = socket.bind(icmp::Endpoint::Udp(IpListenEndpoint { addr: None, port }));
        let unreachable = sockets.add(socket);

        let mut socket = announcements.udp();
        // The group's own address, so that nothing else is heard there (section 3.2.1). The interface is in the group of all
        // hosts without joining it; for any other: `interface.join_multicast_group`.
        let _ = socket.bind(IpListenEndpoint { addr: Some(ANNOUNCEMENT_GROUP.into()), port: ANNOUNCEMENT_PORT });
        let announcements = sockets.add(socket);

        let mut client = Client::new(config);
        client.set_seed(seed);
        Self { client, requests, unreachable, announcements, port, is_up: false }
    }

    /// The gateway is this from now on; `None`: there is no way to any, since the link, the address or the lease is lost. To be called
    /// whenever DHCP says something, and when the link comes back: with the same gateway again, all that is kept is renewed.
    pub fn set_gateway(&mut self, now: Instant, gateway: Option<Ipv4Addr>) {
        self.is_up = gateway.is_some();
        match gateway {
            Some(gateway) => self.client.set_gateway(now, SocketAddrV4::new(gateway, GATEWAY_PORT)),
            None => self.client.handle_network_down(now),
        }
    }

    /// Takes what came, sends what is due, and says what is next. To be called after every poll of the interface, and after every
    /// command to the [`client`](Self::client), until it says [`Next::Wait`].
    #[must_use]
    pub fn poll(&mut self, now: Instant, sockets: &mut SocketSet<'_>) -> Next<Event> {
        self.receive(now, sockets);
        loop {
            match self.client.poll(now) {
                Output::Transmit(transmit) => self.send(now, sockets, &transmit),
                Output::Event(event) => return Next::Event(event),
                Output::Wait(until) => return Next::Wait(until),
            }
        }
    }

    /// What is not for us is dropped by the machine; the reason could be logged.
    fn receive(&mut self, now: Instant, sockets: &mut SocketSet<'_>) {
        let socket = sockets.get_mut::<udp::Socket<'_>>(self.requests);
        while let Ok((bytes, meta)) = socket.recv() {
            if let Some(from) = v4(meta.endpoint) {
                let _ = self.client.handle_datagram(now, from, bytes);
            }
        }
        let socket = sockets.get_mut::<udp::Socket<'_>>(self.announcements);
        while let Ok((bytes, meta)) = socket.recv() {
            if let Some(from) = v4(meta.endpoint) {
                let _ = self.client.handle_announcement(now, from, bytes);
            }
        }
        let socket = sockets.get_mut::<icmp::Socket<'_>>(self.unreachable);
        while let Ok((bytes, from)) = socket.recv() {
            if is_port_unreachable(bytes, from, *self.client.gateway().ip()) {
                self.client.handle_unreachable(now);
            }
        }
    }

    fn send(&mut self, now: Instant, sockets: &mut SocketSet<'_>, transmit: &Transmit) {
        if !self.is_up {
            // smoltcp would drop it without a word.
            self.client.handle_network_down(now);
            return;
        }
        let socket = sockets.get_mut::<udp::Socket<'_>>(self.requests);
        if socket.send_queue() > 0 {
            // What was sent before is still here: the gateway does not answer ARP. Nobody waits for it any more, and it must not
            // come as a burst when the gateway is back. Closing is how smoltcp empties a queue.
            socket.close();
            let _ = socket.bind(self.port);
        }
        let to = IpEndpoint::new(IpAddress::Ipv4(*transmit.to.ip()), transmit.to.port());
        // There is room: the queue is empty.
        let _ = socket.send_slice(&transmit.payload, to);
    }
}

/// The memory of the sockets: one for each [`NatPmp`], as a `static`.
#[derive(Debug)]
pub struct Storage {
    requests: Buffers<udp::PacketMetadata>,
    unreachable: Buffers<icmp::PacketMetadata>,
    announcements: Buffers<udp::PacketMetadata>,
}

impl Storage {
    /// Empty.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            requests: Buffers::new(udp::PacketMetadata::EMPTY),
            unreachable: Buffers::new(icmp::PacketMetadata::EMPTY),
            announcements: Buffers::new(udp::PacketMetadata::EMPTY),
        }
    }
}

impl Default for Storage {
    fn default() -> Self {
        Self::new()
    }
}

/// A request has 12 bytes, an answer 16, an announcement of PCP 24, and what ICMP quotes of a request 8, 20, 8 and 12.
#[derive(Debug)]
struct Buffers<M> {
    received: ([M; 4], [u8; 128]),
    to_send: ([M; 1], [u8; 16]),
}

impl<M: Copy> Buffers<M> {
    const fn new(empty: M) -> Self {
        Self { received: ([empty; 4], [0; 128]), to_send: ([empty; 1], [0; 16]) }
    }
}

impl Buffers<udp::PacketMetadata> {
    fn udp(&mut self) -> udp::Socket<'_> {
        let Self { received: (received, received_bytes), to_send: (to_send, bytes_to_send) } = self;
        let received = udp::PacketBuffer::new(&mut received[..], &mut received_bytes[..]);
        udp::Socket::new(received, udp::PacketBuffer::new(&mut to_send[..], &mut bytes_to_send[..]))
    }
}

impl Buffers<icmp::PacketMetadata> {
    fn icmp(&mut self) -> icmp::Socket<'_> {
        let Self { received: (received, received_bytes), to_send: (to_send, bytes_to_send) } = self;
        let received = icmp::PacketBuffer::new(&mut received[..], &mut received_bytes[..]);
        icmp::Socket::new(received, icmp::PacketBuffer::new(&mut to_send[..], &mut bytes_to_send[..]))
    }
}

fn v4(endpoint: IpEndpoint) -> Option<SocketAddrV4> {
    #[allow(irrefutable_let_patterns, reason = "with smoltcp's proto-ipv6 there are other addresses")]
    let IpAddress::Ipv4(address) = endpoint.addr else { return None };
    Some(SocketAddrV4::new(address, endpoint.port))
}

/// smoltcp has looked whether it is about a packet of our port. It has to come from the gateway, and be about a packet to it.
fn is_port_unreachable(bytes: &[u8], from: IpAddress, gateway: Ipv4Addr) -> bool {
    let Ok(packet) = Icmpv4Packet::new_checked(bytes) else { return false };
    matches!(
        Icmpv4Repr::parse(&packet, &ChecksumCapabilities::default()),
        Ok(Icmpv4Repr::DstUnreachable { reason: Icmpv4DstUnreachable::PortUnreachable, header, .. })
            if header.dst_addr == gateway && from == IpAddress::Ipv4(gateway)
    )
}
