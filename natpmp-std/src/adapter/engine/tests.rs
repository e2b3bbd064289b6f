//! The engine on sockets that are no sockets, by a clock that can be told to sleep.

use std::collections::VecDeque;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use natpmp_proto::client::{Event, LossCause};
use natpmp_proto::wire::{Failure, Refusal, Request, Response};
use natpmp_proto::{MapRequest, Protocol};

use super::*;
use crate::adapter::{ClientBuilder, Datagrams, Handle, Kept};
use crate::discovery::Path;

/// What there is around one client.
#[derive(Debug, Default)]
struct Around {
    /// What was sent, by the socket with this number, and to whom.
    sent: Vec<(usize, Ipv4Addr, Request)>,
    /// What is to be received, on the socket with this number.
    arriving: VecDeque<(usize, Vec<u8>)>,
    /// How many sockets were opened.
    sockets: usize,
    discovered: Option<Ipv4Addr>,
    path: Option<Path>,
    on_link: Vec<Ipv4Addr>,
    news: bool,
}

struct Rig {
    around: Arc<Mutex<Around>>,
    engine: Engine<Fake>,
    handle: Arc<Handle>,
}

impl Rig {
    fn new(builder: ClientBuilder<()>, change: impl FnOnce(&mut Around)) -> Self {
        let mut around = Around { discovered: Some(HOME), path: Some(path(2, [127, 0, 0, 2])), ..Around::default() };
        change(&mut around);
        let around = Arc::new(Mutex::new(around));
        let mut settings = builder.gateway_address(HOME).announcements(false).settings().unwrap();
        settings.is_discovered = true;
        let routing = Box::new(Fake(Arc::clone(&around)));
        let engine = Engine::with_routing(&settings, Fake(Arc::clone(&around)), routing).unwrap();
        let handle = Handle::new(Arc::clone(engine.shared()), &settings, None);
        Self { around, engine, handle }
    }

    /// One that keeps UDP 4000, which is open, with what led to it forgotten.
    fn keeping(builder: ClientBuilder<()>) -> (Self, Kept) {
        let mut rig = Self::new(builder, |_| {});
        let kept = rig.handle.keep(&MapRequest::new(Protocol::Udp, 4_000), None).unwrap();
        rig.serve();
        assert!(kept.state().mapping.is_some());
        rig.forget();
        // After the first look.
        rig.sleep(Duration::from_secs(1));
        (rig, kept)
    }

    fn around(&self) -> std::sync::MutexGuard<'_, Around> {
        self.around.lock().unwrap()
    }

    fn forget(&self) {
        self.around().sent.clear();
    }

    fn sent(&self) -> Vec<(Ipv4Addr, Request)> {
        self.around().sent.iter().map(|&(_, to, request)| (to, request)).collect()
    }

    fn sleep(&self, duration: Duration) {
        self.engine.shared().sleep(duration);
    }

    /// Something happened to the routes, which is told, and settles.
    fn change(&mut self, change: impl FnOnce(&mut Around)) {
        change(&mut self.around());
        self.around().news = true;
        self.turn();
        self.sleep(Duration::from_millis(500));
    }

    /// One turn, as an adapter takes it.
    fn turn(&mut self) -> Wait {
        while self.engine.receive() {}
        self.engine.drain()
    }

    /// Turns, with every request granted, until there is none.
    fn serve(&mut self) -> Vec<(Ipv4Addr, Request)> {
        let mut served = self.around().sent.len();
        self.turn();
        loop {
            let next = self.around().sent.get(served).copied();
            let Some((socket, _, request)) = next else { return self.sent() };
            served += 1;
            let answer = answer(self.engine.shared().now(), &request).encode().to_vec();
            self.around().arriving.push_back((socket, answer));
            self.turn();
        }
    }
}

#[test]
fn what_fell_due_while_the_machine_slept_is_done_as_soon_as_it_wakes() {
    let (mut rig, kept) = Rig::keeping(ClientBuilder::new());
    assert_eq!(rig.serve(), []);
    rig.sleep(Duration::from_secs(3_590));
    assert_eq!(rig.serve(), [], "it is not due yet");
    rig.sleep(Duration::from_secs(20));
    assert_eq!(rig.serve(), [(HOME, renewal())]);
    assert!(kept.state().mapping.is_some());
}

