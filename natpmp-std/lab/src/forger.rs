//! A host of the LAN that forges what the gateway says.

use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use natpmp_proto::wire::{ANNOUNCEMENT_GROUP, ANNOUNCEMENT_PORT, Response};
use natpmp_testkit::Random;
use natpmp_testkit::gateway::Gateway;
use rustix::net::{AddressFamily, SendFlags, SocketType, bind, ipproto, sendto, socket};

use crate::host::Host;
use crate::router::GATEWAY;

/// Has `forger` send forged datagrams to `victim`, some 2,000 a second and 100,000 at most: announcements of other epochs and addresses,
/// answers of every kind, and noise. They go to the victim's port for announcements in the gateway's name, and to ports that it might
/// ask from in the forger's own. The victim has mapped `port`.
///
/// # Panics
/// If the forger cannot take the gateway's address.
#[must_use]
pub fn storm(forger: &Host, victim: Ipv4Addr, port: u16) -> Storm {
    stay_silent_about_addresses(forger);
    forger.ip(&["address", "add", &format!("{}/32", GATEWAY.ip()), "dev", "eth0"]);
    let sockets = forger.within(|| {
        let disguised = UdpSocket::bind(GATEWAY).expect("the address is its own now");
        let own = UdpSocket::bind((forger.address(), GATEWAY.port())).expect("the port is free");
        [disguised, own]
    });
    let stop = Arc::new(AtomicBool::new(false));
    let sent = Arc::new(AtomicUsize::new(0));
    let (stopped, count) = (Arc::clone(&stop), Arc::clone(&sent));
    let thread = std::thread::spawn(move || {
        let mut random = Random::new(7);
        while !stopped.load(Ordering::Relaxed) && count.load(Ordering::Relaxed) < MOST {
            for _ in 0..BATCH {
                count.fetch_add(send(&sockets, &mut random, victim, port), Ordering::Relaxed);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    });
    Storm { stop, sent, thread: Some(thread) }
}

/// A running storm; ended when dropped.
#[derive(Debug)]
pub struct Storm {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicUsize>,
    thread: Option<JoinHandle<()>>,
}

impl Storm {
    /// How many datagrams went out.
    #[must_use]
    pub fn sent(&self) -> usize {
        self.sent.load(Ordering::Relaxed)
    }
}

impl Drop for Storm {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// Has `forger` tell `victim` that its requests found port 5351 unreachable: by an ICMP message for each port that one may have come
/// from, so that whichever it asks from is among them.
///
/// # Panics
/// If the forger cannot take the gateway's address, or may not send raw packets, or most of them cannot be sent.
pub fn forge_port_unreachable(forger: &Host, victim: Ipv4Addr) {
    stay_silent_about_addresses(forger);
    let address = format!("{}/32", GATEWAY.ip());
    forger.ip(&["address", "replace", &address, "dev", "eth0"]);
    let sent = forger.within(|| {
        let raw = socket(AddressFamily::INET, SocketType::RAW, Some(ipproto::ICMP)).expect("root may");
        bind(&raw, &SocketAddrV4::new(*GATEWAY.ip(), 0)).expect("the address is its own now");
        let to = SocketAddrV4::new(victim, 0);
        let sent = |port| sendto(&raw, &unreachable_message(victim, port), SendFlags::empty(), &to).is_ok();
        (1_024..=u16::MAX).filter(|&port| sent(port)).count()
    });
    forger.ip(&["address", "delete", &address, "dev", "eth0"]);
    assert!(sent > 60_000, "{sent}");
}

/// The host takes the gateway's address, and never says so to anybody: the gateway remains where it is.
fn stay_silent_about_addresses(forger: &Host) {
    for (name, value) in [("arp_ignore", "8"), ("arp_announce", "2")] {
        forger.within(|| std::fs::write(format!("/proc/sys/net/ipv4/conf/all/{name}"), value)).expect("root may");
    }
}

/// How many of them went out: the victim's host may be down.
fn send([disguised, own]: &[UdpSocket; 2], random: &mut Random, victim: Ipv4Addr, port: u16) -> usize {
    let guessed = 32_768 + u16::try_from(random.below(28_000)).expect("it is small");
    let announcements = SocketAddrV4::new(victim, ANNOUNCEMENT_PORT);
    let group = SocketAddrV4::new(ANNOUNCEMENT_GROUP, ANNOUNCEMENT_PORT);
    let sent = [
        disguised.send_to(&datagram(random, port), announcements),
        disguised.send_to(&datagram(random, port), group),
        own.send_to(&datagram(random, port), announcements),
        own.send_to(&datagram(random, port), (victim, guessed)),
    ];
    sent.iter().filter(|result| result.is_ok()).count()
}

fn datagram(random: &mut Random, port: u16) -> Vec<u8> {
    let mut bits = || u32::try_from(random.below(1 << 32)).expect("it is small enough");
    let (epoch, address) = (bits(), Ipv4Addr::from_bits(bits()));
    let epoch = if random.chance(50) { 0 } else { epoch };
    match random.below(5) {
        0 => Response::ExternalAddress { epoch, address }.encode().to_vec(),
        1 => Gateway::PCP_ANNOUNCE.to_vec(),
        kind @ 2..4 => {
            let protocol = natpmp_proto::Protocol::ALL[usize::from(kind == 3)];
            let external_port = port.wrapping_add(1_000);
            let lifetime = if random.chance(50) { 0 } else { 7_200 };
            Response::Map { protocol, epoch, internal_port: port, external_port, lifetime }.encode().to_vec()
        }
        _ => (0..random.below(40)).map(|_| random.bits().to_le_bytes()[0]).collect(),
    }
}

/// RFC 792: what it answers, as far as the ports, is in it.
fn unreachable_message(victim: Ipv4Addr, port: u16) -> Vec<u8> {
    let mut request = vec![0x45, 0, 0, 30, 0, 0, 0, 0, 64, UDP, 0, 0];
    request.extend(victim.octets());
    request.extend(GATEWAY.ip().octets());
    let header_checksum = checksum(&request);
    request[10..12].copy_from_slice(&header_checksum);
    request.extend(port.to_be_bytes());
    request.extend(GATEWAY.port().to_be_bytes());
    request.extend([0, 10, 0, 0]);
    let mut message = vec![DESTINATION_UNREACHABLE, PORT_UNREACHABLE, 0, 0, 0, 0, 0, 0];
    message.extend(request);
    let message_checksum = checksum(&message);
    message[2..4].copy_from_slice(&message_checksum);
    message
}

/// RFC 1071.
fn checksum(bytes: &[u8]) -> [u8; 2] {
    let sum: u32 = bytes.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    let folded = (sum >> 16) + (sum & 0xffff);
    let folded = (folded >> 16) + (folded & 0xffff);
    (!u16::try_from(folded).expect("it was folded")).to_be_bytes()
}

const MOST: usize = 100_000;
const BATCH: usize = 5;
const DESTINATION_UNREACHABLE: u8 = 3;
const PORT_UNREACHABLE: u8 = 3;
const UDP: u8 = 17;
