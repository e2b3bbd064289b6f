//! Streams.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use natpmp_proto::Protocol::{Tcp, Udp};
use socket2::SockRef;

use super::{OTHER_PORT, Outside, PORT, SOON, accept, connect, eventually, listener, udp, udp_peer, with_patience};

#[test]
fn bytes_pass_both_ways_on_several_connections_at_once() {
    let mut outside = Outside::new();
    let client = listener();
    let there = outside.install(Tcp, client.local_addr().unwrap(), PORT);
    let sent: Vec<u8> = (0..1_000_000u32).map(|i| (i / 7) as u8).collect();
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let (mut reading, mut writing) = (connect(there), Vec::new());
                let mut stream = reading.try_clone().unwrap();
                let sender = scope.spawn({
                    let sent = &sent;
                    move || {
                        stream.write_all(sent).unwrap();
                        stream.shutdown(Shutdown::Write).unwrap();
                    }
                });
                reading.read_to_end(&mut writing).unwrap();
                sender.join().unwrap();
                assert!(writing == sent, "{} bytes came back", writing.len());
            });
        }
        for _ in 0..8 {
            let stream = accept(&client);
            scope.spawn(move || std::io::copy(&mut &stream, &mut &stream).unwrap());
        }
    });
}

#[test]
fn the_end_of_one_direction_leaves_the_other_open() {
    let mut outside = Outside::new();
    let client = listener();
    let there = outside.install(Tcp, client.local_addr().unwrap(), PORT);
    for peer_ends_first in [true, false] {
        let peer = connect(there);
        let inner = accept(&client);
        let (mut first, mut second) = if peer_ends_first { (peer, inner) } else { (inner, peer) };
        first.write_all(b"that is all").unwrap();
        first.shutdown(Shutdown::Write).unwrap();
        let mut arrived = String::new();
        second.read_to_string(&mut arrived).unwrap();
        assert_eq!(arrived, "that is all");
        for _ in 0..3 {
            second.write_all(b"and yet ").unwrap();
            first.read_exact(&mut [0; 8]).unwrap();
        }
        drop(second);
        assert_eq!(first.read(&mut [0; 8]).unwrap(), 0, "a clean end");
    }
}

#[test]
fn who_reads_slowly_is_sent_to_slowly_and_loses_nothing() {
    let mut outside = Outside::new();
    let client = listener();
    let there = outside.install(Tcp, client.local_addr().unwrap(), PORT);
    for peer_reads in [false, true] {
        let peer = connect(there);
        let inner = accept(&client);
        let (mut writer, mut reader) = if peer_reads { (inner, peer) } else { (peer, inner) };
        writer.set_write_timeout(Some(Duration::from_millis(200))).unwrap();
        let block: Vec<u8> = (0..64 * 1024u32).map(|i| (i % 251) as u8).collect();
        let mut written = 0usize;
        // It is full when nothing was taken for a while.
        while let Ok(taken) = writer.write(&block[written % block.len()..]) {
            written += taken;
            assert!(written < 64 << 20, "the relay swallows everything");
        }
        writer.shutdown(Shutdown::Write).unwrap();
        let mut received = Vec::new();
        reader.read_to_end(&mut received).unwrap();
        assert_eq!(received.len(), written);
        assert!(received.iter().enumerate().all(|(i, byte)| *byte == block[i % block.len()]), "in order");
    }
}

