//! What is read when: nothing before its source says that there is something, and then all of it.

use super::*;

#[test]
fn a_socket_is_read_once_it_is_readable_and_not_before() {
    let (mut rig, kept) = Rig::keeping(ClientOptions::new());
    rig.handle.network_changed();
    let _ = rig.engine.drain();
    let socket = rig.around().sent[0].0;
    rig.around().arriving.push_back((socket, refusal()));
    rig.engine.note_readable(Source::Announcements);
    rig.engine.note_readable(Source::PreviousGateways);
    assert!(!rig.engine.receive());
    assert_eq!((rig.around().arriving.len(), kept.state().last_error), (1, None), "it has not said so");
    rig.engine.note_readable(Source::Request);
    assert!(!rig.engine.receive());
    assert!(rig.around().arriving.is_empty() && kept.state().last_error.is_some());
}

#[test]
fn what_is_left_of_a_flood_is_read_without_being_told_once_more() {
    let (mut rig, _kept) = Rig::keeping(ClientOptions::new());
    let socket = rig.around().sockets;
    rig.around().arriving.extend((0..100).map(|_| (socket, vec![0, 129])));
    rig.engine.note_readable(Source::Request);
    let mut turns = 0;
    while rig.engine.receive() {
        turns += 1;
    }
    assert_eq!((turns, rig.around().arriving.len()), (3, 0), "32 at once, so that the machine has its turn");
    rig.around().arriving.push_back((socket, vec![0, 129]));
    assert!(!rig.engine.receive());
    assert_eq!(rig.around().arriving.len(), 1, "it was read empty");
}

#[test]
fn a_socket_that_could_not_be_read_is_read_at_the_next_turn() {
    let (mut rig, _kept) = Rig::keeping(ClientOptions::new());
    let socket = rig.around().sockets;
    rig.around().arriving.push_back((socket, vec![0, 129]));
    rig.around().interruptions = 1;
    rig.engine.note_readable(Source::Request);
    assert!(!rig.engine.receive());
    assert_eq!(rig.around().arriving.len(), 1);
    assert!(!rig.engine.receive());
    assert!(rig.around().arriving.is_empty());
}

#[test]
fn reports_of_the_routes_wait_until_the_system_says_that_there_are_some() {
    let (mut rig, _kept) = Rig::keeping(ClientOptions::new());
    rig.around().path = Some(path(3, [127, 0, 0, 2]));
    rig.around().has_changed = true;
    for _ in 0..3 {
        let _ = rig.engine.drain();
        rig.sleep(Duration::from_secs(1));
    }
    assert!(rig.sent().is_empty() && rig.around().has_changed, "nobody has read them");
    rig.engine.note_readable(Source::Routes);
    let _ = rig.engine.drain();
    rig.sleep(Duration::from_secs(1));
    let _ = rig.engine.drain();
    assert_eq!(rig.sent(), [(HOME, renewal())]);
}

fn refusal() -> Vec<u8> {
    Response::Failure(Failure { opcode: 1, refusal: Refusal::OutOfResources, detail: None }).encode().to_vec()
}
