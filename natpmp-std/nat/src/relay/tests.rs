//! One turn at a time.

use std::io::Write;
use std::net::{SocketAddr, SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::time::Instant;

use mio::{Poll, Token};

use super::RelayLimits;
use super::tcp::TcpRelay;
use super::turns::{ReadyQueue, Tokens, Turn, WAKE};
use super::udp::UdpRelay;

#[test]
fn a_turn_passes_no_more_than_its_share_of_datagrams_however_many_wait() {
    let mut udp = UdpRelay::new(RelayLimits::default());
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    let there = open_udp(&mut udp, &client);
    let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
    for _ in 0..50 {
        peer.send_to(b"?", there).unwrap();
    }
    assert_eq!(turn(|turn| udp.take_turn(LISTENER, turn)), Some(true));
    let (passed, from) = waiting(&client);
    assert_eq!(passed, 32);
    assert_eq!(turn(|turn| udp.take_turn(LISTENER, turn)), Some(false));
    assert_eq!(waiting(&client).0, 18);

    for _ in 0..50 {
        client.send_to(b"!", from.unwrap()).unwrap();
    }
    assert_eq!(turn(|turn| udp.take_turn(PEER, turn)), Some(true));
    assert_eq!(waiting(&peer).0, 32);
    assert_eq!(turn(|turn| udp.take_turn(Token(999), turn)), None);
}

/// The system reports with the next datagram that one could not be delivered; the next one must arrive all the same.
#[test]
fn a_client_that_begins_to_listen_hears_the_next_datagram() {
    let mut udp = UdpRelay::new(RelayLimits::default());
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = client.local_addr().unwrap();
    let there = open_udp(&mut udp, &client);
    drop(client);
    let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
    peer.send_to(b"too early", there).unwrap();
    turn(|turn| udp.take_turn(LISTENER, turn));
    let client = UdpSocket::bind(address).unwrap();
    peer.send_to(b"now", there).unwrap();
    turn(|turn| udp.take_turn(LISTENER, turn));
    assert_eq!(waiting(&client).0, 1);
}

#[test]
fn a_turn_passes_no_more_than_its_share_of_a_stream() {
    let mut tcp = TcpRelay::new(RelayLimits::default());
    let client = TcpListener::bind("127.0.0.1:0").unwrap();
    let there = v4(TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap());
    let poll = Poll::new().unwrap();
    tcp.open(LISTENER, there, v4(client.local_addr().unwrap()), poll.registry()).unwrap();
    let mut peer = TcpStream::connect(there).unwrap();
    let (_inner, _) = {
        assert!(!turn(|turn| tcp.take_turn(LISTENER, turn)));
        client.accept().unwrap()
    };
    peer.write_all(&[0; 512 * 1024]).unwrap();
    assert!(turn(|turn| tcp.take_turn(PEER, turn)), "there is more");
    assert!((0..100).any(|_| !turn(|turn| tcp.take_turn(PEER, turn))), "and an end of it");
}

#[test]
fn a_socket_that_becomes_ready_again_before_its_turn_has_one_turn() {
    let mut ready = ReadyQueue::default();
    for token in [PEER, LISTENER, PEER, WAKE] {
        ready.push(token);
    }
    assert_eq!([ready.pop(), ready.pop(), ready.pop()], [Some(PEER), Some(LISTENER), None]);
    ready.push(PEER);
    assert_eq!(ready.pop(), Some(PEER));
    assert!(ready.is_empty());
}

/// The mapping of a client; its address outside.
fn open_udp(udp: &mut UdpRelay, client: &UdpSocket) -> SocketAddrV4 {
    let there = v4(UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap());
    let poll = Poll::new().unwrap();
    udp.open(LISTENER, there, v4(client.local_addr().unwrap()), poll.registry()).unwrap();
    there
}

/// The names given out begin with that of the first peer, or connection.
fn turn<T>(work: impl FnOnce(&mut Turn<'_>) -> T) -> T {
    let poll = Poll::new().unwrap();
    let mut tokens = Tokens::new();
    tokens.next(|_| false);
    work(&mut Turn { registry: poll.registry(), tokens: &mut tokens, now: Instant::now() })
}

/// How many datagrams there are, and from whom the last came.
fn waiting(socket: &UdpSocket) -> (usize, Option<SocketAddr>) {
    socket.set_nonblocking(true).unwrap();
    let received = std::iter::from_fn(|| socket.recv_from(&mut [0; 64]).ok().map(|(_, from)| from));
    received.fold((0, None), |(count, _), from| (count + 1, Some(from)))
}

fn v4(address: SocketAddr) -> SocketAddrV4 {
    let SocketAddr::V4(address) = address else { panic!("{address} is not IPv4") };
    address
}

const LISTENER: Token = Token(2);
const PEER: Token = Token(4);
