//! What is said to a gateway that was left.

use super::*;

#[test]
fn another_gateway_is_followed_and_the_one_before_is_asked_to_delete_if_it_is_on_a_link() {
    let (mut rig, kept) = Rig::keeping(ClientOptions::new());
    let mut events = Events::new(&rig);
    rig.change(|around| {
        around.discovered = Some(AWAY);
        around.path = Some(path(3, [127, 0, 0, 3]));
        around.on_link = vec![HOME];
    });
    let mut sent = rig.serve();
    sent.sort_by_key(|(to, _)| *to);
    assert_eq!(sent, [(HOME, Request::delete(Protocol::Udp, 4_000)), (AWAY, renewal())]);
    assert_eq!(events.next(), Some(Event::GatewayChanged(SocketAddrV4::new(AWAY, 5351))));
    assert!(matches!(events.next(), Some(Event::Lost { cause: LossCause::GatewayChanged, .. })));
    assert!(matches!(events.next(), Some(Event::Mapped(_))));
    assert_eq!(events.next(), None);
    assert_eq!(*rig.handle.gateway().ip(), AWAY);
    assert!(kept.state().mapping.is_some());
    rig.forget();
    rig.sleep(Duration::from_secs(10));
    assert_eq!(rig.serve(), []);
}

#[test]
fn what_was_made_once_is_left_alone_at_the_gateway_that_was_left() {
    let mut rig = Rig::new(ClientOptions::new(), |_| {});
    let _once = rig.handle.map(&MapRequest::new(Protocol::Tcp, 5_000));
    rig.serve();
    rig.forget();
    rig.change(|around| (around.discovered, around.on_link) = (Some(AWAY), vec![HOME]));
    assert_eq!(rig.serve(), []);
}

#[test]
fn a_gateway_that_was_left_and_is_on_no_link_any_more_is_sent_nothing() {
    let (mut rig, _kept) = Rig::keeping(ClientOptions::new());
    rig.change(|around| around.discovered = Some(AWAY));
    assert_eq!(rig.serve(), [(AWAY, renewal())], "its address may be somebody else's elsewhere");
}

#[test]
fn a_gateway_that_was_left_and_is_silent_is_told_twice_and_the_end_waits_no_longer() {
    let (mut rig, kept) = Rig::keeping(ClientOptions::new());
    let other = rig.handle.keep(&MapRequest::new(Protocol::Tcp, 4_000), None).unwrap();
    rig.serve();
    rig.forget();
    rig.change(|around| {
        around.discovered = Some(AWAY);
        around.on_link = vec![HOME];
    });
    for _ in 0..40 {
        rig.turn();
        rig.sleep(Duration::from_millis(50));
    }
    let to_home: Vec<_> = rig.sent().into_iter().filter(|(to, _)| *to == HOME).collect();
    assert_eq!(to_home.len(), 2, "{to_home:?}");
    drop((kept, other));
    let Rig { mut engine, handle, .. } = rig;
    drop(handle);
    assert!(matches!(engine.drain(), Wait::For(_)));
    engine.shared().sleep(Duration::from_secs(3));
    assert_eq!(engine.drain(), Wait::End);
}

#[test]
fn a_gateway_that_is_returned_to_is_not_told_any_more_that_it_was_left() {
    let (mut rig, _kept) = Rig::keeping(ClientOptions::new());
    let others: Vec<_> =
        (5_000..5_009).map(|port| rig.handle.keep(&MapRequest::new(Protocol::Tcp, port), None).unwrap()).collect();
    rig.serve();
    rig.forget();
    rig.change(|around| {
        around.discovered = Some(AWAY);
        around.path = Some(path(3, [127, 0, 0, 3]));
        around.on_link = vec![HOME];
    });
    // A slow one: when the other breaks off, after 2 s, it has answered a few deletions only.
    for _ in 0..3 {
        rig.turn();
        rig.sleep(Duration::from_millis(700));
        let deletion = rig.around().sent.iter().rev().find(|(_, to, _)| *to == HOME).copied();
        let (socket, _, request) = deletion.unwrap();
        let answer = answer(rig.engine.shared().now(), &request).encode().to_vec();
        rig.around().arriving.push_back((socket, answer));
    }
    rig.forget();
    rig.change(|around| {
        around.discovered = Some(HOME);
        around.path = Some(path(2, [127, 0, 0, 2]));
        around.on_link.clear();
    });
    rig.forget();
    for _ in 0..5 {
        rig.serve();
        rig.sleep(Duration::from_millis(100));
    }
    let sent = rig.sent();
    assert!(sent.contains(&(HOME, renewal())), "{sent:?}");
    assert!(sent.iter().all(|(_, request)| !matches!(request, Request::Map { lifetime: 0, .. })), "{sent:?}");
    drop(others);
}

#[test]
fn a_refused_deletion_does_not_end_the_others_at_the_previous_gateway() {
    let (mut rig, _kept) = Rig::keeping(ClientOptions::new());
    let _other = rig.handle.keep(&MapRequest::new(Protocol::Tcp, 5_000), None).unwrap();
    rig.serve();
    rig.forget();
    rig.change(|around| (around.discovered, around.on_link) = (Some(AWAY), vec![HOME]));
    rig.turn();
    let (socket, _, _) = rig.around().sent.iter().find(|(_, to, _)| *to == HOME).copied().unwrap();
    let refusal = Response::Failure(Failure { opcode: 1, refusal: Refusal::NotAuthorized, detail: None });
    rig.around().arriving.push_back((socket, refusal.encode().to_vec()));
    rig.turn();
    let to_home: Vec<_> = rig.sent().into_iter().filter(|(to, _)| *to == HOME).map(|(_, request)| request).collect();
    assert_eq!(to_home, [Request::delete(Protocol::Udp, 4_000), Request::delete(Protocol::Tcp, 5_000)]);
}

/// On a link, but another one: there its address may be another host's.
#[test]
fn a_gateway_that_was_left_is_not_told_by_another_way_than_before() {
    let (mut rig, _kept) = Rig::keeping(ClientOptions::new());
    rig.change(|around| {
        around.discovered = Some(AWAY);
        around.path = Some(path(3, [10, 2, 0, 2]));
        around.elsewhere = vec![HOME];
    });
    assert_eq!(rig.serve(), [(AWAY, renewal())]);
}
