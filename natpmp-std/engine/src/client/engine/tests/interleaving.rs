//! Calls of other threads that come between two steps of the driver.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use super::*;
use crate::client::{Call, Error};

#[test]
fn a_call_that_comes_after_a_refusal_was_read_does_not_get_it() {
    let mut rig = Rig::new(ClientOptions::new(), |_| {});
    let request = MapRequest::new(Protocol::Udp, 4_000);
    let mut older = rig.handle.map(&request);
    rig.turn();
    rig.arrive(&Response::Failure(Failure { opcode: 1, refusal: Refusal::NotAuthorized, detail: None }));
    receive_all(&mut rig.engine);
    let mut newer = rig.handle.map(&request);
    assert!(matches!(outcome(&mut older), Some(Err(Error::Refused { .. }))));
    assert!(outcome(&mut newer).is_none(), "its own request was not even sent");
    rig.serve();
    let mapping = outcome(&mut newer).unwrap().unwrap();
    assert_eq!((mapping.protocol, mapping.internal_port), (Protocol::Udp, 4_000));
}

#[test]
fn a_call_that_comes_after_port_unreachable_was_read_does_not_get_it() {
    let mut rig = Rig::new(ClientOptions::new(), |_| {});
    let mut older = rig.handle.external_address();
    // Each of the sends of the schedule is answered by port unreachable.
    let mut newer = None;
    for _ in 0..40 {
        let _ = rig.engine.drain();
        rig.around().refusals = 1;
        receive_all(&mut rig.engine);
        if newer.is_none() && is_over(&mut older) {
            newer = Some(rig.handle.external_address());
        }
        if newer.is_some() {
            break;
        }
        rig.sleep(Duration::from_secs(1));
    }
    let mut newer = newer.expect("the older call fails as soon as the error was read");
    assert!(outcome(&mut newer).is_none());
    rig.serve();
    assert!(matches!(outcome(&mut newer), Some(Ok(_))));
}

#[test]
fn what_a_command_leads_to_is_heard_before_the_next_command() {
    let mut rig = Rig::new(ClientOptions::new(), |_| {});
    let request = MapRequest::new(Protocol::Udp, 4_000);
    let mut map = rig.handle.map(&request);
    rig.turn();
    // Nothing was granted: the mapping ends at once, for the call that waits and for nobody else.
    let mut unmap = rig.handle.unmap(Protocol::Udp, 4_000);
    let mut again = rig.handle.map(&request);
    rig.serve();
    let outcomes = [outcome(&mut map).is_some(), outcome(&mut unmap).is_some(), outcome(&mut again).is_some()];
    assert_eq!(outcomes, [true; 3]);
    assert!(rig.handle.mappings().iter().any(|status| status.internal_port == 4_000));
}

/// The system may take a while to say where its routes lead.
#[test]
fn a_gateway_that_is_set_while_the_system_is_asked_is_the_only_one_to_be_sent_to_afterwards() {
    for is_found in [true, false] {
        let (mut rig, _kept) = Rig::keeping(ClientOptions::new());
        let third = SocketAddrV4::new(THIRD, 5351);
        let handle = Arc::clone(&rig.handle);
        rig.around().during_discovery = Some(Box::new(move || handle.set_gateway(third)));
        rig.change(|around| around.discovered = Some(if is_found { AWAY } else { HOME }));
        // The turn in which it is set ends at once; nothing is sent in it.
        assert!(matches!(rig.turn(), Wait::For(Some(Duration::ZERO))));
        let sent = rig.serve();
        assert_eq!(rig.handle.gateway(), third);
        assert_eq!(sent, [(THIRD, renewal())], "{is_found}");
    }
}

/// As many threads ask as there can be, and each gets the answer to its own request.
#[test]
fn calls_of_many_threads_each_get_an_answer_of_their_own() {
    let mut rig = Rig::new(ClientOptions::new(), |_| {});
    let threads: Vec<_> = (0..4)
        .map(|thread| {
            let handle = Arc::clone(&rig.handle);
            std::thread::spawn(move || {
                for round in 0..50 {
                    let port = 4_000 + thread * 100 + round;
                    let mut call = handle.map(&MapRequest::new(Protocol::Udp, port));
                    let mapping = crate::events::block_until(None, |context| Pin::new(&mut call).poll(context));
                    assert_eq!(mapping.unwrap().unwrap().internal_port, port);
                }
            })
        })
        .collect();
    while threads.iter().any(|thread| !thread.is_finished()) {
        rig.serve();
        rig.forget();
    }
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

/// What a call has come to, which is taken out of it.
fn outcome<T>(call: &mut Call<T>) -> Option<Result<T, Error>> {
    match Pin::new(call).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(outcome) => Some(outcome),
        Poll::Pending => None,
    }
}

fn is_over<T>(call: &mut Call<T>) -> bool {
    outcome(call).is_some()
}
