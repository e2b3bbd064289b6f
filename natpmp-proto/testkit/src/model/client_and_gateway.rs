//! Clients and the gateway machine, with a bad network between them and a NAT that is slow and fails.
//!
//! Whatever happens: what is kept converges to a state that the client, the gateway and its NAT agree on, and after all leases
//! nothing is open that no client wants.

use std::time::Duration;

use natpmp_proto::MapRequest;
use natpmp_proto::gateway::Config;

use crate::chaos::Net;
use crate::choices::Bytes;
use crate::net::Link;

/// Reads what happens from any bytes, and lets it happen; at the end there is peace.
///
/// # Panics
/// If a client, the gateway or the NAT do what they must not, or do not come to agree.
pub fn run(bytes: &[u8]) {
    let mut bytes = Bytes::new(bytes);
    let mut net: Net<16> = Net::new(bytes.u8().into(), HOSTS.into(), Config::new().seed(bytes.u8().into()));
    for _ in 0..MOST_STEPS {
        if bytes.is_empty() {
            break;
        }
        step(&mut net, &mut bytes);
    }
    make_peace(&mut net);
}

fn step(net: &mut Net<16>, bytes: &mut Bytes<'_>) {
    let host = usize::from(bytes.below(HOSTS));
    match bytes.below(16) {
        0..=2 => {
            let request = MapRequest::new(bytes.protocol(), port(bytes)).lifetime(60 + 2 * u32::from(bytes.u8()));
            net.keep(host, request.external_port(bytes.one_of(&[0, 4_000, 4_001])));
        }
        3 => net.unmap(host, bytes.protocol(), port(bytes)),
        4 => net.unmap_all(host, bytes.protocol()),
        5 => net.sleep(host, bytes.bit()),
        6 => net.reboot(Duration::from_secs(bytes.u8().into()), bytes.bit()),
        7 => net.set_address(bytes.one_of(&[None, Some(0), Some(1)])),
        8 => net.nat.failures = bytes.one_of(&[0, 30, 100]),
        9 => net.nat.delay = Duration::from_millis(u64::from(bytes.u8()) * 16),
        10 => net.gateway.switch(net.now, bytes.bit()),
        11 => net.gateway.clear(net.now),
        12 => net.link = bytes.one_of(&[Link::perfect(), Link::bad(), Link::DEAD]),
        13 => net.run_for(Duration::from_millis(u64::from(bytes.u8()) * 8)),
        14 => net.run_for(Duration::from_secs(bytes.u8().into())),
        _ => net.run_for(Duration::from_secs(u64::from(bytes.u8()) * 16)),
    }
    net.settle();
}

/// All faults end, then everybody leaves.
fn make_peace(net: &mut Net<16>) {
    (net.link, net.nat.failures, net.nat.delay) = (Link::perfect(), 0, Duration::ZERO);
    net.gateway.switch(net.now, true);
    net.set_address(Some(99));
    for host in 0..usize::from(HOSTS) {
        net.sleep(host, false);
    }
    net.converges(Duration::from_secs(600));
    net.nothing_else_is_open(LONGEST);
    for host in 0..usize::from(HOSTS) {
        net.vanish(host);
    }
    net.nothing_else_is_open(LONGEST);
}

fn port(bytes: &mut Bytes<'_>) -> u16 {
    bytes.one_of(&[4_000, 4_001, 4_002])
}

const HOSTS: u8 = 3;
const MOST_STEPS: usize = 100;
const LONGEST: Duration = Duration::from_secs(600);
