//! The gateway's firmware on the lab's LAN, with the clients of others and our own.

use std::net::{Ipv4Addr, UdpSocket};
use std::time::{Duration, Instant};

use natpmp_lab::{Finished, Host, Lab, Running, wait_until};

use super::client::said;
use super::machine::{Firmware, socket};
use super::{NATPMP, SOON};

#[test]
fn gateway_firmware_serves_natpmpc_and_has_its_nat_do_what_it_says() {
    let Some((firmware, lab)) = Firmware::with_lab_or_skip(&["natpmpc"]) else { return };
    let mut board = boot(&firmware, &lab);
    let address = natpmpc(&lab, &[]);
    assert!(address.stdout.iter().any(|line| line == "Public IP address : 11.22.33.44"), "{address}");

    for (name, port) in [("udp", "4000"), ("tcp", "4001")] {
        let mapped = natpmpc(&lab, &["-a", "5000", port, name, "600"]);
        let granted = format!("Mapped public port 5000 protocol {} to local port {port}", name.to_uppercase());
        // Each protocol has its own port, and the other's companion stays with the same client.
        assert!(mapped.stdout.iter().any(|line| line.starts_with(&granted)), "{mapped}");
        board.line(SOON, said(&format!("install: {name} 5000 to 192.168.1.11:{port}")));
    }
    natpmpc(&lab, &["-a", "0", "4000", "udp", "0"]);
    board.line(SOON, said("remove: udp 5000 to 192.168.1.11:4000 (1 installed)"));
    natpmpc(&lab, &["-a", "0", "0", "tcp", "0"]);
    board.line(SOON, said("remove: tcp 5000 to 192.168.1.11:4001 (0 installed)"));
}

#[test]
fn leases_of_the_gateway_firmware_end_by_themselves() {
    let Some((firmware, lab)) = Firmware::with_lab_or_skip(&["natpmpc"]) else { return };
    let mut board = boot(&firmware, &lab);
    natpmpc(&lab, &["-a", "5000", "4000", "udp", "1"]);
    board.line(SOON, said("install: udp 5000"));
    board.line(SOON, said("remove: udp 5000"));
}

/// A request in the name of a host that is not there is answered too, or would be: ARP finds nobody.
#[test]
fn gateway_firmware_does_not_wait_for_a_client_that_is_not_there() {
    let Some((firmware, lab)) = Firmware::with_lab_or_skip(&["natpmpc"]) else { return };
    let _board = boot(&firmware, &lab);
    natpmpc(&lab, &[]);
    let client = lab.client();
    client.ip(&["address", "add", "192.168.1.99/32", "dev", "lo"]);
    client.within(|| {
        // Nor does its host answer for it.
        std::fs::write("/proc/sys/net/ipv4/conf/eth0/arp_ignore", "1").expect("root may");
        let forger = UdpSocket::bind((Ipv4Addr::new(192, 168, 1, 99), 0)).unwrap();
        forger.send_to(&[0, 0], (Ipv4Addr::new(192, 168, 1, 2), 5351)).unwrap();
    });
    natpmpc(&lab, &[]);
}

/// The client's kernel puts the forged source into what leaves it.
#[test]
fn gateway_firmware_opens_no_port_of_its_own_nor_of_a_host_of_another_network() {
    let Some((firmware, lab)) = Firmware::with_lab_or_skip(&["natpmpc", "nft"]) else { return };
    let mut board = boot(&firmware, &lab);
    let client = lab.client();
    let forgeries = ["10.99.0.5", "11.22.33.1", "192.168.1.2", "192.168.1.255", "127.0.0.1", "0.0.0.0", "224.0.0.1"];
    // So that none of them waits for ARP.
    natpmpc(&lab, &[]);
    for forged in forgeries {
        let rules = format!(
            "table ip forged {{ chain out {{ type filter hook postrouting priority 0; udp dport 5351 ip saddr set {forged}; }}; }}"
        );
        nft(client, &rules);
        ask(&socket_of(client, client.address()), &MAP_UDP_22);
        nft(client, "delete table ip forged");
    }
    // What is sent later is read later.
    let honest = socket_of(client, client.address());
    assert!(wait_until(SOON, || is_answered(&honest, &MAP_UDP_22)));
    let installed = board.line(SOON, said("install: "));
    assert!(installed.contains("install: udp 5000 to 192.168.1.11:22 (1 installed)"), "{installed}");
}

