//! Many clients at once, with malformed datagrams among their requests.

use std::net::{Ipv4Addr, UdpSocket};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use natpmp_lab::{GATEWAY, Protocol, echo};

use super::packets::{ask, map_udp};
use super::setup::{Nat, Setup};

/// How much is asked for.
struct Load {
    clients: u8,
    ports: u16,
    /// How often each mapping is asked for.
    rounds: u32,
}

/// A relay takes a socket for each mapping, of the 1024 files that a process may usually have open.
#[test]
fn every_valid_request_is_answered_under_load_by_the_relay() {
    every_valid_request_is_answered_under_load(Nat::Relay, &Load { clients: 20, ports: 25, rounds: 4 });
}

#[test]
fn every_valid_request_is_answered_under_load_by_nftables() {
    every_valid_request_is_answered_under_load(Nat::Nftables, &Load { clients: 40, ports: 50, rounds: 2 });
}

/// G23, G24: 2,000 malformed datagrams for 2,000 or more requests; no answer is larger than what it answers or 16 bytes.
fn every_valid_request_is_answered_under_load(nat: Nat, load: &Load) {
    let Some(mut setup) = Setup::or_skip(nat, 1, &[]) else { return };
    // The first one's address it has already.
    for number in 1..load.clients {
        setup.client(0).ip(&["address", "add", &format!("{}/24", source(number)), "dev", "eth0"]);
    }
    let at_rest = setup.serving().resident_kib().unwrap();
    let repeated = AtomicUsize::new(0);
    let began = Instant::now();
    let (took, slowest) = setup.client(0).within(|| {
        thread::scope(|scope| {
            let foul: Vec<_> = (0..FOUL_SENDERS).map(|seed| scope.spawn(move || send_nonsense(seed))).collect();
            let ask = |number| {
                let repeated = &repeated;
                move || ask_for_all(source(number), load, repeated)
            };
            let clients: Vec<_> = (0..load.clients).map(|number| scope.spawn(ask(number))).collect();
            let slowest = clients.into_iter().map(|client| client.join().unwrap()).max().unwrap();
            let took = began.elapsed();
            foul.into_iter().for_each(|sender| sender.join().unwrap());
            (took, slowest)
        })
    });
    let full = setup.serving().resident_kib().unwrap();
    let repeated = repeated.load(Ordering::Relaxed);
    let requests = u32::from(load.clients) * u32::from(load.ports) * load.rounds;
    println!(
        "{nat:?}: {requests} requests of {} clients, {} mappings, in {took:?} ({:.0} a second), the slowest after {slowest:?}, \
         {} sent again, {} malformed; memory {at_rest} KiB before, {full} KiB after",
        load.clients,
        u32::from(load.clients) * u32::from(load.ports),
        f64::from(requests) / took.as_secs_f64(),
        repeated,
        u32::from(FOUL_SENDERS) * NONSENSE,
    );
    assert!(full < MOST_MEMORY_KIB, "{full} KiB");
    assert!(took < LONGEST, "{took:?}");
    // Datagrams may be lost where buffers are full, but not many.
    assert!(repeated * 20 < usize::try_from(requests).unwrap(), "{repeated} of {requests} asked again");

    // And one of them, to see that these are mappings.
    let _echo = echo(setup.client(0), Protocol::Udp, FIRST_PORT);
    let answer = ask(setup.client(0), GATEWAY, &map_udp(FIRST_PORT, FIRST_PORT, 600)).unwrap();
    assert!(setup.leads_to(0, Protocol::Udp, u16::from_be_bytes([answer[10], answer[11]])));
}

/// Asks for one mapping after the other, as a client does. How long the slowest took.
fn ask_for_all(from: Ipv4Addr, load: &Load, repeated: &AtomicUsize) -> Duration {
    let socket = UdpSocket::bind((from, 0)).unwrap();
    socket.connect(GATEWAY).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut slowest = Duration::ZERO;
    for _ in 0..load.rounds {
        for port in FIRST_PORT..FIRST_PORT + load.ports {
            let asked = Instant::now();
            let answer = ask_for_one(&socket, port, repeated);
            assert_eq!(&answer[2..4], [0, 0], "{from}: {answer:?}");
            assert_eq!(&answer[12..], 600_u32.to_be_bytes(), "{from}: {answer:?}");
            slowest = slowest.max(asked.elapsed());
        }
    }
    slowest
}

fn ask_for_one(socket: &UdpSocket, port: u16, repeated: &AtomicUsize) -> [u8; 16] {
    let request = map_udp(port, port, 600);
    for attempt in 0..TRIES {
        if attempt > 0 {
            repeated.fetch_add(1, Ordering::Relaxed);
        }
        socket.send(&request).unwrap();
        let mut answer = [0; 64];
        // A late answer to the port before may come first.
        while let Ok(length) = socket.recv(&mut answer) {
            assert_eq!((length, answer[1]), (16, 129), "{answer:?}");
            if answer[8..10] == port.to_be_bytes() {
                return answer[..16].try_into().unwrap();
            }
        }
    }
    panic!("no answer for port {port} of {:?}", socket.local_addr());
}

/// Datagrams of all lengths up to 1,500, each wrong in another way.
fn send_nonsense(seed: u8) {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    socket.connect(GATEWAY).unwrap();
    socket.set_nonblocking(true).unwrap();
    let mut state = u32::from(seed) + 1;
    let mut random = || {
        // xorshift
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_be_bytes()
    };
    let mut longest = 0;
    for number in 0..NONSENSE {
        let [a, b, c, d] = random();
        let length =
            if number % 10 == 0 { usize::from(u16::from_be_bytes([a, b])) % 1_500 } else { usize::from(a) % 24 };
        let mut datagram: Vec<u8> = (0..length).map(|_| random()[0]).collect();
        // Half of them begin well.
        if d % 2 == 0 && length > 1 {
            datagram[0] = 0;
            datagram[1] = [1, 2, 3, 127, 128, 129, 255, c][usize::from(c) % 8];
        }
        // A whole request is none of these.
        if datagram.len() >= 12 && datagram[0] == 0 && datagram[1] <= 2 || datagram.starts_with(&[0, 0]) {
            datagram[1] = 3;
        }
        // No room to send is as good as lost on the way.
        let _ = socket.send(&datagram);
        longest = longest.max(datagram.len());
        // The answer may be to one before.
        thread::sleep(PAUSE);
        while let Ok(answered) = socket.recv(&mut [0; 2_048]) {
            assert!(answered <= longest.max(16), "{answered} bytes, and no more than {longest} were sent");
        }
    }
}

fn source(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(192, 168, 1, if number == 0 { 11 } else { 100 + number })
}

const FOUL_SENDERS: u8 = 4;
const NONSENSE: u32 = 500;
/// So that they come among the requests, and not all before them.
const PAUSE: Duration = Duration::from_micros(500);
const FIRST_PORT: u16 = 10_000;
const PATIENCE: Duration = Duration::from_millis(500);
const TRIES: u32 = 8;
const LONGEST: Duration = Duration::from_secs(30);
/// The table takes 3 MB, the rest is the program; a third of this is left for other machines.
const MOST_MEMORY_KIB: u64 = 16 * 1_024;