#[test]
fn a_lease_that_ended_in_the_sleep_is_told_as_lost_and_asked_for() {
    let (mut rig, kept) = Rig::keeping(ClientBuilder::new());
    let mut events = Told::new(&rig);
    rig.sleep(Duration::from_secs(100_000));
    assert_eq!(rig.serve(), [(HOME, renewal())]);
    assert!(matches!(events.next(), Some(Event::Lost { cause: LossCause::Expired, .. })));
    assert!(matches!(events.next(), Some(Event::Mapped(_))));
    assert!(kept.state().mapping.is_some());
}

#[test]
fn a_socket_that_was_not_used_for_long_is_opened_anew_and_so_is_one_in_a_long_silence() {
    let (mut rig, _kept) = Rig::keeping(ClientBuilder::new());
    let before = rig.around().sockets;
    rig.sleep(Duration::from_secs(3_601));
    rig.turn();
    assert_eq!(rig.around().sockets, before + 1);
    // Nobody answers: 250 ms, 500 ms, 1 s and 2 s later it is sent again.
    for wait in [250, 500, 1_000] {
        rig.sleep(Duration::from_millis(wait));
        rig.turn();
        assert_eq!(rig.around().sockets, before + 1);
    }
    rig.sleep(Duration::from_secs(2));
    rig.turn();
    assert_eq!(rig.around().sockets, before + 2);
}

#[test]
fn a_client_whose_way_out_changes_renews_what_it_keeps_once_it_has_settled() {
    let (mut rig, _kept) = Rig::keeping(ClientBuilder::new());
    rig.around().path = Some(path(3, [127, 0, 0, 2]));
    rig.around().news = true;
    let before = rig.around().sockets;
    assert_eq!(rig.serve(), [], "addresses, routes and rules come one after the other");
    rig.sleep(Duration::from_millis(200));
    assert_eq!(rig.serve(), [(HOME, renewal())]);
    assert_eq!(rig.around().sockets, before + 1);
    rig.forget();
    rig.change(|_| {});
    assert_eq!(rig.serve(), [], "news that change nothing cost nothing");
}

#[test]
fn a_way_out_that_is_gone_is_waited_for_and_used_as_soon_as_it_is_back() {
    let (mut rig, _kept) = Rig::keeping(ClientBuilder::new());
    rig.change(|around| around.path = None);
    assert_eq!(rig.serve(), []);
    rig.change(|around| around.path = Some(path(2, [127, 0, 0, 2])));
    assert_eq!(rig.serve(), [(HOME, renewal())]);
}

#[test]
fn a_route_that_flaps_causes_one_round_of_requests_in_two_seconds() {
    let (mut rig, _kept) = Rig::keeping(ClientBuilder::new());
    for index in 0..20 {
        rig.change(|around| around.path = Some(path(index + 10, [127, 0, 0, 2])));
        rig.serve();
    }
    // 20 changes in 10 s.
    assert_eq!(rig.sent().len(), 5, "{:?}", rig.sent());
    rig.sleep(Duration::from_secs(2));
    rig.serve();
    assert_eq!(rig.sent().len(), 6, "the last change is not forgotten");
}

#[test]
fn another_gateway_is_followed_and_the_one_that_was_left_is_told_if_it_is_on_a_link() {
    let (mut rig, kept) = Rig::keeping(ClientBuilder::new());
    let mut events = Told::new(&rig);
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
    let mut rig = Rig::new(ClientBuilder::new(), |_| {});
    let _once = rig.handle.map(&MapRequest::new(Protocol::Tcp, 5_000));
    rig.serve();
    rig.forget();
    rig.change(|around| (around.discovered, around.on_link) = (Some(AWAY), vec![HOME]));
    assert_eq!(rig.serve(), []);
}

