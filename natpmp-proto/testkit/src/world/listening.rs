use std::collections::HashSet;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::sync::Mutex;

/// Builds a client that hears announcements on a port of the loopback interface that nobody else has, and returns that
/// address too. `build` is `None` if the client cannot listen there.
///
/// The port is found by letting the system choose one. Should somebody else get it in the moment before the client opens
/// it, another is tried.
///
/// # Panics
/// If there is none.
pub fn listening<C>(mut build: impl FnMut(SocketAddrV4) -> Option<C>) -> (C, SocketAddrV4) {
    static GIVEN: Mutex<Option<HashSet<u16>>> = Mutex::new(None);
    for _ in 0..100 {
        let address = free_address();
        // A client shares its port with whoever allows it, so that another client of these tests would not be noticed.
        if !GIVEN.lock().unwrap().get_or_insert_default().insert(address.port()) {
            continue;
        }
        if let Some(client) = build(address) {
            return (client, address);
        }
    }
    panic!("no port for announcements could be had");
}

fn free_address() -> SocketAddrV4 {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    match socket.local_addr().unwrap() {
        SocketAddr::V4(address) => address,
        SocketAddr::V6(address) => panic!("{address} is not of IPv4"),
    }
}
