//! What is heard while a request is in flight: its answer, and all that is not its answer.

use super::*;
use crate::wire::DecodeError;

/// A client that has sent a request for UDP 4000 and waits.
fn waiting() -> Rig {
    let mut rig = Rig::new();
    rig.keep(MapRequest::new(UDP, 4000));
    assert_eq!(rig.request(), asks(UDP, 4000, 4000, 7200));
    rig
}

/// Hears something that changes nothing: the same wait, nothing told, and the answer is still awaited.
#[track_caller]
fn is_no_answer(rig: &mut Rig, from: SocketAddrV4, bytes: &[u8]) -> Discard {
    let before = rig.client.poll_timeout();
    let now = rig.now();
    let discard = rig.client.handle_datagram(now, from, bytes).expect_err("it is no answer");
    assert_eq!(rig.client.poll_timeout(), before, "a packet that is no answer changes no wait");
    rig.is_quiet();
    discard
}

/// C07: the address and the port are those of the gateway.
#[test]
fn a_response_from_anybody_else_is_dropped() {
    let mut rig = waiting();
    let bytes = mapped(1000, UDP, 4000, 4000, 7200).encode();
    let stranger = SocketAddrV4::new(Ipv4Addr::new(192, 168, 1, 2), 5351);
    assert_eq!(is_no_answer(&mut rig, stranger, &bytes), Discard::NotFromGateway);
    let other_port = SocketAddrV4::new(*GATEWAY.ip(), 5350);
    assert_eq!(is_no_answer(&mut rig, other_port, &bytes), Discard::NotAwaited);
    assert_eq!(rig.receives(mapped(1000, UDP, 4000, 4000, 7200)), Ok(Received::Answer));
}

/// C16.
#[test]
fn a_response_for_another_port_or_the_other_protocol_is_dropped_and_the_wait_goes_on() {
    let mut rig = waiting();
    for response in [
        mapped(1000, UDP, 4001, 4000, 7200),
        mapped(1000, TCP, 4000, 4000, 7200),
        mapped(1000, UDP, 0, 4000, 7200),
        failure(2, Refusal::NotAuthorized, None),
        failure(0, Refusal::NetworkFailure, None),
        failure(1, Refusal::NotAuthorized, Some(4001)),
        failure(3, Refusal::UnsupportedOpcode, None),
        Response::UnknownSuccess { opcode: 3 },
    ] {
        assert_eq!(is_no_answer(&mut rig, GATEWAY, &response.encode()), Discard::NotAwaited, "{response:?}");
    }
    assert_eq!(rig.at(249).sent(), None);
    assert_eq!(rig.at(250).sent(), Some((asks(UDP, 4000, 4000, 7200), 1)));
}

#[test]
fn bytes_that_are_no_response_are_dropped_with_the_reason() {
    let mut rig = waiting();
    let truncated = DecodeError::Truncated { length: 15, needed: 16 };
    let answer = mapped(1000, UDP, 4000, 4000, 7200).encode();
    for (bytes, error) in [
        (&[][..], DecodeError::Truncated { length: 0, needed: 4 }),
        (&answer[..15], truncated),
        (&[0, 129, 0, 0], DecodeError::Truncated { length: 4, needed: 16 }),
        (&[0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], DecodeError::NotAResponse { opcode: 1 }),
        (&[1, 129, 0, 0], DecodeError::OtherVersion { version: 1, opcode: 129 }),
        (&[2, 129, 0, 0], DecodeError::Pcp { opcode: 129, result: Some(0) }),
    ] {
        assert_eq!(is_no_answer(&mut rig, GATEWAY, bytes), Discard::Undecodable(error));
    }
    assert_eq!(rig.receives(mapped(1000, UDP, 4000, 4000, 7200)), Ok(Received::Answer));
}

#[test]
fn an_answer_that_nobody_waits_for_is_dropped() {
    let mut rig = Rig::keeping(UDP, 4000);
    for response in [
        mapped(1000, UDP, 4000, 4000, 7200),
        mapped(1000, UDP, 4000, 5000, 7200),
        mapped(1000, UDP, 4000, 0, 0),
        mapped(1000, UDP, 4001, 4000, 60),
        failure(1, Refusal::NotAuthorized, Some(4000)),
        failure(0, Refusal::UnsupportedVersion, None),
    ] {
        assert_eq!(is_no_answer(&mut rig, GATEWAY, &response.encode()), Discard::NotAwaited, "{response:?}");
    }
    assert_eq!(
        rig.state(UDP, 4000),
        MappingState::Open { mapping: mapping(UDP, 4000, 4000, 7200), expires: secs(7200), renewal: Some(secs(3600)) }
    );
}

