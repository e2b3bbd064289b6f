//! Callbacks of kept mappings.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use natpmp_proto::wire::Request;
use natpmp_std::{Backoff, Change, Client, Ending, Error, KeptMapping, MapRequest, Protocol};
use natpmp_testkit::gateway::{Announces, Gateway};

use super::{
    SHORT, SOON, TCP, UDP, begin, builder, client, eventually, forget, gateway, in_time, leases, listening, requests,
    turn,
};
use natpmp_testkit::scripted::{Scripted, granted};

#[test]
fn it_is_told_the_first_time_and_once() {
    let gateway = gateway(|_| {});
    let client = client(&gateway);
    let told = Told::default();
    let kept = client.keep_with(&UDP, told.callback()).unwrap();
    assert_eq!(told.next(1), [(Some(4_000), HERE)]);
    // What is renewed as it was is no change.
    kept.refresh().unwrap();
    client.external_address().unwrap();
    settle(&client);
    assert_eq!(told.all(), [(Some(4_000), HERE)]);
}

#[test]
fn it_is_told_of_a_mapping_whose_address_is_not_known() {
    let gateway = gateway(|faults| faults.refuse_address = Some(3));
    let client = client(&gateway);
    let told = Told::default();
    let _kept = client.keep_with(&UDP, told.callback()).unwrap();
    assert_eq!(told.next(1), [(Some(4_000), None)]);
    turn(&gateway, |faults| faults.refuse_address = None);
    client.external_address().unwrap();
    settle(&client);
    assert_eq!(told.all(), [(Some(4_000), None), (Some(4_000), HERE)]);
}

/// The question for the address, which comes first, must not keep the mapping from being asked for for ever.
#[test]
fn it_is_told_of_a_mapping_at_a_gateway_that_never_says_its_address() {
    let gateway = Scripted::start(granted);
    let client = Client::builder().gateway(gateway.address()).announcements(false).schedule(SHORT);
    let client = client.backoff(Backoff::new(Duration::from_millis(50), Duration::from_millis(100))).build().unwrap();
    let told = Told::default();
    let _kept = client.keep_with(&UDP, told.callback()).unwrap();
    assert_eq!(told.next(1), [(Some(4_000), None)]);
}

/// C24
#[test]
fn it_is_told_of_every_change_of_the_port_once() {
    let gateway = gateway(|faults| faults.moves_ports = true);
    let client = client(&gateway);
    let (told, other) = (Told::default(), Told::default());
    let kept = client.keep_with(&UDP, told.callback()).unwrap();
    let _other = client.keep_with(&TCP, other.callback()).unwrap();
    told.next(1);
    other.next(1);
    kept.refresh().unwrap();
    kept.refresh().unwrap();
    settle(&client);
    assert_eq!(told.all(), [(Some(4_000), HERE), (Some(4_001), HERE), (Some(4_002), HERE)]);
    assert_eq!(other.all(), [(Some(4_000), HERE)], "that was not its mapping");
}

/// The gateway says so many times over, and it is asked each time.
#[test]
fn it_is_told_of_an_announced_change_of_the_address_once() {
    let gateway = gateway(|faults| faults.announces = Announces::NatPmp);
    let (client, announcements) = listening(&builder(&gateway));
    gateway.announce_to(announcements);
    let told = Told::default();
    let _kept = client.keep_with(&UDP, told.callback()).unwrap();
    told.next(1);
    forget(&gateway);
    gateway.with(|gateway, now| gateway.change_address(now, Some(ELSEWHERE)));
    let expected = [(Some(4_000), HERE), (Some(4_000), Some(ELSEWHERE))];
    assert_eq!(told.next(2), expected);
    let questions = || requests(&gateway).iter().filter(|&&request| request == Request::ExternalAddress).count();
    eventually("a second announcement is checked", || questions() > 1);
    settle(&client);
    assert_eq!(told.all(), expected);
}

#[test]
fn it_is_told_of_a_change_of_the_address_that_nobody_announced() {
    let gateway = gateway(|_| {});
    let client = builder(&gateway).external_address_interval(Duration::from_secs(1)).build().unwrap();
    let told = Told::default();
    let _kept = client.keep_with(&UDP, told.callback()).unwrap();
    told.next(1);
    // Whoever else watched it does so no more; the callback does.
    client.watch_external_address(true);
    client.watch_external_address(false);
    client.external_address().unwrap();
    gateway.with(|gateway, now| gateway.change_address(now, Some(ELSEWHERE)));
    assert_eq!(told.next(2), [(Some(4_000), HERE), (Some(4_000), Some(ELSEWHERE))]);
}