/// Neither the gateway's change nor the loss of the one mapping is the moment to tell what the other's address is.
#[test]
fn callbacks_are_told_of_each_loss_and_each_return_and_of_nothing_between() {
    let mut rig = Rig::new(ClientBuilder::new(), |_| {});
    let kept = [4_000, 4_001].map(|port| {
        rig.handle.keep(&MapRequest::new(Protocol::Udp, port), Some(Box::new(|_: &crate::adapter::Change| {}))).unwrap()
    });
    rig.serve();
    rig.handle.watch_external_address(true);
    rig.serve();
    drop(rig.engine.take_messages());
    rig.change(|around| {
        around.discovered = Some(AWAY);
        around.path = Some(path(3, [127, 0, 0, 3]));
    });
    rig.serve();
    assert_eq!(rig.engine.take_messages().len(), 4);
    drop(kept);
}

#[test]
fn a_gateway_that_was_left_and_is_on_no_link_any_more_is_sent_nothing() {
    let (mut rig, _kept) = Rig::keeping(ClientBuilder::new());
    rig.change(|around| around.discovered = Some(AWAY));
    assert_eq!(rig.serve(), [(AWAY, renewal())], "its address may be somebody else's elsewhere");
}

#[test]
fn a_gateway_that_was_left_and_is_silent_is_told_twice_and_the_end_waits_no_longer() {
    let (mut rig, kept) = Rig::keeping(ClientBuilder::new());
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
    let (mut rig, _kept) = Rig::keeping(ClientBuilder::new());
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
fn no_gateway_any_more_leaves_the_one_there_was() {
    let (mut rig, _kept) = Rig::keeping(ClientBuilder::new());
    rig.change(|around| (around.discovered, around.path) = (None, None));
    rig.serve();
    assert_eq!(*rig.handle.gateway().ip(), HOME);
    rig.change(|around| (around.discovered, around.path) = (Some(HOME), Some(path(2, [127, 0, 0, 2]))));
    assert_eq!(rig.serve(), [(HOME, renewal())]);
}

#[test]
fn a_gateway_that_was_set_by_hand_stays() {
    let (mut rig, _kept) = Rig::keeping(ClientBuilder::new());
    rig.handle.set_gateway(SocketAddrV4::new(THIRD, 5351));
    rig.serve();
    rig.forget();
    rig.change(|around| around.discovered = Some(AWAY));
    assert_eq!(rig.serve(), []);
    assert_eq!(*rig.handle.gateway().ip(), THIRD);
}

/// C22
#[test]
fn what_an_earlier_holder_of_the_address_left_is_deleted_only_if_that_was_asked_for() {
    for does_clear in [false, true] {
        let (mut rig, _kept) = Rig::keeping(ClientBuilder::new().clear_on_new_address(does_clear));
        rig.change(|around| around.path = Some(path(2, [127, 0, 0, 9])));
        let sent = rig.serve();
        let deletions = [Protocol::Udp, Protocol::Tcp].map(|protocol| (HOME, Request::delete(protocol, 0)));
        assert_eq!(deletions.iter().all(|deletion| sent.contains(deletion)), does_clear, "{sent:?}");
        assert_eq!(sent.last(), Some(&(HOME, renewal())), "what is kept is made after that: {sent:?}");
        rig.forget();
        rig.sleep(Duration::from_secs(2));
        rig.change(|around| around.path = Some(path(7, [127, 0, 0, 9])));
        assert_eq!(rig.serve(), [(HOME, renewal())], "it is the same address");
    }
}

/// C22: it is the same address as before, with the same gateway.
#[test]
fn a_vpn_that_comes_and_goes_makes_no_address_at_home_a_new_one() {
    let (mut rig, _kept) = Rig::keeping(ClientBuilder::new().clear_on_new_address(true));
    rig.change(|around| (around.discovered, around.path) = (Some(AWAY), Some(path(3, [10, 2, 0, 2]))));
    rig.serve();
    rig.sleep(Duration::from_secs(2));
    rig.forget();
    rig.change(|around| (around.discovered, around.path) = (Some(HOME), Some(path(2, [127, 0, 0, 2]))));
    assert_eq!(rig.serve(), [(HOME, renewal())]);
}

#[test]
fn a_refused_deletion_does_not_end_the_farewell() {
    let (mut rig, _kept) = Rig::keeping(ClientBuilder::new());
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

#[test]
fn where_the_system_tells_no_news_a_gateway_is_looked_for_while_there_is_none() {
    let none = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 5351);
    let mut rig = Rig::new(ClientBuilder::new(), |around| around.path = None);
    rig.handle.set_gateway(none);
    rig.turn();
    rig.engine.network = Network::new(Box::new(Untold(Arc::clone(&rig.around))), none, true);
    rig.around().discovered = None;
    rig.turn();
    (rig.around().discovered, rig.around().path) = (Some(HOME), Some(path(2, [127, 0, 0, 2])));
    rig.turn();
    rig.sleep(Duration::from_secs(30));
    rig.turn();
    assert_eq!(*rig.handle.gateway().ip(), HOME, "nobody has asked for anything");
}

#[test]
fn where_the_system_tells_no_news_a_call_that_fails_hastens_the_look() {
    let none = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 5351);
    let mut rig = Rig::new(ClientBuilder::new(), |around| around.path = None);
    rig.handle.set_gateway(none);
    rig.turn();
    rig.engine.network = Network::new(Box::new(Untold(Arc::clone(&rig.around))), none, true);
    rig.around().discovered = None;
    rig.turn();
    rig.turn();
    (rig.around().discovered, rig.around().path) = (Some(HOME), Some(path(2, [127, 0, 0, 2])));
    rig.sleep(Duration::from_secs(1));
    let _address = rig.handle.external_address();
    rig.turn();
    rig.turn();
    rig.sleep(Duration::from_millis(200));
    rig.turn();
    assert_eq!(*rig.handle.gateway().ip(), HOME);
}

