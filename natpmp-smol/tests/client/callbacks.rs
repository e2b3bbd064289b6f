//! Callbacks of kept mappings.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

use natpmp_smol::{Change, Client, Ending, Error, Event, KeptMapping, MapRequest, Protocol, Subscription};
use natpmp_testkit::gateway::{Announces, Gateway};
use smol::stream::StreamExt;

use super::{TCP, UDP, builder, eventually, gateway, in_time, keep, leases, listening, run, run_both, turn};

#[test]
fn it_is_told_of_the_first_port_and_of_every_other_one() {
    let gateway = gateway(|knobs| knobs.moves_ports = true);
    let (told, other) = (Told::default(), Told::default());
    run(builder(&gateway), async |client| {
        let kept = client.keep_with(&UDP, told.callback()).unwrap();
        let _other = client.keep_with(&TCP, other.callback()).unwrap();
        eventually("both are open", || told.all().len() + other.all().len() == 2).await;
        kept.refresh().await.unwrap();
        kept.refresh().await.unwrap();
        turn(&gateway, |knobs| knobs.moves_ports = false);
        // What is renewed as it was is no change.
        kept.refresh().await.unwrap();
    });
    assert_eq!(told.all(), [(Some(4_000), HERE), (Some(4_001), HERE), (Some(4_002), HERE)]);
    assert_eq!(other.all(), [(Some(4_000), HERE)], "that was not its mapping");
}

#[test]
fn it_is_told_of_another_address() {
    let gateway = gateway(|knobs| knobs.announces = Announces::NatPmp);
    let (both, address) = listening(&builder(&gateway));
    gateway.announce_to(address);
    let told = Told::default();
    run_both(both, async |client| {
        let _kept = client.keep_with(&UDP, told.callback()).unwrap();
        eventually("it is open", || told.all().len() == 1).await;
        gateway.with(|gateway, now| gateway.change_address(now, Some(ELSEWHERE)));
        eventually("it is told", || told.all().len() == 2).await;
        turn(&gateway, |knobs| knobs.announces = Announces::Nothing);
    });
    assert_eq!(told.all(), [(Some(4_000), HERE), (Some(4_000), Some(ELSEWHERE))]);
}

/// C25
#[test]
fn it_is_told_of_a_loss_and_of_the_return() {
    let gateway = gateway(|_| {});
    let told = Told::default();
    run(builder(&gateway), async |client| {
        let _kept = client.keep_with(&UDP.lifetime(2), told.callback()).unwrap();
        eventually("it is open", || told.all().len() == 1).await;
        turn(&gateway, |knobs| knobs.refuse_map = Some(4));
        eventually("it is lost", || told.all().len() == 2).await;
        turn(&gateway, |knobs| knobs.refuse_map = None);
        eventually("it is back", || told.all().len() == 3).await;
    });
    assert_eq!(told.all(), [(Some(4_000), HERE), (None, HERE), (Some(4_000), HERE)]);
}

#[test]
fn one_that_panics_is_called_again_and_the_driver_lives() {
    let gateway = gateway(|knobs| knobs.moves_ports = true);
    let (told, other) = (Told::default(), Told::default());
    run(builder(&gateway), async |client| {
        let mut tell = told.callback();
        let callback = move |change: &Change| {
            tell(change);
            std::panic::resume_unwind(Box::new("a callback that panics"));
        };
        let kept = client.keep_with(&UDP, callback).unwrap();
        let neighbour = client.keep_with(&TCP, other.callback()).unwrap();
        eventually("both are open", || told.all().len() + other.all().len() == 2).await;
        kept.refresh().await.unwrap();
        neighbour.refresh().await.unwrap();
        assert_eq!(kept.stop().await.unwrap(), Ending::Unmapped);
    });
    assert_eq!(told.all(), [(Some(4_000), HERE), (Some(4_001), HERE)]);
    assert_eq!(other.all(), [(Some(4_000), HERE), (Some(4_001), HERE)]);
}

#[test]
fn one_whose_captures_panic_when_dropped_does_no_harm() {
    struct Panics;
    impl Drop for Panics {
        fn drop(&mut self) {
            std::panic::resume_unwind(Box::new("a capture that panics"));
        }
    }
    let gateway = gateway(|_| {});
    run(builder(&gateway), async |client| {
        let panics = Panics;
        let callback = move |_: &Change| {
            let _panics = &panics;
        };
        let kept = client.keep_with(&UDP, callback).unwrap();
        kept.refresh().await.unwrap();
        assert_eq!(kept.stop().await.unwrap(), Ending::Unmapped);
        client.external_address().await.unwrap();
    });
}

/// What a callback has of the client.
type Made = (KeptMapping, Subscription<Event>);