/// C25
#[test]
fn it_is_told_of_a_loss_and_of_the_return() {
    let gateway = gateway(|_| {});
    let client = client(&gateway);
    let told = Told::default();
    let _kept = client.keep_with(&UDP.lifetime(2), told.callback()).unwrap();
    told.next(1);
    turn(&gateway, |faults| faults.refuse_map = Some(4));
    assert_eq!(told.next(2), [(Some(4_000), HERE), (None, HERE)]);
    turn(&gateway, |faults| faults.refuse_map = None);
    assert_eq!(told.next(3)[2], (Some(4_000), HERE));
}

#[test]
fn one_that_panics_harms_nothing_else_and_is_called_again() {
    let gateway = gateway(|faults| faults.moves_ports = true);
    let client = client(&gateway);
    let (told, other) = (Told::default(), Told::default());
    let mut tell = told.callback();
    let kept = client
        .keep_with(&UDP, move |change| {
            tell(change);
            std::panic::resume_unwind(Box::new("a callback that panics"));
        })
        .unwrap();
    told.next(1);
    let neighbour = client.keep_with(&TCP, other.callback()).unwrap();
    assert_eq!(other.next(1), [(Some(4_000), HERE)]);
    kept.refresh().unwrap();
    neighbour.refresh().unwrap();
    assert_eq!(other.next(2)[1], (Some(4_001), HERE));
    assert_eq!(told.next(2)[1], (Some(4_001), HERE));
    assert_eq!(kept.stop().unwrap(), Ending::Unmapped);
}

#[test]
fn one_that_calls_the_client_does_not_wait_for_itself() {
    let gateway = gateway(|_| {});
    let client = client(&gateway);
    let (sender, answers) = mpsc::channel();
    let caller = client.clone();
    let kept = client
        .keep_with(&UDP, move |_| {
            let made = caller.map(&MapRequest::new(Protocol::Tcp, 5_000)).unwrap();
            let also = caller.keep(&MapRequest::new(Protocol::Tcp, 5_001)).unwrap();
            let _ = sender.send((caller.external_address().unwrap(), made.external_port, also.stop().unwrap()));
        })
        .unwrap();
    assert_eq!(answers.recv_timeout(SOON).unwrap(), (Gateway::EXTERNAL, 5_000, Ending::Unmapped));
    kept.stop().unwrap();
}

#[test]
fn one_may_stop_its_own_mapping() {
    let gateway = gateway(|_| {});
    let client = client(&gateway);
    let slot: Arc<Mutex<Option<KeptMapping>>> = Arc::default();
    let (sender, endings) = mpsc::channel();
    let own = Arc::clone(&slot);
    let mut held = slot.lock().unwrap();
    *held = Some(
        client
            .keep_with(&UDP, move |_| {
                let kept = own.lock().unwrap().take();
                let _ = sender.send(kept.map(KeptMapping::stop));
            })
            .unwrap(),
    );
    drop(held);
    assert_eq!(endings.recv_timeout(SOON).unwrap().unwrap().unwrap(), Ending::Unmapped);
    assert_eq!(leases(&gateway), 0);
}

/// It runs on a thread of its own: the mapping is renewed while it blocks, and by its own interval.
#[test]
fn one_that_blocks_delays_no_renewal_and_no_call() {
    let gateway = gateway(|_| {});
    let client = client(&gateway);
    let (release, released) = mpsc::channel::<()>();
    let (began, begun) = mpsc::channel();
    let kept = client
        .keep_with(&UDP.refresh_interval(1), move |_| {
            let _ = began.send(());
            let _ = released.recv();
        })
        .unwrap();
    begun.recv_timeout(SOON).unwrap();
    kept.refresh().unwrap();
    client.external_address().unwrap();
    let renewals = || requests(&gateway).iter().filter(|request| matches!(request, Request::Map { .. })).count();
    eventually("it is renewed by itself", || renewals() > 2);
    drop(release);
}

