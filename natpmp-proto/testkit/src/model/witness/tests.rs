//! The witness complains of a client that is not correct.

use std::time::Duration;

use natpmp_proto::client::Received;
use natpmp_proto::wire::{Encoded, Request, Response};
use natpmp_proto::{Discard, Event, Instant, MapRequest, Mapping, Protocol, Transmit, TransmitKind};

use super::{Rules, Witness};

const GATEWAY: std::net::SocketAddrV4 = std::net::SocketAddrV4::new(std::net::Ipv4Addr::new(192, 168, 1, 1), 5351);
const WISH: MapRequest = MapRequest::new(Protocol::Udp, 4_000);

fn at(millis: u64) -> Instant {
    Instant::from_millis(1_000_000 + millis)
}

/// A client keeps a mapping, and has not asked for it yet.
fn keeping() -> Witness {
    let mut witness = Witness::new(Rules::new(GATEWAY), 8);
    assert_eq!(witness.want(at(0), &WISH, true), Ok(()));
    witness
}

/// It was granted on port 5000 for 100 s at the beginning, and told.
fn open() -> Witness {
    let mut witness = keeping();
    sends(&mut witness, 0, asks(4_000), 0);
    receives(&mut witness, 0, grant(77, 5_000, 100));
    let mapping = Mapping { protocol: Protocol::Udp, internal_port: 4_000, external_port: 5_000, lifetime: 100 };
    witness.check_event(&Event::Mapped(mapping));
    witness.check_wait(at(0), Some(at(50_000)));
    witness
}

fn asks(suggested: u16) -> Request {
    Request::Map { protocol: Protocol::Udp, internal_port: 4_000, suggested_external_port: suggested, lifetime: 7_200 }
}

fn grant(epoch: u32, port: u16, lifetime: u32) -> Encoded {
    let protocol = Protocol::Udp;
    Response::Map { protocol, epoch, internal_port: 4_000, external_port: port, lifetime }.encode()
}

fn sends(witness: &mut Witness, millis: u64, request: Request, resends: u8) {
    witness.pass(at(millis));
    witness.check_transmit(
        at(millis),
        &Transmit { to: GATEWAY, kind: TransmitKind::Request { resends }, payload: request.encode() },
    );
}

fn receives(witness: &mut Witness, millis: u64, bytes: Encoded) {
    witness.check_datagram(at(millis), GATEWAY, &bytes, false, &Ok(Received::Answer));
}

#[test]
fn a_correct_client_is_not_complained_of() {
    let mut witness = open();
    sends(&mut witness, 50_000, asks(5_000), 0);
    sends(&mut witness, 50_250, asks(5_000), 1);
    witness.check_wait(at(50_250), Some(at(50_750)));
}

#[test]
#[should_panic = "before it is due"]
fn a_renewal_before_half_of_the_lease() {
    sends(&mut open(), 49_999, asks(5_000), 0);
}

#[test]
#[should_panic = "nothing is sent"]
fn no_renewal_at_half_of_the_lease() {
    let mut witness = open();
    witness.pass(at(50_000));
    witness.check_wait(at(50_000), Some(at(60_000)));
}

#[test]
#[should_panic = "waits for"]
fn a_wait_that_is_too_long() {
    let mut witness = open();
    witness.check_wait(at(1), Some(at(50_001)));
}

#[test]
#[should_panic = "waits for"]
fn no_wait_where_there_is_something_to_wait_for() {
    open().check_wait(at(1), None);
}

#[test]
#[should_panic = "another form"]
fn a_renewal_that_suggests_another_port_than_the_assigned_one() {
    sends(&mut open(), 50_000, asks(4_000), 0);
}

#[test]
#[should_panic = "somebody else"]
fn a_request_to_somebody_else() {
    let to = std::net::SocketAddrV4::new(*GATEWAY.ip(), 5_350);
    keeping().check_transmit(
        at(0),
        &Transmit { to, kind: TransmitKind::Request { resends: 0 }, payload: asks(4_000).encode() },
    );
}

#[test]
#[should_panic = "a second request in flight"]
fn a_second_request_in_flight() {
    let mut witness = keeping();
    witness.ask_address(at(0));
    sends(&mut witness, 0, asks(4_000), 0);
    sends(&mut witness, 1, Request::ExternalAddress, 0);
}

#[test]
#[should_panic = "by the schedule"]
fn a_resend_before_the_schedule_has_it() {
    let mut witness = keeping();
    sends(&mut witness, 0, asks(4_000), 0);
    sends(&mut witness, 249, asks(4_000), 1);
}

#[test]
#[should_panic = "nobody wants it"]
fn a_request_that_nobody_wants() {
    sends(&mut open(), 1, Request::ExternalAddress, 0);
}

#[test]
#[should_panic = "nobody wants it"]
fn a_deletion_after_the_end_of_the_lease() {
    let mut witness = open();
    assert_eq!(witness.unmap(at(99_999), (Protocol::Udp, 4_000)), Ok(()));
    sends(&mut witness, 100_000, Request::delete(Protocol::Udp, 4_000), 0);
}

#[test]
#[should_panic = "answers what is in flight"]
fn an_answer_that_is_dropped() {
    let mut witness = keeping();
    sends(&mut witness, 0, asks(4_000), 0);
    witness.check_datagram(at(1), GATEWAY, &grant(77, 5_000, 100), false, &Err(Discard::NotAwaited));
}

#[test]
#[should_panic = "C07"]
fn an_answer_from_somebody_else_that_is_taken() {
    let mut witness = keeping();
    sends(&mut witness, 0, asks(4_000), 0);
    let stranger = "192.168.1.66:5351".parse().expect("an address");
    witness.check_datagram(at(1), stranger, &grant(77, 5_000, 100), false, &Ok(Received::Answer));
}

#[test]
#[should_panic = "there is something to report"]
fn a_loss_by_the_epoch_rule_that_is_not_told() {
    let mut witness = open();
    sends(&mut witness, 50_000, asks(5_000), 0);
    // 77 + 7/8 of 50 s, less 2 s, less a second.
    receives(&mut witness, 50_000, grant(117, 5_000, 100));
    let mapping = Mapping { protocol: Protocol::Udp, internal_port: 4_000, external_port: 5_000, lifetime: 100 };
    witness.check_event(&Event::Renewed(mapping));
    witness.check_wait(at(50_000), Some(at(100_000)));
}

#[test]
#[should_panic = "it did not"]
fn a_loss_that_is_told_where_the_epoch_rule_sees_none() {
    let mut witness = open();
    sends(&mut witness, 50_000, asks(5_000), 0);
    receives(&mut witness, 50_000, grant(119, 5_000, 100));
    witness.check_event(&Event::GatewayRestarted);
}

#[test]
#[should_panic = "is not reported"]
fn a_grant_that_is_not_told() {
    let mut witness = keeping();
    sends(&mut witness, 0, asks(4_000), 0);
    receives(&mut witness, 0, grant(77, 5_000, 100));
    witness.check_wait(at(0), Some(at(50_000)));
}

#[test]
#[should_panic = "makes no progress"]
fn a_deadline_that_is_due_and_stays() {
    let mut witness = open();
    witness.check_wait(at(50_000) + Duration::ZERO, Some(at(50_000)));
}