/// G21.
#[test]
fn removal_resets_the_connections_and_new_ones_are_refused() {
    let mut outside = Outside::new();
    let client = listener();
    let internal = client.local_addr().unwrap();
    let there = outside.install(Tcp, internal, PORT);
    let other = listener();
    let other_there = outside.install(Tcp, other.local_addr().unwrap(), OTHER_PORT);
    let (mut kept, mut kept_inner) = (connect(other_there), accept(&other));
    let (mut quiet, mut quiet_inner) = (connect(there), accept(&client));
    let (mut busy, busy_inner) = (connect(there), accept(&client));
    // One that is in the middle of its bytes.
    busy.set_write_timeout(Some(Duration::from_millis(50))).unwrap();
    while busy.write(&[7; 64 * 1024]).is_ok() {}

    outside.remove(Tcp, internal, PORT);
    assert!(is_reset(&mut quiet) && is_reset(&mut quiet_inner));
    assert!(is_reset(&mut busy) && ends_in_reset(busy_inner));
    assert_eq!(TcpStream::connect(there).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    client.set_nonblocking(true).unwrap();
    assert_eq!(client.accept().unwrap_err().kind(), ErrorKind::WouldBlock, "nothing reached the client since");

    kept.write_all(b"still here").unwrap();
    kept_inner.read_exact(&mut [0; 10]).unwrap();
}

#[test]
fn a_reset_of_one_side_is_passed_to_the_other() {
    let mut outside = Outside::new();
    let client = listener();
    let there = outside.install(Tcp, client.local_addr().unwrap(), PORT);
    for peer_resets in [true, false] {
        for has_ended in [false, true] {
            let (peer, inner) = (connect(there), accept(&client));
            let (mut first, mut second) = if peer_resets { (peer, inner) } else { (inner, peer) };
            if has_ended {
                // Then nothing more is read from it.
                first.shutdown(Shutdown::Write).unwrap();
                assert_eq!(second.read(&mut [0; 1]).unwrap(), 0);
            } else {
                first.write_all(b".").unwrap();
                second.read_exact(&mut [0; 1]).unwrap();
            }
            SockRef::from(&first).set_linger(Some(Duration::ZERO)).unwrap();
            drop(first);
            // Nothing is written meanwhile, which would show it too.
            eventually("the other side is reset", || second.take_error().unwrap().is_some());
        }
    }
}

#[test]
fn a_client_that_does_not_accept_has_its_peers_reset() {
    let mut outside = Outside::new();
    let closed = listener();
    let internal = closed.local_addr().unwrap();
    drop(closed);
    let there = outside.install(Tcp, internal, PORT);
    assert!(is_turned_away(there));
    let client = TcpListener::bind(internal).unwrap();
    let mut peer = connect(there);
    accept(&client).write_all(b"now").unwrap();
    peer.read_exact(&mut [0; 3]).unwrap();
}

#[test]
fn connections_above_the_bounds_are_reset_and_those_that_stand_stay() {
    let mut outside = Outside::with(|limits| (limits.connections_per_mapping, limits.connections) = (2, 3));
    let (client, other) = (listener(), listener());
    let there = outside.install(Tcp, client.local_addr().unwrap(), PORT);
    let other_there = outside.install(Tcp, other.local_addr().unwrap(), OTHER_PORT);
    let mut standing = [(connect(there), accept(&client)), (connect(there), accept(&client))];
    assert!(is_turned_away(there), "one too many for the mapping");
    let _third = (connect(other_there), accept(&other));
    assert!(is_turned_away(other_there), "one too many in all");
    for (peer, inner) in &mut standing {
        peer.write_all(b"?").unwrap();
        inner.read_exact(&mut [0; 1]).unwrap();
    }
    drop(standing);
    client.set_nonblocking(true).unwrap();
    eventually("there is room again", || {
        let _peer = TcpStream::connect(there);
        client.accept().is_ok()
    });
}

#[test]
fn a_flood_on_some_mappings_does_not_starve_another() {
    let mut outside = Outside::new();
    let (client, flooded, streamed) = (listener(), udp(), listener());
    let there = outside.install(Tcp, client.local_addr().unwrap(), PORT);
    let flooded_there = outside.install(Udp, flooded.local_addr().unwrap(), OTHER_PORT);
    let streamed_there = outside.install(Tcp, streamed.local_addr().unwrap(), OTHER_PORT);
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let peer = udp_peer(flooded_there);
            while !is_over.load(Ordering::Relaxed) {
                let _ = peer.send(&[0; 1_000]);
            }
        });
        scope.spawn(|| {
            let (mut peer, mut inner) = (connect(streamed_there), accept(&streamed));
            scope.spawn(move || while matches!(inner.read(&mut [0; 64 * 1024]), Ok(1..)) {});
            while !is_over.load(Ordering::Relaxed) {
                let _ = peer.write(&[0; 64 * 1024]);
            }
        });
        let (mut peer, mut inner) = (connect(there), accept(&client));
        let began = std::time::Instant::now();
        for _ in 0..200 {
            peer.write_all(b"?").unwrap();
            inner.read_exact(&mut [0; 1]).unwrap();
        }
        is_over.store(true, Ordering::Relaxed);
        println!("200 passed in {:?}", began.elapsed());
        assert!(began.elapsed() < SOON);
    });
}

/// Whether a connection to there is reset, be it before or after it stood.
fn is_turned_away(there: SocketAddr) -> bool {
    match TcpStream::connect_timeout(&there, SOON) {
        Ok(stream) => is_reset(&mut with_patience(stream)),
        Err(error) => error.kind() == ErrorKind::ConnectionReset,
    }
}

/// Whether it reads nothing but a reset.
fn is_reset(stream: &mut TcpStream) -> bool {
    stream.read(&mut [0; 1]).is_err_and(|error| error.kind() == ErrorKind::ConnectionReset)
}

/// Whether a reset comes after what was under way.
fn ends_in_reset(mut stream: TcpStream) -> bool {
    let end = std::io::copy(&mut stream, &mut std::io::sink());
    end.is_err_and(|error| error.kind() == ErrorKind::ConnectionReset)
}
