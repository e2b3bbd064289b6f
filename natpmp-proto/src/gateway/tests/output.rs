//! What comes out: in which order, and through which socket.

use super::*;

const SOCKETS: [SocketId; 3] = [SocketId(0), SocketId(1), SocketId(u16::MAX)];
const ALL_UDP: Request = Request::delete(UDP, 0);

/// A request comes in by a socket.
#[track_caller]
fn comes(rig: &mut Rig, socket: SocketId, from: SocketAddrV4, request: &Request) {
    assert_eq!(rig.gateway.handle_datagram(rig.now, socket, from, &request.encode()), Ok(()));
}

/// Where the answer that waits goes, and through which socket.
fn goes(rig: &mut Rig) -> Option<(SocketAddrV4, SocketId)> {
    let answer = rig.gateway.poll_transmit(rig.now)?;
    match answer.kind {
        TransmitKind::Answer { socket } | TransmitKind::Echo { socket } => Some((answer.to, socket)),
        other => panic!("no answer, but {other:?}"),
    }
}

#[test]
fn an_answer_at_once_leaves_by_the_socket_its_request_came_in_by() {
    let mut rig = Rig::new();
    for socket in SOCKETS {
        for bytes in [&[0, 0][..], &[1, 0], &[0, 9, 0, 0, 7], &map(UDP, 0, 0, 1).encode(), &ALL_UDP.encode()] {
            assert_eq!(rig.gateway.handle_datagram(rig.now, socket, client(2), bytes), Ok(()));
            assert_eq!(goes(&mut rig), Some((client(2), socket)), "{bytes:?}");
        }
    }
}

/// Several clients and sockets at a time; the same client by each of them; outcomes in any order.
#[test]
fn an_answer_after_the_nat_leaves_by_the_socket_its_request_came_in_by() {
    let mut rig = Rig::new();
    let mut asked = Vec::new();
    for (number, socket) in (0..).zip(SOCKETS) {
        for from in [client(2), client(3), neighbour(client(2))] {
            let port = 4_000 + number * 10 + from.port() - 50_000;
            comes(&mut rig, socket, from, &map(UDP, port, 0, 600));
            asked.push((from, socket, rig.nat()));
        }
    }
    asked.reverse();
    asked.rotate_left(4);
    for (from, socket, request) in &asked {
        rig.gateway.handle_nat(rig.now, request, Ok(()));
        assert_eq!(goes(&mut rig), Some((*from, *socket)), "{request:?}");
    }
    let outcomes = [Ok(()), Err(NatFailure::Network), Err(NatFailure::Resources)];
    for ((from, socket, request), outcome) in asked.iter().zip(outcomes.into_iter().cycle()) {
        let port = request.mapping().internal.port();
        let by = SocketId(socket.0 ^ 1);
        comes(&mut rig, by, *from, &Request::delete(UDP, port));
        let removal = rig.nat();
        rig.gateway.handle_nat(rig.now, &removal, outcome);
        assert_eq!(goes(&mut rig), Some((*from, by)), "the deletion came in by another one");
    }
}

#[test]
fn a_request_repeated_through_another_socket_is_answered_there() {
    let mut rig = Rig::new();
    let request = map(UDP, 4000, 4000, 600);
    comes(&mut rig, SOCKETS[0], client(2), &request);
    let installation = rig.nat();
    comes(&mut rig, SOCKETS[1], neighbour(client(2)), &request);
    rig.gateway.handle_nat(rig.now, &installation, Ok(()));
    assert_eq!(goes(&mut rig), Some((neighbour(client(2)), SOCKETS[1])));
    assert_eq!(goes(&mut rig), None, "one answer");
}

/// G14
#[test]
fn a_deletion_of_all_is_answered_through_the_socket_it_came_in_by_last() {
    let mut rig = Rig::new();
    for port in 4_000..4_003 {
        comes(&mut rig, SOCKETS[0], client(2), &map(UDP, port, port, 600));
        comes(&mut rig, SOCKETS[0], client(3), &map(UDP, port, 0, 600));
    }
    rig.settle_by(SOCKETS[0]);
    comes(&mut rig, SOCKETS[1], client(2), &ALL_UDP);
    comes(&mut rig, SOCKETS[2], client(3), &ALL_UDP);
    let removals: Vec<_> = std::iter::from_fn(|| rig.gateway.poll_nat()).collect();
    assert_eq!(removals.len(), 6);
    comes(&mut rig, SOCKETS[0], neighbour(client(3)), &ALL_UDP);
    let mut answers = Vec::new();
    for removal in &removals {
        rig.gateway.handle_nat(rig.now, removal, Ok(()));
        answers.extend(goes(&mut rig));
    }
    assert_eq!(answers, [(client(2), SOCKETS[1]), (neighbour(client(3)), SOCKETS[0])]);
}

/// The loop of an adapter: one datagram, then polled until there is time to wait.
#[test]
fn polling_sends_then_asks_the_nat_then_tells_then_waits() {
    let mut rig = Rig::new();
    rig.opens(client(2), &map(UDP, 4000, 4000, 600));
    rig.waits(client(3), &map(UDP, 5000, 5000, 600));
    rig.gateway.clear(rig.now);
    comes(&mut rig, SOCKET, client(2), &Request::ExternalAddress);
    let mut kinds = Vec::new();
    let wait = loop {
        assert!(kinds.len() < 100, "it waits at last");
        kinds.push(match rig.gateway.poll(rig.now) {
            Output::Transmit(transmit) => match transmit.kind {
                TransmitKind::Announcement => "announcement",
                _ => "answer",
            },
            Output::Nat(_) => "nat",
            Output::Event(_) => "event",
            Output::Wait(deadline) => break deadline,
        });
    };
    assert_eq!(kinds, ["answer", "announcement", "nat", "nat", "event"]);
    assert_eq!(wait, rig.gateway.poll_timeout());
    assert!(wait.is_some_and(|at| at > rig.now), "the second announcement is due later");
    assert_eq!(rig.gateway.poll(rig.now), Output::Wait(wait), "and goes on waiting");
}