/// It may do all that does not wait.
#[test]
fn one_may_call_the_client() {
    let gateway = gateway(|_| {});
    in_time(move || {
        let slot: Arc<Mutex<Option<Made>>> = Arc::default();
        run(builder(&gateway), async |client| {
            let (caller, made) = (client.clone(), Arc::clone(&slot));
            let mut first = Some(keep(&client, &MapRequest::new(Protocol::Tcp, 5_000)).await);
            let kept = client
                .keep_with(&UDP, move |_| {
                    let events = caller.events();
                    let kept = caller.keep(&MapRequest::new(Protocol::Tcp, 5_001)).unwrap();
                    *made.lock().unwrap() = Some((kept, events));
                    assert!(matches!(caller.keep(&UDP), Err(Error::AlreadyKept)));
                    caller.watch_external_address(true);
                    caller.network_changed();
                    drop((caller.clone(), first.take(), caller.mappings(), caller.local_address()));
                })
                .unwrap();
            eventually("it is called", || slot.lock().unwrap().is_some()).await;
            let (other, events) = slot.lock().unwrap().take().unwrap();
            assert!(other.wait_open(super::SOON).await.is_ok());
            let mut of_other = events.filter(|event| event.mapping_key() == Some((Protocol::Tcp, 5_001)));
            assert!(matches!(of_other.next().await, Some(Event::Mapped(_))));
            eventually("the first is deleted", || leases(&gateway) == 2).await;
            // The callback holds the client.
            kept.stop().await.unwrap();
        });
        assert_eq!(leases(&gateway), 0);
    });
}

#[test]
fn one_may_drop_its_own_handle() {
    let gateway = gateway(|_| {});
    in_time(move || {
        run(builder(&gateway), async |client| {
            let slot: Arc<Mutex<Option<KeptMapping>>> = Arc::default();
            let own = Arc::clone(&slot);
            let mut events = client.events();
            let kept = client.keep_with(&UDP, move |_| drop(own.lock().unwrap().take())).unwrap();
            *slot.lock().unwrap() = Some(kept);
            drop(client);
            // It was the last handle.
            while events.next().await.is_some() {}
            assert!(slot.lock().unwrap().is_none());
        });
        assert_eq!(leases(&gateway), 0);
    });
}

/// The handle that it holds takes the client's lock when it is dropped.
#[test]
fn one_that_is_not_taken_may_hold_a_handle() {
    let gateway = gateway(|_| {});
    in_time(move || {
        run(builder(&gateway), async |client| {
            let kept = keep(&client, &UDP).await;
            for request in [UDP, TCP.lifetime(0)] {
                let held = client.keep(&MapRequest::new(Protocol::Tcp, 5_000)).unwrap();
                let callback = move |_: &Change| assert!(held.state().mapping.is_none());
                client.keep_with(&request, callback).expect_err("it is kept already, or makes no sense");
            }
            client.external_address().await.unwrap();
            assert!(kept.state().mapping.is_some());
        });
        assert_eq!(leases(&gateway), 0);
    });
}

#[test]
fn one_that_replaces_nothing_is_dropped_with_its_mapping() {
    let gateway = gateway(|_| {});
    run(builder(&gateway), async |client| {
        let token = Arc::new(());
        let with = |client: &Client, port| {
            let held = Arc::clone(&token);
            let callback = move |_: &Change| {
                let _held = &held;
            };
            client.keep_with(&MapRequest::new(Protocol::Udp, port), callback).unwrap()
        };
        let kept = [with(&client, 4_000), with(&client, 4_001), with(&client, 4_002)];
        let [stopped, dropped, unmapped] = kept;
        stopped.refresh().await.unwrap();
        stopped.stop().await.unwrap();
        drop(dropped);
        client.unmap(Protocol::Udp, 4_002).await.unwrap();
        eventually("all are dropped", || Arc::strong_count(&token) == 1).await;
        drop(unmapped);
    });
}

/// What a callback was told: the port, and the address.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<At>>>);

type At = (Option<u16>, Option<Ipv4Addr>);

impl Told {
    fn callback(&self) -> impl FnMut(&Change) + Send + 'static {
        let told = self.clone();
        move |change: &Change| {
            let port = change.mapping.map(|mapping| {
                assert_eq!((mapping.protocol, mapping.internal_port), (change.protocol, change.internal_port));
                mapping.external_port
            });
            told.0.lock().unwrap().push((port, change.external_address));
        }
    }

    fn all(&self) -> Vec<At> {
        self.0.lock().unwrap().clone()
    }
}

const HERE: Option<Ipv4Addr> = Some(Gateway::EXTERNAL);
const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(11, 99, 0, 7);