#[test]
fn changes_wait_for_one_that_blocks_and_come_in_order() {
    let gateway = gateway(|faults| faults.moves_ports = true);
    let client = client(&gateway);
    let (release, released) = mpsc::channel::<()>();
    let told = Told::default();
    let mut tell = told.callback();
    let kept = client
        .keep_with(&UDP, move |change| {
            tell(change);
            let _ = released.recv();
        })
        .unwrap();
    told.next(1);
    for _ in 0..3 {
        kept.refresh().unwrap();
    }
    assert_eq!(told.all().len(), 1, "the first call has not returned");
    drop(release);
    let ports: Vec<_> = told.next(4).into_iter().filter_map(|(port, _)| port).collect();
    assert_eq!(ports, [4_000, 4_001, 4_002, 4_003]);
}

#[test]
fn a_mapping_that_is_stopped_is_told_of_no_more() {
    let gateway = gateway(|_| {});
    let client = client(&gateway);
    let told = Told::default();
    let token = Arc::new(());
    let (mut tell, held) = (told.callback(), Arc::clone(&token));
    let kept = client
        .keep_with(&UDP, move |change| {
            let _held = &held;
            tell(change);
        })
        .unwrap();
    told.next(1);
    kept.stop().unwrap();
    eventually("the callback is dropped", || Arc::strong_count(&token) == 1);
    settle(&client);
    assert_eq!(told.all().len(), 1);
}

#[test]
fn a_second_keep_of_the_same_mapping_does_not_replace_the_callback() {
    let gateway = gateway(|faults| faults.moves_ports = true);
    let client = client(&gateway);
    let (told, other) = (Told::default(), Told::default());
    let kept = client.keep_with(&UDP, told.callback()).unwrap();
    assert!(matches!(client.keep_with(&UDP, other.callback()), Err(Error::AlreadyKept)));
    told.next(1);
    kept.refresh().unwrap();
    assert_eq!(told.next(2)[1], (Some(4_001), HERE));
    assert_eq!(other.all(), []);
}

/// The address is asked for again when the second one comes; that it is unknown meanwhile is no change.
#[test]
fn another_callback_is_no_change_to_the_first() {
    let gateway = gateway(|_| {});
    let client = client(&gateway);
    let (told, other) = (Told::default(), Told::default());
    let kept = client.keep_with(&UDP, told.callback()).unwrap();
    told.next(1);
    // The answer to this renewal comes when the second callback is there already.
    turn(&gateway, |faults| faults.delay = Duration::from_millis(100));
    forget(&gateway);
    let refreshing = begin(move || (kept.refresh().unwrap(), kept));
    eventually("it is asked for", || !requests(&gateway).is_empty());
    let _other = client.keep_with(&TCP, other.callback()).unwrap();
    let (_, _kept) = refreshing.recv_timeout(SOON).unwrap();
    assert_eq!(other.next(1), [(Some(4_000), HERE)]);
    settle(&client);
    assert_eq!(told.all(), [(Some(4_000), HERE)]);
}

/// The last handle may be the one that a callback holds: it is dropped on the callbacks' own thread.
#[test]
fn one_that_holds_the_client_does_not_keep_it_alive() {
    let gateway = gateway(|_| {});
    let client = client(&gateway);
    let mut events = client.events();
    let told = Told::default();
    let (mut tell, held) = (told.callback(), client.clone());
    let kept = client
        .keep_with(&UDP, move |change| {
            tell(change);
            assert!(held.local_address().is_some());
        })
        .unwrap();
    told.next(1);
    drop((client, kept));
    in_time(move || while events.next().is_some() {});
    assert_eq!(leases(&gateway), 0);
}

/// What a callback was told: the port, and the address.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<At>>>);

type At = (Option<u16>, Option<Ipv4Addr>);

impl Told {
    fn callback(&self) -> impl FnMut(&Change) + Send + 'static {
        let told = self.clone();
        move |change: &Change| {
            assert_ne!(thread::current().name(), Some("natpmp"), "callbacks have a thread of their own");
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

    /// Waits until it was told this often.
    #[track_caller]
    fn next(&self, count: usize) -> Vec<At> {
        eventually("the callback is called", || self.all().len() >= count);
        let all = self.all();
        assert_eq!(all.len(), count, "called too often: {all:?}");
        all
    }
}

/// Waits until every call that is due by now has been made: they come one after the other.
fn settle(client: &Client) {
    let told = Told::default();
    let last = client.keep_with(&MapRequest::new(Protocol::Udp, 9_999), told.callback()).unwrap();
    eventually("the last call is made", || !told.all().is_empty());
    last.stop().unwrap();
}

const HERE: Option<Ipv4Addr> = Some(Gateway::EXTERNAL);
const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(11, 99, 0, 7);
