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
    // Each send of the schedule is answered by port unreachable, and after each there is another call.
    for _ in 0..40 {
        rig.turn();
        rig.around().refusals = 1;
        receive_all(&mut rig.engine);
        let mut newer = rig.handle.external_address();
        rig.turn();
        if let Some(result) = outcome(&mut older) {
            assert!(matches!(result, Err(Error::PortUnreachable { .. })), "{result:?}");
            assert!(outcome(&mut newer).is_none(), "its own request is not answered yet");
            return;
        }
        rig.sleep(Duration::from_secs(1));
    }
    panic!("port unreachable ends a call");
}

#[test]
fn what_a_command_leads_to_is_dispatched_before_the_next_command() {
    let mut rig = Rig::new(ClientOptions::new(), |_| {});
    let mut events = Events::new(&rig);
    let request = MapRequest::new(Protocol::Udp, 4_000);
    drop(rig.handle.keep(&request, None).unwrap());
    // It was never sent: nothing has to be deleted at the gateway, and the driver has nothing to do for it.
    assert!(matches!(events.next(), Some(Event::Ended { internal_port: 4_000, .. })));
    let mut map = rig.handle.map(&request);
    assert!(outcome(&mut map).is_none());
    rig.serve();
    assert_eq!(outcome(&mut map).unwrap().unwrap().external_port, 4_000);
    assert!(matches!(events.next(), Some(Event::Mapped(_))));
    assert_eq!(events.next(), None);
}

#[test]
fn callbacks_come_to_their_end_with_the_driver_though_handles_are_left() {
    let mut rig = Rig::new(ClientOptions::new(), |_| {});
    let token = Arc::new(());
    let held = Arc::clone(&token);
    let callback = move |_: &crate::client::Change| assert_eq!(*held, ());
    let _kept = rig.handle.keep(&MapRequest::new(Protocol::Udp, 4_000), Some(Box::new(callback))).unwrap();
    rig.serve();
    let Rig { engine, callbacks, handle, .. } = rig;
    let (sender, ended) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        callbacks.run_to_end();
        sender.send(()).unwrap();
    });
    assert!(ended.recv_timeout(Duration::from_millis(20)).is_err(), "the client goes on");
    drop(engine);
    ended.recv_timeout(Duration::from_secs(10)).expect("no call follows");
    assert_eq!(Arc::strong_count(&token), 1);
    drop(handle);
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