#[test]
fn gateway_firmware_answers_a_flood_at_its_rate_and_others_meanwhile() {
    let Some((firmware, lab)) = Firmware::with_lab_or_skip(&[]) else { return };
    let _board = boot(&firmware, &lab);
    let client = lab.client();
    client.ip(&["address", "add", "192.168.1.12/24", "dev", "eth0"]);
    let flood = socket_of(client, client.address());
    let other = socket_of(client, Ipv4Addr::new(192, 168, 1, 12));
    // The board has room for 16 answers at a time: without a limit, this is how each would be answered.
    flood.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
    let began = Instant::now();
    let mut answers = 0;
    for _ in 0..100 {
        (0..5).for_each(|_| ask(&flood, &[0, 0]));
        answers += received(&flood);
    }
    assert!(wait_until(SOON, || is_answered(&other, &[0, 0])), "another client was not answered");
    answers += received(&flood);
    let earned = 10.0 * began.elapsed().as_secs_f64();
    assert!(answers > 0 && f64::from(answers) <= 20.0 + earned, "{answers} answers, of 20 and {earned:.1} more");
}

/// G05, G06: with a lease of an hour, the announcements at its boot are what tells.
#[test]
fn gateway_firmware_that_restarts_gets_its_mappings_back_from_keep() {
    let Some((firmware, lab)) = Firmware::with_lab_or_skip(&[]) else { return };
    let mut board = boot(&firmware, &lab);
    let mut kept = lab.client().spawn(NATPMP, &["keep", "udp", "4000", "--gateway", "192.168.1.2", "--json"]);
    assert_eq!(kept.event(SOON, "mapped")["external_address"], "11.22.33.44");
    board.line(SOON, said("install: udp 4000 to 192.168.1.11:4000 (1 installed)"));
    // Old enough for a client to notice that it begins anew (RFC 6886, section 3.6: 2 s are not).
    let since = board.age();
    assert!(wait_until(SOON, || board.age() > since + Duration::from_secs(4)));

    drop(board);
    let mut board = boot_again(&firmware, &lab);
    kept.event(SOON, "gateway-restarted");
    board.line(SOON, said("install: udp 4000 to 192.168.1.11:4000 (1 installed)"));
    kept.event(SOON, "mapped");
    kept.interrupt();
    assert_eq!(kept.finish(SOON).code, Some(0));
    board.line(SOON, said("remove: udp 4000 to 192.168.1.11:4000 (0 installed)"));
}

/// On the LAN, at 192.168.1.2, until it answers.
fn boot(firmware: &Firmware, lab: &Lab) -> Running {
    socket(lab.router().host(), "lan0");
    boot_again(firmware, lab)
}

fn boot_again(firmware: &Firmware, lab: &Lab) -> Running {
    let mut board = firmware.boot("gateway", lab.router().host());
    board.line(SOON, said("serving: 192.168.1.2 for 11.22.33.44"));
    board
}

fn nft(host: &Host, rules: &str) {
    let finished = host.spawn("nft", &[rules]).finish(SOON);
    assert_eq!(finished.code, Some(0), "{finished}");
}

fn socket_of(host: &Host, address: Ipv4Addr) -> UdpSocket {
    let socket = host.within(|| UdpSocket::bind((address, 0)).unwrap());
    socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    socket
}

fn ask(socket: &UdpSocket, request: &[u8]) {
    socket.send_to(request, (Ipv4Addr::new(192, 168, 1, 2), 5351)).unwrap();
}

fn is_answered(socket: &UdpSocket, request: &[u8]) -> bool {
    ask(socket, request);
    received(socket) > 0
}

/// How many answers there are, until none comes for a while.
fn received(socket: &UdpSocket) -> u32 {
    (0..).take_while(|_| socket.recv(&mut [0; 16]).is_ok()).last().map_or(0, |last| last + 1)
}

fn natpmpc(lab: &Lab, arguments: &[&str]) -> Finished {
    let arguments: Vec<&str> = ["-g", "192.168.1.2"].iter().chain(arguments).copied().collect();
    let finished = lab.client().spawn("natpmpc", &arguments).finish(SOON);
    assert_eq!(finished.code, Some(0), "{finished}");
    finished
}

/// UDP 22, at 5000 if possible, for 600 s.
const MAP_UDP_22: [u8; 12] = [0, 1, 0, 0, 0, 22, 0x13, 0x88, 0, 0, 0x02, 0x58];
