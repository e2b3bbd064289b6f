use std::net::{Ipv4Addr, SocketAddr};
use std::io::{Read, IoSlice, IoSliceMut};
use std::os::fd::AsRawFd;
use std::time::Duration;
use mio::{Events, Interest, Poll, Token};
use mio::net::UdpSocket;
use nix::sys::socket::{recvmmsg, sendmmsg, MsgFlags, MultiHeaders, SockaddrIn};
use natpmp_std::gateway::nat::Nat;
use natpmp_std::gateway::{GatewayConfig, External, Internal, NatFailure, NatRequest, Server};

pub(crate) fn serve(role: &str, rest: &[&str]) {
    crate::load::pin(0);
    match role {
        "echo" => { std::thread::spawn(echo); }
        "echo-many" => { std::thread::spawn(echo_many); }
        "gateway" => return gateway(rest),
        _ => panic!("{role}"),
    }
    wait();
}
fn wait() { let _ = std::io::stdin().read(&mut [0]); }

fn open() -> UdpSocket {
    let s = UdpSocket::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
    println!("{}", s.local_addr().unwrap());
    s
}

fn echo() {
    let mut socket = open();
    let mut poll = Poll::new().unwrap();
    poll.registry().register(&mut socket, Token(0), Interest::READABLE).unwrap();
    let mut events = Events::with_capacity(64);
    let mut buffer = [0; 1100];
    loop {
        let mut more = true;
        for _ in 0..256 {
            match socket.recv_from(&mut buffer) {
                Ok((n, from)) => { let n = if n == 2 { 12 } else { 16 }; let _ = socket.send_to(&buffer[..n], from); }
                Err(_) => { more = false; break; }
            }
        }
        poll.poll(&mut events, more.then_some(Duration::ZERO)).unwrap();
    }
}

fn echo_many() {
    let mut socket = open();
    let mut poll = Poll::new().unwrap();
    poll.registry().register(&mut socket, Token(0), Interest::READABLE).unwrap();
    let mut events = Events::with_capacity(64);
    const N: usize = 32;
    let mut buffers = vec![[0u8; 1100]; N];
    let mut recv = MultiHeaders::<SockaddrIn>::preallocate(N, None);
    let mut send = MultiHeaders::<SockaddrIn>::preallocate(N, None);
    loop {
        let mut more = true;
        for _ in 0..8 {
            let mut got = 0;
            let mut from = [None; N];
            let mut lens = [0; N];
            {
                let mut slots = buffers.iter_mut();
                let mut iov: [[IoSliceMut<'_>; 1]; N] = std::array::from_fn(|_| [IoSliceMut::new(slots.next().unwrap())]);
                match recvmmsg(socket.as_raw_fd(), &mut recv, iov.iter_mut(), MsgFlags::MSG_DONTWAIT, None) {
                    Ok(r) => for m in r { from[got] = m.address; lens[got] = m.bytes; got += 1; },
                    Err(_) => {}
                }
            }
            if got == 0 { more = false; break; }
            let iov: [[IoSlice<'_>; 1]; N] = std::array::from_fn(|i| [IoSlice::new(&buffers[i][..if lens[i] == 2 { 12 } else { 16 }])]);
            let _ = sendmmsg(socket.as_raw_fd(), &mut send, iov[..got].iter(), &from[..got], [], MsgFlags::MSG_DONTWAIT);
            if got < N { more = false; break; }
        }
        poll.poll(&mut events, more.then_some(Duration::ZERO)).unwrap();
    }
}

struct Yes;
impl Nat for Yes {
    fn apply(&mut self, requests: &[NatRequest]) -> Vec<Result<(), NatFailure>> { vec![Ok(()); requests.len()] }
    fn set_external_address(&mut self, _: Option<Ipv4Addr>) {}
    fn end(&mut self) {}
}

fn gateway(rest: &[&str]) {
    let mut builder = Server::builder(|_| Ok(Yes)).internal(Internal::Address(Ipv4Addr::LOCALHOST)).external(External::Address(Ipv4Addr::new(11,22,33,44))).port(0)
        .announce_to("127.0.0.1:9".parse().unwrap()).config(GatewayConfig::new().per_client(65_534));
    if let Some(path) = rest.get(1) { builder = builder.state_file(path); }
    let server = builder.start().unwrap();
    println!("{}", server.addresses()[0]);
    wait();
}