#[test]
fn a_caller_who_knows_that_the_network_changed_is_taken_at_his_word_at_once() {
    let (mut rig, _kept) = Rig::keeping(ClientBuilder::new());
    (rig.around().discovered, rig.around().path) = (Some(AWAY), Some(path(3, [127, 0, 0, 3])));
    rig.handle.network_changed();
    assert_eq!(rig.serve(), [(AWAY, renewal())]);
}

#[test]
fn an_answer_after_a_silence_makes_the_goodbye_a_patient_one_again() {
    let (mut rig, kept) = Rig::keeping(ClientBuilder::new());
    let other = rig.handle.keep(&MapRequest::new(Protocol::Tcp, 5_000), None).unwrap();
    rig.serve();
    // Nobody answers this one within its bound.
    drop(kept.stop());
    rig.engine.shared().with(|core, _| core.is_silent = true);
    let _answered = other.refresh();
    rig.serve();
    assert!(!rig.engine.shared().with(|core, _| core.is_silent));
}

#[test]
fn a_client_without_a_gateway_sends_nothing_until_there_is_one() {
    let mut rig = Rig::new(ClientBuilder::new(), |around| around.path = None);
    rig.handle.set_gateway(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 5351));
    rig.turn();
    rig.engine.network.is_discovered = true;
    let kept = rig.handle.keep(&MapRequest::new(Protocol::Udp, 4_000), None).unwrap();
    for _ in 0..10 {
        assert_eq!(rig.serve(), []);
        rig.sleep(Duration::from_secs(30));
    }
    rig.change(|around| (around.discovered, around.path) = (Some(HOME), Some(path(2, [127, 0, 0, 2]))));
    rig.serve();
    assert!(kept.state().mapping.is_some());
}

/// C22: an earlier holder of the first address is nobody that this host knows of.
#[test]
fn the_first_address_that_a_client_has_is_no_new_one() {
    let none = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 5351);
    let mut rig = Rig::new(ClientBuilder::new().clear_on_new_address(true), |_| {});
    rig.handle.set_gateway(none);
    rig.turn();
    // To 0.0.0.0 there is always a way, by the loopback interface.
    rig.around().path = Some(path(1, [127, 0, 0, 1]));
    rig.around().discovered = None;
    rig.engine.network = Network::new(Box::new(Fake(Arc::clone(&rig.around))), none, true);
    let _kept = rig.handle.keep(&MapRequest::new(Protocol::Udp, 4_000), None).unwrap();
    rig.serve();
    // An interface that has no address yet.
    rig.change(|around| (around.discovered, around.path) = (Some(HOME), Some(path(2, [0, 0, 0, 0]))));
    rig.serve();
    rig.sleep(Duration::from_secs(2));
    rig.change(|around| around.path = Some(path(2, [127, 0, 0, 2])));
    let sent = rig.serve();
    assert!(sent.contains(&(HOME, renewal())), "{sent:?}");
    assert!(sent.iter().all(|(_, request)| !matches!(request, Request::Map { lifetime: 0, .. })), "{sent:?}");
}