/// C16: an answer to an earlier send of the same request is an answer.
#[test]
fn an_answer_that_comes_after_the_next_send_is_taken_and_its_double_dropped() {
    let mut rig = waiting();
    assert_eq!(rig.at(250).request(), asks(UDP, 4000, 4000, 7200));
    assert_eq!(rig.at(260).receives(mapped(1000, UDP, 4000, 4000, 7200)), Ok(Received::Answer));
    assert_eq!(rig.receives(mapped(1000, UDP, 4000, 4000, 7200)), Err(Discard::NotAwaited));
    assert_eq!(rig.event(), Some(Event::Mapped(mapping(UDP, 4000, 4000, 7200))));
    rig.is_quiet();
}

/// C16: deletions and requests of one port are told apart by what their answers say.
#[test]
fn the_late_answer_to_a_deletion_does_not_unmap_what_is_wanted_again() {
    let mut rig = Rig::keeping(UDP, 4000);
    rig.unmap(UDP, 4000);
    assert_eq!(rig.request(), Request::delete(UDP, 4000));
    rig.keep(MapRequest::new(UDP, 4000));
    assert_eq!(rig.request(), asks(UDP, 4000, 4000, 7200));
    let late = mapped(1000, UDP, 4000, 0, 0).encode();
    // However often it comes before the request is sent again.
    for _ in 0..5 {
        assert_eq!(rig.client.handle_datagram(Instant::ZERO, GATEWAY, &late), Err(Discard::NotAwaited));
        assert_eq!(rig.sent(), None);
    }
    assert_eq!(rig.receives(mapped(1000, UDP, 4000, 4000, 7200)), Ok(Received::Answer));
    assert!(matches!(rig.state(UDP, 4000), MappingState::Open { .. }));
}

/// C26: said again after the request went out again, it is no late answer to a deletion any more.
#[test]
fn a_grant_of_nothing_is_believed_when_it_comes_again_after_the_next_send() {
    let mut rig = waiting();
    let nothing = mapped(1000, UDP, 4000, 0, 0);
    assert_eq!(is_no_answer(&mut rig, GATEWAY, &nothing.encode()), Discard::NotAwaited);
    assert_eq!(rig.at(250).request(), asks(UDP, 4000, 4000, 7200));
    assert_eq!(rig.receives(nothing), Ok(Received::Answer));
    let Some(Event::Failed { error: RequestError::GrantedNothing, retry_at: Some(at), .. }) = rig.event() else {
        panic!("it is told")
    };
    assert!((1500..=2000).contains(&at.saturating_since(rig.now()).as_millis()), "and tried again after a pause");
    rig.is_quiet();
}

/// C26: a command that begins the schedule anew does not make the client forget what it heard, nor how often it has asked.
#[test]
fn a_grant_of_nothing_is_remembered_when_the_schedule_begins_anew() {
    let nothing = mapped(1000, UDP, 4000, 0, 0);
    let mut rig = waiting();
    rig.at(250).request();
    rig.at(750).request();
    is_no_answer(&mut rig, GATEWAY, &nothing.encode());
    rig.refresh(UDP, 4000);
    assert_eq!(rig.at(1_000).sent(), Some((asks(UDP, 4000, 4000, 7200), 0)));
    assert_eq!(rig.receives(nothing), Ok(Received::Answer), "it was sent again since");

    let mut rig = waiting();
    rig.at(250).request();
    rig.refresh(UDP, 4000);
    is_no_answer(&mut rig, GATEWAY, &nothing.encode());
    let (_, events) = rig.silence_until(200_000);
    assert!(matches!(events[..], [(_, Event::Failed { error: RequestError::GrantedNothing, .. })]), "{events:?}");
}

/// C26.
#[test]
fn a_grant_of_nothing_that_comes_once_is_the_reason_when_no_other_answer_comes() {
    let mut rig = waiting();
    is_no_answer(&mut rig, GATEWAY, &mapped(1000, UDP, 4000, 0, 0).encode());
    let (sends, events) = rig.silence_until(128_000);
    assert_eq!(sends.len(), 8);
    assert!(matches!(events[..], [(127_750, Event::Failed { error: RequestError::GrantedNothing, .. })]), "{events:?}");
}

/// C26: half a grant can be no answer to a deletion.
#[test]
fn a_grant_without_a_port_or_a_lifetime_is_no_mapping() {
    for (external, lifetime) in [(0, 7200), (4000, 0)] {
        let mut rig = Rig::new();
        rig.map(MapRequest::new(UDP, 4000));
        rig.grants(UDP, 4000, external, lifetime);
        assert_eq!(rig.event(), ended(UDP, 4000, 0, Ending::NotMapped(RequestError::GrantedNothing)));
        rig.is_quiet();
    }
}