#[test]
fn polling_ends_the_leases_first() {
    let mut rig = Rig::new();
    rig.opens(client(2), &map(UDP, 4000, 4000, 60));
    let _ = rig.events();
    let end = rig.gateway.poll_timeout().unwrap();
    assert_eq!(rig.gateway.poll(rig.now), Output::Wait(Some(end)));
    let removal = NatRequest::Remove(nat_mapping_of(client(2), UDP, 4000, 4000));
    assert_eq!(rig.gateway.poll(end), Output::Nat(removal));
    assert_eq!(rig.gateway.poll(end), Output::Wait(None));
}

/// Rules: it never says yes before the NAT has it.
#[test]
fn nothing_is_said_before_the_nat_has_it() {
    let mut rig = Rig::new();
    rig.waits(client(2), &map(UDP, 4000, 4000, 600));
    let Output::Nat(installation) = rig.gateway.poll(rig.now) else { panic!("the NAT is asked") };
    for _ in 0..3 {
        assert_eq!(rig.gateway.poll(rig.now), Output::Wait(None));
        rig.pass(1);
    }
    rig.gateway.handle_nat(rig.now, &installation, Ok(()));
    assert!(matches!(rig.gateway.poll(rig.now), Output::Transmit(answer) if answer.to == client(2)));
    assert!(matches!(rig.gateway.poll(rig.now), Output::Event(Event::Opened(_))));
}

/// The machine holds one answer.
#[test]
fn a_datagram_that_comes_before_the_last_answer_was_polled_is_dropped_and_changes_nothing() {
    let mut rig = Rig::new();
    comes(&mut rig, SOCKETS[0], client(2), &Request::ExternalAddress);
    for bytes in [&[0, 0][..], &[1, 0], &map(UDP, 4000, 4000, 600).encode(), &ALL_UDP.encode()] {
        let dropped = rig.gateway.handle_datagram(rig.now, SOCKETS[1], client(3), bytes);
        assert_eq!(dropped, Err(Discard::AnswerNotPolled));
    }
    assert_eq!(goes(&mut rig), Some((client(2), SOCKETS[0])), "the first one has its answer");
    rig.no_trace_is_left();
    rig.opens(client(3), &map(UDP, 4000, 4000, 600));
}

/// One who asks from ever other ports, by ever other sockets, and never waits for an answer, takes one place.
#[test]
fn those_who_wait_for_an_answer_take_no_memory_of_their_own() {
    let mut rig = Rig::new();
    for number in 1..=u16::MAX {
        let from = SocketAddrV4::new(*client(2).ip(), number);
        comes(&mut rig, SocketId(number), from, &map(UDP, 4000, 4000, 600));
    }
    assert_eq!(rig.gateway.len(), 1);
    let installation = rig.nat();
    rig.nat_is_left_alone();
    rig.gateway.handle_nat(rig.now, &installation, Ok(()));
    let last = SocketAddrV4::new(*client(2).ip(), u16::MAX);
    assert_eq!(goes(&mut rig), Some((last, SocketId(u16::MAX))), "the last one is answered");
    assert_eq!(goes(&mut rig), None);
}

/// What waits for the NAT is no answer yet: any number of requests may wait.
#[test]
fn requests_that_wait_for_the_nat_do_not_hold_up_one_another() {
    let mut rig = Rig::new();
    for number in 1..=8 {
        rig.waits(client(number), &map(UDP, 4000, 0, 600));
    }
    assert_eq!(rig.settle().len(), 8);
}

#[test]
fn an_outcome_is_taken_whether_the_last_answer_was_polled_or_not() {
    let mut rig = Rig::new();
    rig.waits(client(2), &map(UDP, 4000, 4000, 600));
    let installation = rig.nat();
    comes(&mut rig, SOCKETS[0], client(3), &Request::ExternalAddress);
    rig.gateway.handle_nat(rig.now, &installation, Ok(()));
    assert_eq!(rig.open_ports(), [4000]);
    assert_eq!(goes(&mut rig), Some((client(2), SOCKET)), "the newest answer");
    assert_eq!(goes(&mut rig), None);
}

/// G20
#[test]
fn an_answer_that_was_not_polled_when_nat_is_switched_off_is_not_sent() {
    let mut rig = Rig::new();
    comes(&mut rig, SOCKET, client(2), &Request::ExternalAddress);
    rig.gateway.switch(rig.now, false);
    assert_eq!(rig.gateway.poll(rig.now), Output::Wait(None));
    rig.gateway.switch(rig.now, true);
    assert!(matches!(rig.gateway.poll(rig.now), Output::Transmit(Transmit { kind: TransmitKind::Announcement, .. })));
}

/// G03: who sends the payload alone is understood as well.
#[test]
fn the_payload_of_an_echo_is_the_head_of_the_answer() {
    let mut rig = Rig::new();
    let request = [0, 77, 1, 2, 3, 4, 5];
    let echo = rig.ask(client(2), &request).unwrap().unwrap();
    assert_eq!(echo.kind, TransmitKind::Echo { socket: SOCKET });
    assert_eq!(*echo.payload, [0, 205, 0, 5]);
    assert_eq!(echo.write(&request, &mut [0; 7]).unwrap(), [0, 205, 0, 5, 3, 4, 5]);
    for other in [&[0, 0][..], &[0, 205, 0, 5], &[]] {
        assert_eq!(echo.write(other, &mut [0; 16]), None, "{other:?} is not sent back");
    }
}
