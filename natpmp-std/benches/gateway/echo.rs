//! The limit: what the system takes to hear a datagram and to answer it. The same calls in the same order as the gateway's worker,
//! and an answer of the same length, without a look at what was asked.

use std::io::{IoSlice, IoSliceMut};
use std::net::SocketAddrV4;
use std::os::fd::AsRawFd;
use std::time::Duration;

use mio::net::UdpSocket;
use mio::{Events, Interest, Poll, Token};
use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrIn, recvmmsg, sendmmsg};

/// A system call for each datagram, as in the gateway.
pub(crate) fn one_by_one(address: SocketAddrV4) {
    let mut buffer = [0; LONGEST];
    serve(address, |socket| {
        for _ in 0..AT_ONCE {
            let Ok((length, from)) = socket.recv_from(&mut buffer) else { return false };
            let _ = socket.send_to(&buffer[..answer(length)], from);
        }
        true
    });
}

/// A system call for many.
pub(crate) fn many_at_once(address: SocketAddrV4) {
    let mut buffers = vec![[0; LONGEST]; BATCH];
    let (mut arrived, mut said) = (headers(), headers());
    serve(address, |socket| {
        for _ in 0..AT_ONCE / BATCH {
            let (mut from, mut lengths, mut count) = ([None; BATCH], [0; BATCH], 0);
            let mut places = buffers.iter_mut();
            let mut slices: [_; BATCH] = std::array::from_fn(|_| [IoSliceMut::new(places.next().unwrap())]);
            let received = recvmmsg(socket.as_raw_fd(), &mut arrived, slices.iter_mut(), MsgFlags::MSG_DONTWAIT, None);
            for message in received.into_iter().flatten() {
                (from[count], lengths[count]) = (message.address, message.bytes);
                count += 1;
            }
            let slices: [_; BATCH] = std::array::from_fn(|at| [IoSlice::new(&buffers[at][..answer(lengths[at])])]);
            if count > 0 {
                let flags = MsgFlags::MSG_DONTWAIT;
                let _ = sendmmsg(socket.as_raw_fd(), &mut said, slices[..count].iter(), &from[..count], [], flags);
            }
            if count < BATCH {
                return false;
            }
        }
        true
    });
}

/// Waits, and has `turn` say whether there may be more.
fn serve(address: SocketAddrV4, mut turn: impl FnMut(&UdpSocket) -> bool) {
    let mut socket = UdpSocket::bind(address.into()).unwrap();
    println!("{}", socket.local_addr().unwrap());
    let mut poll = Poll::new().unwrap();
    poll.registry().register(&mut socket, Token(0), Interest::READABLE).unwrap();
    let mut events = Events::with_capacity(64);
    loop {
        let has_more = turn(&socket);
        poll.poll(&mut events, has_more.then_some(Duration::ZERO)).unwrap();
    }
}

fn headers() -> MultiHeaders<SockaddrIn> {
    MultiHeaders::preallocate(BATCH, None)
}

/// How long the answer to a request is.
const fn answer(request: usize) -> usize {
    if request == 2 { 12 } else { 16 }
}

const LONGEST: usize = 1_100;
const AT_ONCE: usize = 256;
const BATCH: usize = 32;