/// C26: a renewal that is granted nothing leaves what is open open.
#[test]
fn a_renewal_that_grants_nothing_is_a_failure_of_the_attempt() {
    let mut rig = Rig::keeping(UDP, 4000);
    rig.at(3_600_000).grants(UDP, 4000, 4000, 0);
    assert!(matches!(rig.event(), Some(Event::Failed { error: RequestError::GrantedNothing, retry_at: Some(_), .. })));
    assert!(matches!(rig.state(UDP, 4000), MappingState::Open { expires, .. } if expires == secs(7200)));
}

/// C15: every code, in every length that gateways send.
#[test]
fn every_result_code_is_the_refusal_of_its_request() {
    for code in 1..=u16::MAX {
        let length = [4, 8, 12, 16][usize::from(code) % 4];
        let [high, low] = code.to_be_bytes();
        let bytes = [0, 129, high, low, 0, 0, 3, 232, 0x0f, 0xa0, 0x0f, 0xa0, 0, 0, 0, 60];
        let mut client: Client<1> = Client::new(Config::for_gateway(GATEWAY));
        client.map(Instant::ZERO, &MapRequest::new(UDP, 4000)).unwrap();
        assert!(client.poll_transmit(Instant::ZERO).is_some());
        assert_eq!(client.handle_datagram(Instant::ZERO, GATEWAY, &bytes[..length]), Ok(Received::Answer));
        let error = RequestError::Refused(Refusal::from_code(code).unwrap());
        let Some(Event::Ended { ending, .. }) = client.poll_event() else { panic!("it is told") };
        assert_eq!(ending, Ending::NotMapped(error), "{length} bytes");
        // C20: two of them mean that there is no NAT-PMP here.
        assert_eq!(error.is_unsupported(), code == 1 || code == 5);
    }
}

/// C17: however a gateway says it, it is about the request in flight.
#[test]
fn an_unsupported_version_is_understood_in_every_form() {
    let forms: [&[u8]; 4] = [
        &[0, 128, 0, 1, 0, 0, 0, 9],
        &[0, 0, 0, 1, 0, 0, 0, 9],
        &[0, 0, 0, 1, 0, 0, 0, 9, 0, 0, 0, 0],
        &[0, 129, 0, 1, 0, 0, 0, 9],
    ];
    // A server that speaks PCP only (RFC 6887, section 9).
    let pcp: [&[u8]; 2] = [
        &[2, 0x80, 0, 1, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        &[2, 0x81, 0, 1, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    ];
    for bytes in forms.into_iter().chain(pcp) {
        let mut rig = Rig::new();
        rig.map(MapRequest::new(UDP, 4000));
        assert_eq!(rig.request(), asks(UDP, 4000, 4000, 7200));
        assert_eq!(rig.client.handle_datagram(Instant::ZERO, GATEWAY, bytes), Ok(Received::Answer));
        let error = RequestError::Refused(Refusal::UnsupportedVersion);
        let Some(Event::Ended { ending, .. }) = rig.event() else { panic!("it is told") };
        assert_eq!(ending, Ending::NotMapped(error), "{bytes:?}");
        assert!(error.is_unsupported());
    }
}

/// What comes in on port 5350 is never taken for an answer.
#[test]
fn an_answer_that_comes_as_an_announcement_is_not_awaited() {
    let mut rig = waiting();
    let bytes = mapped(1000, UDP, 4000, 4000, 7200).encode();
    assert_eq!(rig.client.handle_announcement(Instant::ZERO, GATEWAY, &bytes), Err(Discard::NotAwaited));
    let bytes = failure(0, Refusal::UnsupportedVersion, None).encode();
    assert_eq!(rig.client.handle_announcement(Instant::ZERO, GATEWAY, &bytes), Err(Discard::NotAwaited));
    rig.is_quiet();
}

/// C23: an answer to internal port 0 may name the mapped port in both places.
#[test]
fn internal_port_0_is_answered_by_0_or_by_the_mapped_port_that_is_no_other_mappings() {
    for internal in [0, 50_000] {
        let mut rig = Rig::new();
        rig.keep(MapRequest::new(UDP, 0).external_port(1).lifetime(60));
        assert_eq!(rig.request(), asks(UDP, 0, 1, 60));
        assert_eq!(rig.receives(mapped(1000, UDP, internal, 50_000, 60)), Ok(Received::Answer));
        assert_eq!(rig.event(), Some(Event::Mapped(mapping(UDP, 0, 50_000, 60))));
    }
    let mut rig = Rig::keeping(UDP, 4000);
    rig.keep(MapRequest::new(UDP, 0).external_port(1).lifetime(60));
    assert_eq!(rig.request(), asks(UDP, 0, 1, 60));
    assert_eq!(rig.receives(mapped(1000, UDP, 4000, 4000, 60)), Err(Discard::NotAwaited));
}
