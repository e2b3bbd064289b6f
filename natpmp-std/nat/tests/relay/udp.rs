//! Datagrams.

use std::io::ErrorKind;
use std::net::UdpSocket;
use std::time::{Duration, Instant};

use natpmp_proto::Protocol::Udp;

use super::{OTHER_PORT, Outside, PORT, eventually, receive, udp, udp_peer};

#[test]
fn every_peer_hears_the_answers_to_its_own_datagrams() {
    let mut outside = Outside::new();
    let client = udp();
    let there = outside.install(Udp, client.local_addr().unwrap(), PORT);
    let peers: Vec<UdpSocket> = (0..20).map(|_| udp_peer(there)).collect();
    for round in 0..3 {
        for (number, peer) in peers.iter().enumerate() {
            peer.send(format!("{number} {round}").as_bytes()).unwrap();
        }
        for _ in &peers {
            let (asked, from) = receive(&client);
            client.send_to(&[&asked[..], b"!"].concat(), from).unwrap();
        }
        for (number, peer) in peers.iter().enumerate() {
            let (answer, from) = receive(peer);
            assert_eq!((answer, from), (format!("{number} {round}!").into_bytes(), there));
        }
    }
}

#[test]
fn the_largest_datagrams_and_empty_ones_pass_both_ways() {
    let mut outside = Outside::new();
    let client = udp();
    let peer = udp_peer(outside.install(Udp, client.local_addr().unwrap(), PORT));
    for length in [65_507, 0, 1, 1_500] {
        let sent: Vec<u8> = (0..length).map(|i| i as u8).collect();
        peer.send(&sent).unwrap();
        let (received, from) = receive(&client);
        assert!(received == sent, "{length} bytes inward");
        client.send_to(&sent, from).unwrap();
        assert!(receive(&peer).0 == sent, "{length} bytes outward");
    }
}

#[test]
fn the_client_goes_on_answering_a_peer_that_is_silent() {
    let mut outside = Outside::new();
    let client = udp();
    let peer = udp_peer(outside.install(Udp, client.local_addr().unwrap(), PORT));
    peer.send(b"tell me more").unwrap();
    let (_, from) = receive(&client);
    for number in 0..100u8 {
        client.send_to(&[number], from).unwrap();
        assert_eq!(receive(&peer).0, [number]);
    }
}

/// G23 in spirit: senders that are forged do not push out one that is served.
#[test]
fn a_peer_above_the_bound_takes_the_place_of_the_quietest_without_an_answer() {
    let mut outside = Outside::with(|limits| limits.peers_per_mapping = 9);
    let client = udp();
    let there = outside.install(Udp, client.local_addr().unwrap(), PORT);
    let ask = |peer: &UdpSocket| {
        peer.send(b"?").unwrap();
        receive(&client).1
    };
    let served = udp_peer(there);
    let as_served = ask(&served);
    client.send_to(b"!", as_served).unwrap();
    receive(&served);
    let quiet: Vec<_> = (0..8).map(|_| udp_peer(there)).collect();
    let known_as: Vec<_> = quiet.iter().map(ask).collect();

    for _ in 0..4 {
        ask(&udp_peer(there));
    }
    assert_eq!(ask(&served), as_served);
    assert_eq!(quiet[4..].iter().map(ask).collect::<Vec<_>>(), known_as[4..], "they are known still");
    assert_ne!(ask(&quiet[0]), known_as[0], "it had given way, and is new again");
    for _ in 0..50 {
        ask(&udp_peer(there));
    }
    assert_eq!(ask(&served), as_served);
}

#[test]
fn peers_are_bounded_in_all() {
    let mut outside = Outside::with(|limits| limits.peers = 4);
    let client = udp();
    let there = outside.install(Udp, client.local_addr().unwrap(), PORT);
    let peers: Vec<_> = (0..5).map(|_| udp_peer(there)).collect();
    let ask = |peer: &UdpSocket| {
        peer.send(b"?").unwrap();
        receive(&client).1
    };
    let known_as: Vec<_> = peers.iter().map(ask).collect();
    assert_eq!(ask(&peers[1]), known_as[1]);
    assert_ne!(ask(&peers[0]), known_as[0]);
}

#[test]
fn many_peers_of_one_mapping_do_not_push_out_those_of_another() {
    let mut outside = Outside::with(|limits| (limits.peers_per_mapping, limits.peers) = (6, 6));
    let (client, other) = (udp(), udp());
    let there = outside.install(Udp, client.local_addr().unwrap(), PORT);
    let quiet = udp_peer(outside.install(Udp, other.local_addr().unwrap(), OTHER_PORT));
    quiet.send(b"?").unwrap();
    let known_as = receive(&other).1;
    for _ in 0..50 {
        udp_peer(there).send(b"?").unwrap();
        receive(&client);
    }
    quiet.send(b"?").unwrap();
    assert_eq!(receive(&other).1, known_as);
}

#[test]
fn a_peer_that_is_idle_is_forgotten_and_welcome_again() {
    let mut outside = Outside::with(|limits| limits.idle = Duration::from_millis(50));
    let client = udp();
    let peer = udp_peer(outside.install(Udp, client.local_addr().unwrap(), PORT));
    peer.send(b"?").unwrap();
    let asked = Instant::now();
    let (_, from) = receive(&client);
    // The port is free when the socket for the peer is closed.
    eventually("it is forgotten", || UdpSocket::bind(("0.0.0.0", from.port())).is_ok());
    assert!(asked.elapsed() >= Duration::from_millis(40), "{:?}", asked.elapsed());
    peer.send(b"again").unwrap();
    let (again, from) = receive(&client);
    assert_eq!(again, b"again");
    client.send_to(b"!", from).unwrap();
    assert_eq!(receive(&peer).0, b"!");
}

#[test]
fn after_its_removal_a_mapping_is_closed_in_both_directions() {
    let mut outside = Outside::new();
    let client = udp();
    let internal = client.local_addr().unwrap();
    let peer = udp_peer(outside.install(Udp, internal, PORT));
    peer.send(b"?").unwrap();
    let (_, from) = receive(&client);
    outside.remove(Udp, internal, PORT);

    peer.send(b"?").unwrap();
    assert_eq!(peer.recv(&mut [0; 8]).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    client.connect(from).unwrap();
    client.send(b"!").unwrap();
    assert_eq!(client.recv(&mut [0; 8]).unwrap_err().kind(), ErrorKind::ConnectionRefused);
}

#[test]
fn two_mappings_do_not_keep_each_other_busy() {
    let mut outside = Outside::new();
    let (client, other) = (udp(), udp());
    let there = outside.install(Udp, client.local_addr().unwrap(), PORT);
    // Somebody asks from the port that becomes a mapping before the answer comes.
    let asking = UdpSocket::bind(outside.at(OTHER_PORT)).unwrap();
    asking.send_to(b"?", there).unwrap();
    let (_, from) = receive(&client);
    drop(asking);
    let other_there = outside.install(Udp, other.local_addr().unwrap(), OTHER_PORT);
    client.send_to(b"an answer to the other mapping", from).unwrap();
    // It has passed through when the next one has.
    let witness = udp_peer(there);
    witness.send(b"?").unwrap();
    let (_, from) = receive(&client);
    client.send_to(b"!", from).unwrap();
    receive(&witness);

    udp_peer(other_there).send(b"from a peer").unwrap();
    assert_eq!(receive(&other).0, b"from a peer");
}
