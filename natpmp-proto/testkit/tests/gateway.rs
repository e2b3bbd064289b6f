//! The gateway for tests is itself one: as the RFC has it, and with its faults; and on a real socket.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::time::Duration;

use natpmp_proto::Instant;
use natpmp_testkit::gateway::{Announces, Destination, FailureForm, Faults, Gateway, Reach, Served, VersionError};

const MAP: [u8; 12] = [0, 1, 0, 0, 0x0f, 0xa0, 0, 0, 0, 0, 0, 120];
const CLIENT: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(192, 168, 1, 100), 40_000);

fn ask(gateway: &mut Gateway, now: Instant, bytes: &[u8]) -> Option<Vec<u8>> {
    gateway.handle(now, CLIENT, bytes);
    let outgoing = gateway.poll_transmit(now)?;
    assert_eq!(outgoing.to, Destination::Host(CLIENT));
    Some(outgoing.bytes)
}

#[test]
fn its_answers_are_those_of_the_rfc() {
    let gateway = &mut Gateway::new();
    let now = Instant::from_secs(24);
    for (request, answer) in [
        (&[0, 0][..], &[0, 128, 0, 0, 0, 0, 4, 0, 11, 22, 33, 44][..]),
        (&MAP, &[0, 129, 0, 0, 0, 0, 4, 0, 0x0f, 0xa0, 0x0f, 0xa0, 0, 0, 0, 120]),
        // The same mapping, whatever is suggested now.
        (
            &[0, 1, 0, 0, 0x0f, 0xa0, 0x0f, 0xa1, 0, 0, 0, 60],
            &[0, 129, 0, 0, 0, 0, 4, 0, 0x0f, 0xa0, 0x0f, 0xa0, 0, 0, 0, 60],
        ),
        (&[0, 1, 0, 0, 0x0f, 0xa0, 0, 0, 0, 0, 0, 0], &[0, 129, 0, 0, 0, 0, 4, 0, 0x0f, 0xa0, 0, 0, 0, 0, 0, 0]),
        (&[0, 9, 1, 2, 3, 4], &[0, 137, 0, 5, 3, 4]),
        (&[1, 0], &[0, 128, 0, 1, 0, 0, 4, 0]),
    ] {
        assert_eq!(ask(gateway, now, request).as_deref(), Some(answer), "{request:02x?}");
    }
    for silent in [&[0][..], &[0, 128], &[0, 1, 0, 0], &[0, 200, 0, 0]] {
        assert_eq!(ask(gateway, now, silent), None);
    }
    assert_eq!(gateway.leases(now), []);
}

#[test]
fn a_lease_ends_and_its_port_is_free_again() {
    let gateway = &mut Gateway::new();
    ask(gateway, Instant::from_secs(0), &MAP).unwrap();
    assert_eq!(gateway.leases(Instant::from_secs(119)).len(), 1);
    assert_eq!(gateway.leases(Instant::from_secs(120)), []);
}

#[test]
fn its_faults_are_those_met_in_the_field() {
    let now = Instant::from_secs(24);
    let refuse = |failure_form| Faults { refuse_map: Some(2), failure_form, ..Faults::default() };
    let version = |form| Faults { version_error: Some(form), ..Faults::default() };
    let mut pcp = vec![0, 0x80, 0, 3];
    pcp.resize(24, 0);
    for (faults, answer) in [
        (refuse(FailureForm::Full), vec![0, 129, 0, 2, 0, 0, 4, 0, 0x0f, 0xa0, 0, 0, 0, 0, 0, 0]),
        (refuse(FailureForm::Echo), vec![0, 129, 0, 2, 0, 0, 4, 0, 0x0f, 0xa0, 0x0f, 0xa0, 0, 0, 0, 120]),
        (refuse(FailureForm::Short), vec![0, 129, 0, 2, 0, 0, 4, 0]),
        (refuse(FailureForm::Shortest), vec![0, 129, 0, 2]),
        (version(VersionError::Opcode0), vec![0, 0, 0, 1, 0, 0, 4, 0]),
        (version(VersionError::Opcode128Plus), vec![0, 129, 0, 1, 0, 0, 4, 0]),
        (version(VersionError::PcpUnderVersion0), pcp),
    ] {
        assert_eq!(ask(&mut Gateway::with(faults.clone()), now, &MAP), Some(answer), "{faults:?}");
    }
}

#[test]
fn it_announces_itself_ten_times_with_doubling_gaps() {
    let mut gateway = Gateway::with(Faults { announces: Announces::NatPmp, ..Faults::default() });
    gateway.restart(Instant::ZERO);
    let mut times = Vec::new();
    while let Some(at) = gateway.poll_timeout() {
        let outgoing = gateway.poll_transmit(at).unwrap();
        assert_eq!(outgoing.to, Destination::AllHosts);
        times.push(at.as_micros() / 1_000);
    }
    assert_eq!(times, [0, 250, 750, 1_750, 3_750, 7_750, 15_750, 31_750, 63_750, 127_750]);
}

#[test]
fn on_a_real_socket_it_answers_announces_goes_away_and_comes_back() {
    let served = Served::start(Gateway::with(Faults { announces: Announces::Pcp, ..Faults::default() }));
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    socket.connect(served.address()).unwrap();
    let mut buffer = [0; 64];

    socket.send(&MAP).unwrap();
    assert_eq!(socket.recv(&mut buffer).unwrap(), 16);
    assert_eq!(served.with(|gateway, now| (gateway.leases(now).len(), gateway.received().len())), (1, 1));

    served.with(|gateway, now| gateway.restart(now));
    assert_eq!(socket.recv(&mut buffer).unwrap(), 24);

    served.with(|gateway, _| gateway.faults.reach = Reach::Closed);
    socket.send(&MAP).unwrap();
    assert_eq!(socket.recv(&mut buffer).unwrap_err().kind(), ErrorKind::ConnectionRefused);

    served.with(|gateway, _| gateway.faults.reach = Reach::Open);
    socket.send(&[0, 0]).unwrap();
    assert_eq!(socket.recv(&mut buffer).unwrap(), 12);
}
