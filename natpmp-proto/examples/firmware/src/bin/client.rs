//! A device behind a NAT gateway, reachable from the internet on a UDP port, where it answers every datagram: with what it got, and
//! its own address after it.
#![no_std]
#![no_main]

use core::net::Ipv4Addr;

use cortex_m::asm::wfi;
use cortex_m_rt::entry;
use natpmp_firmware::board::{self, Ethernet};
use natpmp_firmware::clock::{Clock, from_smoltcp, to_smoltcp};
use natpmp_firmware::console::{report, say};
use natpmp_firmware::natpmp_client::{NatPmp, Next, Storage};
use natpmp_firmware::nic::Nic;
use natpmp_firmware::settings::LIFETIME;
use natpmp_firmware::uplink::{Change, Uplink};
use natpmp_proto::{Config, Instant, MapRequest, Protocol, Schedule};
use smoltcp::iface::{Interface, SocketSet, SocketStorage};
use smoltcp::socket::udp;

#[entry]
fn main() -> ! {
    static mut SOCKETS: [SocketStorage<'static>; 5] = [SocketStorage::EMPTY; 5];
    static mut NATPMP: Storage = Storage::new();
    static mut SERVICE: [([udp::PacketMetadata; 4], [u8; 512]); 2] = [([udp::PacketMetadata::EMPTY; 4], [0; 512]); 2];

    let (Some(peripherals), Some(ethernet)) = (cortex_m::Peripherals::take(), Ethernet::take()) else {
        unreachable!("nobody has taken them before")
    };
    let mut clock = Clock::start(peripherals.SYST);
    let address = ethernet.address();
    let seed = board::seed(address);
    let mut nic = Nic::new(ethernet);

    // smoltcp.
    let mut config = smoltcp::iface::Config::new(smoltcp::wire::EthernetAddress(address).into());
    config.random_seed = seed;
    let mut interface = Interface::new(config, &mut nic, to_smoltcp(clock.now()));
    let mut sockets = SocketSet::new(&mut SOCKETS[..]);
    let mut uplink = Uplink::new(&mut sockets);
    let service = sockets.add(service(SERVICE));

    // NAT-PMP. The machine takes its commands before there is a network, and carries them out when there is.
    let mut natpmp: NatPmp<1> = NatPmp::new(CONFIG, seed, &mut sockets, NATPMP);
    let request = MapRequest::new(Protocol::Udp, PORT).lifetime(LIFETIME);
    natpmp.client.watch_external_address(clock.now(), true);
    if let Err(error) = natpmp.client.keep(clock.now(), &request) {
        unreachable!("{error}")
    }
    say(clock.now(), format_args!("seed: {seed:016x}"));

    let mut own = None;
    loop {
        let now = clock.now();
        interface.poll(to_smoltcp(now), &mut nic, &mut sockets);
        if let Some(change) = uplink.poll(&mut interface, &mut sockets) {
            own = take(now, change, &mut natpmp);
        }
        answer(now, sockets.get_mut(service), own);
        let wake = loop {
            match natpmp.poll(now, &mut sockets) {
                Next::Event(event) => report(now, &event),
                Next::Wait(until) => break until,
            }
        };
        let poll = interface.poll_at(to_smoltcp(now), &sockets).map(from_smoltcp);
        let wake = [wake, poll].into_iter().flatten().min();
        // The timer ends each sleep within a millisecond, to look for a frame. With the interrupts of the controller and of
        // a timer that is set to `wake`, it could last as long as there is nothing to do.
        while wake.is_none_or(|wake| clock.now() < wake) && !nic.has_frame() {
            wfi();
        }
    }
}

/// The network came up, went down or is another one.
fn take(now: Instant, change: Change, natpmp: &mut NatPmp<1>) -> Option<Ipv4Addr> {
    match change {
        Change::Up(address, router) => {
            say(now, format_args!("address: {address}"));
            natpmp.set_gateway(now, router);
            Some(address.address())
        }
        Change::Down => {
            say(now, format_args!("address: none"));
            natpmp.set_gateway(now, None);
            None
        }
    }
}

fn service(storage: &'static mut [([udp::PacketMetadata; 4], [u8; 512]); 2]) -> udp::Socket<'static> {
    let [received, to_send] = storage;
    let buffer = |(metadata, bytes): &'static mut ([udp::PacketMetadata; 4], [u8; 512])| {
        udp::PacketBuffer::new(&mut metadata[..], &mut bytes[..])
    };
    let mut socket = udp::Socket::new(buffer(received), buffer(to_send));
    // Binding fails for port 0 only, and for a socket that is bound.
    let _ = socket.bind(PORT);
    socket
}

/// What the device is there for.
fn answer(now: Instant, socket: &mut udp::Socket<'_>, own: Option<Ipv4Addr>) {
    let mut bytes = [0; 128];
    while socket.can_recv() {
        // What is larger is dropped.
        let Ok((length, meta)) = socket.recv_slice(&mut bytes) else { continue };
        let own = own.unwrap_or(Ipv4Addr::UNSPECIFIED).octets();
        let end = (length + own.len()).min(bytes.len());
        if let Some(place) = bytes.get_mut(length..end) {
            place.iter_mut().zip(own).for_each(|(to, from)| *to = from);
        }
        let _ = socket.send_slice(bytes.get(..end).unwrap_or_default(), meta.endpoint);
        say(now, format_args!("answered: {}", meta.endpoint));
    }
}

const PORT: u16 = 4_000;

/// A constant of the image, the same in every device. What differs from device to device is the seed, which `main` makes.
const CONFIG: Config = Config::new(Ipv4Addr::UNSPECIFIED).schedule(Schedule::QUICK);