#[test]
fn what_changed_before_there_was_news_to_hear_is_seen_at_the_start() {
    let mut rig = Rig::new(ClientBuilder::new(), |around| around.discovered = Some(AWAY));
    let _kept = rig.handle.keep(&MapRequest::new(Protocol::Udp, 4_000), None).unwrap();
    assert_eq!(rig.serve(), [(AWAY, renewal())]);
}

#[test]
fn where_the_system_tells_no_news_a_failure_is_the_reason_to_look() {
    let (mut rig, _kept) = Rig::keeping(ClientBuilder::new());
    rig.engine.network = Network::new(Box::new(Untold(Arc::clone(&rig.around))), rig.handle.gateway(), true);
    // The first look.
    rig.turn();
    rig.around().discovered = Some(AWAY);
    rig.sleep(Duration::from_secs(60));
    assert_eq!(rig.serve(), [], "there was no reason yet");
    rig.sleep(Duration::from_secs(3_600));
    rig.turn();
    assert_eq!(rig.sent(), [(HOME, renewal())]);
    // Nobody answers.
    rig.sleep(Duration::from_secs(3_600));
    rig.turn();
    rig.turn();
    rig.sleep(Duration::from_millis(200));
    rig.forget();
    assert_eq!(rig.serve(), [(AWAY, renewal())]);
}

#[test]
fn a_goodbye_goes_on_for_as_long_as_answers_come() {
    let mut rig = Rig::new(ClientBuilder::new().goodbye(Duration::from_secs(2)), |_| {});
    let request = |port| MapRequest::new(Protocol::Udp, port);
    let kept: Vec<_> = (4_000..4_010).map(|port| rig.handle.keep(&request(port), None).unwrap()).collect();
    rig.serve();
    rig.forget();
    drop(kept);
    let Rig { around, mut engine, handle } = rig;
    drop(handle);
    let mut answered = 0;
    // Each answer comes after 1 s, half of the bound: ten of them are five times as long as it.
    while answered < 10 {
        while engine.receive() {}
        assert!(matches!(engine.drain(), Wait::For(_)), "after {answered}");
        engine.shared().sleep(Duration::from_millis(900));
        let mut around = around.lock().unwrap();
        let (socket, _, request) = around.sent.last().copied().unwrap();
        around.arriving.push_back((socket, answer(engine.shared().now(), &request).encode().to_vec()));
        answered += 1;
    }
    while engine.receive() {}
    assert_eq!(engine.drain(), Wait::End);
}

/// The timer that wakes the adapter is of the clock that counts suspend, and set to the next renewal.
#[test]
#[cfg(target_os = "linux")]
fn the_kernel_wakes_it_on_boot_time() {
    let (mut rig, _kept) = Rig::keeping(ClientBuilder::new());
    assert_eq!(rig.turn(), Wait::For(None), "the timer is all there is to wait for");
    let timer = rig.engine.alarm.information().unwrap();
    assert!(timer.lines().any(|line| line == "clockid: 7"), "{timer}");
    let left = timer.lines().find_map(|line| line.strip_prefix("it_value: (")?.split(',').next()?.parse::<u64>().ok());
    assert!(left.is_some_and(|left| (3_500..=3_600).contains(&left)), "{timer}");
}

/// Sockets, routes and all.
struct Fake(Arc<Mutex<Around>>);

struct FakeSocket {
    around: Arc<Mutex<Around>>,
    number: usize,
    /// Only to know where it leads.
    to: SocketAddrV4,
}

impl Register for Fake {
    type Socket = FakeSocket;

