//! A host of the LAN that says in the gateway's name that nobody listens there.

use std::net::{Ipv4Addr, SocketAddrV4};

use rustix::net::{AddressFamily, SendFlags, SocketType, bind, ipproto, sendto, socket};

use super::GATEWAY;
use super::host::Host;

/// Has `forger` tell `victim` that its requests found port 5351 unreachable: by an ICMP message for each port that one may have come
/// from, so that whichever it asks from is among them.
///
/// # Panics
/// If the forger cannot take the gateway's address, or may not send raw packets, or most of them cannot be sent.
pub fn forge_port_unreachable(forger: &Host, victim: Ipv4Addr) {
    for (name, value) in [("arp_ignore", "8"), ("arp_announce", "2")] {
        forger.within(|| std::fs::write(format!("/proc/sys/net/ipv4/conf/all/{name}"), value)).expect("root may");
    }
    let address = format!("{}/32", GATEWAY.ip());
    forger.ip(&["address", "replace", &address, "dev", "eth0"]);
    let sent = forger.within(|| {
        let raw = socket(AddressFamily::INET, SocketType::RAW, Some(ipproto::ICMP)).expect("root may");
        bind(&raw, &SocketAddrV4::new(*GATEWAY.ip(), 0)).expect("the address is its own now");
        let to = SocketAddrV4::new(victim, 0);
        let sent = |port| sendto(&raw, &message(victim, port), SendFlags::empty(), &to).is_ok();
        (1_024..=u16::MAX).filter(|&port| sent(port)).count()
    });
    forger.ip(&["address", "delete", &address, "dev", "eth0"]);
    assert!(sent > 60_000, "{sent}");
}

/// RFC 792: what it answers, as far as the ports, is in it.
fn message(victim: Ipv4Addr, port: u16) -> Vec<u8> {
    let mut request = vec![0x45, 0, 0, 30, 0, 0, 0, 0, 64, UDP, 0, 0];
    request.extend(victim.octets());
    request.extend(GATEWAY.ip().octets());
    let checksum = checksum(&request);
    request[10..12].copy_from_slice(&checksum);
    request.extend(port.to_be_bytes());
    request.extend(GATEWAY.port().to_be_bytes());
    request.extend([0, 10, 0, 0]);
    let mut message = vec![DESTINATION_UNREACHABLE, PORT_UNREACHABLE, 0, 0, 0, 0, 0, 0];
    message.extend(request);
    let checksum = self::checksum(&message);
    message[2..4].copy_from_slice(&checksum);
    message
}

/// RFC 1071.
fn checksum(bytes: &[u8]) -> [u8; 2] {
    let sum: u32 = bytes.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    let folded = (sum >> 16) + (sum & 0xffff);
    let folded = (folded >> 16) + (folded & 0xffff);
    (!u16::try_from(folded).expect("it was folded")).to_be_bytes()
}

const DESTINATION_UNREACHABLE: u8 = 3;
const PORT_UNREACHABLE: u8 = 3;
const UDP: u8 = 17;
