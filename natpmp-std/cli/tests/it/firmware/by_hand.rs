//! What the firmware's README has one do by hand, without privileges: QEMU's own network, and our gateway on the loopback interface. A host of
//! the lab serves as the machine, for its ports' sake.

use std::net::{Ipv4Addr, UdpSocket};
use std::time::Duration;

use natpmp_lab::wait_until;

use super::client::said;
use super::machine::{Firmware, RUN};
use super::{NATPMP, SOON};

#[test]
fn firmware_on_qemus_own_network_is_reached_through_natpmp_serve() {
    let Some((firmware, lab)) = Firmware::with_lab_or_skip(&[]) else { return };
    let host = lab.internet();
    let mut serve =
        host.spawn(NATPMP, &["serve", "--internal", "127.0.0.1", "--external", "127.0.0.2", "--backend", "relay"]);
    let mut board = host.spawn("sh", &[RUN, &firmware.image("client-dhcp")]);
    board.line(SOON, said("external address: 127.0.0.2"));
    board.line(SOON, said("mapped: udp 4000 is open on port 4000"));
    serve.line(SOON, said("udp 127.0.0.1:4000 is open at external port 4000"));
    let is_answered = || {
        let socket = host.within(|| UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
        socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        socket.send_to(b"hello", (Ipv4Addr::new(127, 0, 0, 2), 4000)).unwrap();
        let mut answer = [0; 16];
        socket.recv(&mut answer).is_ok_and(|length| answer[..length] == *b"hello\x0a\x00\x02\x0f")
    };
    assert!(wait_until(SOON, is_answered));
}