    fn register(&mut self, socket: UdpSocket) -> io::Result<FakeSocket> {
        let SocketAddr::V4(to) = socket.peer_addr()? else { panic!("it is of IPv4") };
        self.0.lock().unwrap().sockets += 1;
        let number = self.0.lock().unwrap().sockets;
        Ok(FakeSocket { around: Arc::clone(&self.0), number, to })
    }

    #[cfg(unix)]
    fn watch(&mut self, _: std::os::fd::OwnedFd) -> io::Result<()> {
        Ok(())
    }
}

impl Datagrams for FakeSocket {
    fn send(&self, payload: &[u8]) -> io::Result<usize> {
        self.around.lock().unwrap().sent.push((self.number, *self.to.ip(), Request::decode(payload).unwrap()));
        Ok(payload.len())
    }

    fn receive(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let mut around = self.around.lock().unwrap();
        let index = around.arriving.iter().position(|(number, _)| *number == self.number);
        let (_, bytes) = index.and_then(|index| around.arriving.remove(index)).ok_or(io::ErrorKind::WouldBlock)?;
        buffer[..bytes.len()].copy_from_slice(&bytes);
        Ok((bytes.len(), self.to.into()))
    }
}

impl Routing for Fake {
    fn discover(&self) -> Option<Ipv4Addr> {
        self.0.lock().unwrap().discovered
    }

    /// To what is on a link the way is as it was at the start.
    fn path_to(&self, address: Ipv4Addr) -> Option<Path> {
        let around = self.0.lock().unwrap();
        if around.on_link.contains(&address) { Some(path(2, [127, 0, 0, 2])) } else { around.path }
    }

    fn is_on_link(&self, address: Ipv4Addr) -> bool {
        self.0.lock().unwrap().on_link.contains(&address)
    }

    fn take_news(&mut self) -> Option<bool> {
        Some(std::mem::take(&mut self.0.lock().unwrap().news))
    }
}

/// A system that tells no news.
struct Untold(Arc<Mutex<Around>>);

impl Routing for Untold {
    fn discover(&self) -> Option<Ipv4Addr> {
        Fake(Arc::clone(&self.0)).discover()
    }

    fn path_to(&self, address: Ipv4Addr) -> Option<Path> {
        Fake(Arc::clone(&self.0)).path_to(address)
    }

    fn is_on_link(&self, address: Ipv4Addr) -> bool {
        Fake(Arc::clone(&self.0)).is_on_link(address)
    }

    fn take_news(&mut self) -> Option<bool> {
        None
    }
}

/// Events, without waiting.
struct Told(crate::adapter::News<Event>);

impl Told {
    fn new(rig: &Rig) -> Self {
        Self(rig.handle.events())
    }

    fn next(&mut self) -> Option<Event> {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        match self.0.poll_next(&mut context) {
            std::task::Poll::Ready(event) => event,
            std::task::Poll::Pending => None,
        }
    }
}

/// All is granted as it was asked for; what no port was suggested for, on the same port.
fn answer(now: Instant, request: &Request) -> Response {
    let epoch = u32::try_from(now.as_micros() / 1_000_000).unwrap();
    match *request {
        Request::ExternalAddress => Response::ExternalAddress { epoch, address: [11, 22, 33, 44].into() },
        Request::Map { protocol, internal_port, lifetime, .. } => {
            let external_port = if lifetime == 0 { 0 } else { internal_port };
            Response::Map { protocol, epoch, internal_port, external_port, lifetime }
        }
    }
}

fn renewal() -> Request {
    Request::Map { protocol: Protocol::Udp, internal_port: 4_000, suggested_external_port: 4_000, lifetime: 7_200 }
}

fn path(interface_index: u32, source: [u8; 4]) -> Path {
    Path { interface_index, source: source.into(), is_up: true }
}

// Addresses that sockets can be connected to anywhere, since nothing is sent.
const HOME: Ipv4Addr = Ipv4Addr::new(127, 1, 0, 1);
const AWAY: Ipv4Addr = Ipv4Addr::new(127, 2, 0, 1);
const THIRD: Ipv4Addr = Ipv4Addr::new(127, 3, 0, 1);
