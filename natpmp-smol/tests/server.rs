//! The async gateway on real sockets, with a NAT that only takes notes.
#![cfg(feature = "server")]
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test that panics has failed, as it should"
)]

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use natpmp_proto::wire::{Request, Response};
use natpmp_smol::Protocol;
use natpmp_smol::server::nat::Nat;
use natpmp_smol::server::{
    CloseCause, Config, Event, External, Internal, NatFailure, NatMapping, NatRequest, Server, ServerBuilder,
    ServerDriver, ServerError, State, StoredMapping,
};
use smol::stream::StreamExt;
use smol::{Async, Timer};

#[test]
fn a_client_gets_the_address_a_mapping_and_its_deletion_and_the_events_tell_of_it() {
    let nat = Notes::default();
    let (server, driver) = serve(&nat).build().unwrap();
    let mut events = server.events();
    run(driver, async {
        let client = Asker::new(&server);
        assert_eq!(client.external_address().await, OUTSIDE);
        assert_eq!(client.map(4000, 60).await, (4000, 60));
        let standing = NatMapping { protocol: Protocol::Udp, internal: client.inside(4000), external_port: 4000 };
        assert_eq!(nat.standing(), [standing]);
        let open = server.mappings()[0];
        assert_eq!(open.mapping, standing);
        assert!((58..=61).contains(&server.time_left(&open).unwrap().as_secs()));
        assert_eq!(events.next().await, Some(Event::Opened(open)));
        client.map(4000, 0).await;
        assert_eq!(nat.standing(), []);
        let closed = events.next().await;
        assert!(matches!(closed, Some(Event::Closed { cause: CloseCause::Removed, .. })), "{closed:?}");
    });
}

#[test]
fn commands_of_the_server_reach_the_clients() {
    let nat = Notes::default();
    let (server, driver) = serve(&nat).build().unwrap();
    run(driver, async {
        let client = Asker::new(&server);
        client.map(4000, 60).await;
        let other = Ipv4Addr::new(127, 0, 0, 4);
        server.set_external_address(Some(other));
        assert_eq!(client.external_address().await, other);
        assert_eq!(server.external_address(), Some(other));
        server.clear();
        until(|| nat.standing().is_empty()).await;
        server.allow_mapping(false);
        client.send(&map(4001, 60)).await;
        let answer = client.receive().await;
        assert_eq!(answer[3], 2, "not authorized: {answer:02x?}");
    });
}

/// Each of them wakes the driver: the announcements, whose time comes now and then, would not do for all.
#[test]
fn every_request_every_outcome_of_the_nat_and_every_command_is_seen_to_at_once() {
    let nat = Notes::default();
    let (server, driver) = serve(&nat).config(Config::new().per_client(CLIENTS)).build().unwrap();
    run(driver, async {
        let client = Asker::new(&server);
        for round in 0..100 {
            let address = Ipv4Addr::new(127, 0, 1, round);
            server.set_external_address(Some(address));
            until(|| server.external_address() == Some(address)).await;
            assert_eq!(client.external_address().await, address);
            client.map(4_000 + u16::from(round), 600).await;
        }
    });
}

#[test]
fn a_slow_nat_does_not_delay_the_answers_to_others() {
    let nat = Notes::default();
    let (server, driver) = serve(&nat).build().unwrap();
    nat.block();
    run(driver, async {
        let waiting = Asker::new(&server);
        waiting.send(&map(4000, 60)).await;
        until(|| nat.is_blocked()).await;
        // The NAT is at it, and the external address is told all the same.
        for _ in 0..20 {
            assert_eq!(Asker::new(&server).external_address().await, OUTSIDE);
        }
        assert!(nat.is_blocked() && nat.standing().is_empty());
        nat.unblock();
        let Ok(Response::Map { external_port, .. }) = Response::decode(&waiting.receive().await) else { panic!() };
        assert_eq!(external_port, 4000);
    });
}

#[test]
fn two_hundred_clients_that_ask_at_once_are_all_answered_on_one_task() {
    let nat = Notes::default();
    let (server, driver) = serve(&nat).config(Config::new().per_client(CLIENTS)).build().unwrap();
    run(driver, async {
        let asking = (0..CLIENTS).map(|index| {
            let client = Asker::new(&server);
            async move {
                for _ in 0..3 {
                    client.pursue(&Request::ExternalAddress.encode(), |answer| answer[1] == 128).await;
                    client.pursue(&map(10_000 + index, 600), |answer| answer[1] == 129).await;
                }
            }
        });
        join_all(asking).await;
    });
    assert_eq!(nat.installed(), usize::from(CLIENTS), "the NAT was asked once for each");
}

/// More than it reads at a time; the system drops some of them, and the gateway goes on.
#[test]
fn a_burst_is_read_to_its_end_and_the_next_request_is_heard() {
    let nat = Notes::default();
    let (server, driver) = serve(&nat).build().unwrap();
    let flood = UdpSocket::bind((INSIDE, 0)).unwrap();
    for _ in 0..1_000 {
        flood.send_to(&Request::ExternalAddress.encode(), server.addresses()[0]).unwrap();
    }
    run(driver, async {
        // Whatever the burst has left room for.
        Timer::after(Duration::from_millis(100)).await;
        assert_eq!(Asker::new(&server).external_address().await, OUTSIDE);
    });
}

/// Counts how often the task runs, which an idle gateway's must not.
#[test]
fn an_idle_gateway_leaves_its_task_alone() {
    let nat = Notes::default();
    let (server, driver) = serve(&nat).build().unwrap();
    let polls = Arc::new(AtomicUsize::new(0));
    let counted = Counted { driver, polls: Arc::clone(&polls) };
    run(counted, async {
        let client = Asker::new(&server);
        assert_eq!(client.external_address().await, OUTSIDE);
        // The announcements of the start come in between, 10 of them within two minutes.
        let before = polls.load(Ordering::Relaxed);
        Timer::after(Duration::from_millis(700)).await;
        let polls = polls.load(Ordering::Relaxed) - before;
        assert!(polls < 20, "{polls} turns in 0.7 s");
    });
}

/// So that it goes wherever its user wants it.
#[test]
fn the_driver_may_be_sent_and_moved() {
    fn check<T: Future<Output = ()> + Send + Unpin + 'static>() {}
    check::<ServerDriver>();
}

#[test]
fn dropping_the_server_takes_the_nat_down_saves_the_state_and_completes_the_driver() {
    let directory = Directory::new("end");
    let nat = Notes::default();
    let (server, driver) = serve(&nat).state_file(directory.file("state")).build().unwrap();
    let mut events = server.events();
    smol::block_on(within_limits(async {
        let driver = smol::spawn(driver);
        let client = Asker::new(&server);
        client.map(4000, 600).await;
        assert!(!nat.has_ended());
        drop(server);
        driver.await;
        assert!(nat.has_ended());
        assert_eq!(nat.standing(), []);
        assert_eq!(directory.stored("state")[0].mapping.internal, client.inside(4000));
        assert!(matches!(events.next().await, Some(Event::Opened(_))));
        assert_eq!(events.next().await, None, "there will be no more");
    }));
}

/// The task that the driver is on has others too.
#[test]
fn a_nat_that_takes_long_to_end_does_not_block_the_task() {
    let nat = Notes::default();
    let (server, mut driver) = serve(&nat).build().unwrap();
    nat.block_end();
    drop(server);
    let first = Pin::new(&mut driver).poll(&mut Context::from_waker(Waker::noop()));
    // It has come back, and not waited.
    assert!(first.is_pending() && !nat.has_ended());
    nat.unblock();
    smol::block_on(within_limits(driver));
    assert!(nat.has_ended());
}

#[test]
fn a_driver_that_was_never_polled_completes_when_its_server_is_gone() {
    let nat = Notes::default();
    let (server, driver) = serve(&nat).build().unwrap();
    drop(server);
    smol::block_on(within_limits(driver));
    assert!(nat.has_ended());
}

#[test]
fn a_nat_that_panicked_keeps_neither_its_clients_nor_the_others_nor_the_end_waiting() {
    let nat = Notes::default();
    let (server, driver) = serve(&nat).build().unwrap();
    nat.panic();
    smol::block_on(within_limits(async {
        let driver = smol::spawn(driver);
        let client = Asker::new(&server);
        for port in [4000, 4001] {
            client.send(&map(port, 60)).await;
            let answer = client.receive().await;
            assert_eq!(answer[3], 3, "network failure: {answer:02x?}");
        }
        assert_eq!(Asker::new(&server).external_address().await, OUTSIDE);
        drop(server);
        driver.await;
    }));
}

#[test]
fn dropping_the_driver_ends_everything_at_once_and_the_server_neither_hangs_nor_panics() {
    let nat = Notes::default();
    let (server, driver) = serve(&nat).build().unwrap();
    nat.slow_end();
    let mut events = server.events();
    smol::block_on(within_limits(async {
        let driver = smol::spawn(driver);
        let client = Asker::new(&server);
        client.map(4000, 600).await;
        let open = server.mappings()[0];
        let listening = smol::spawn(async move { while events.next().await.is_some() {} });
        driver.cancel().await;
        assert!(nat.has_ended(), "when the drop has returned, not later");
        listening.await;

        assert_eq!(server.addresses().len(), 1);
        assert!(server.mappings().is_empty(), "nothing is open");
        assert_eq!(server.external_address(), None);
        assert!(server.time_left(&open).is_some());
        server.set_external_address(Some(OUTSIDE));
        server.allow_mapping(false);
        server.clear();
        assert_eq!(server.events().next().await, None);
        drop(server);
    }));
}

/// G19: kept in the file, the epoch and the mappings go on.
#[test]
fn the_state_is_taken_up_by_the_next_server_however_the_first_one_ended() {
    for is_driver_dropped in [false, true] {
        let directory = Directory::new("restart");
        let nat = Notes::default();
        // As if it had run for a while.
        let saved_at = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        State { saved_at, epoch: 5_000, is_final: true, mappings: Vec::new() }.save(&directory.file("state")).unwrap();
        let (server, driver) = serve(&nat).state_file(directory.file("state")).build().unwrap();
        let client = Asker::new(&server);
        let run_first = async {
            let driver = smol::spawn(driver);
            assert_eq!(client.map(4000, 600).await, (4000, 600));
            if is_driver_dropped {
                driver.cancel().await;
            } else {
                drop(server);
                driver.await;
            }
        };
        smol::block_on(within_limits(run_first));
        assert_eq!(nat.standing(), [], "nothing stays open without a gateway");

        let (server, driver) = serve(&nat).state_file(directory.file("state")).build().unwrap();
        run(driver, async {
            until(|| !server.mappings().is_empty()).await;
            let standing = NatMapping { protocol: Protocol::Udp, internal: client.inside(4000), external_port: 4000 };
            assert_eq!(nat.standing(), [standing]);
            assert!(server.time_left(&server.mappings()[0]).unwrap() > Duration::from_secs(500));
            let client = Asker::new(&server);
            client.send(&Request::ExternalAddress.encode()).await;
            let Ok(Response::ExternalAddress { epoch, .. }) = Response::decode(&client.receive().await) else {
                panic!()
            };
            assert!((5_000..5_060).contains(&epoch), "the epoch goes on: {epoch}");
        });
    }
}

#[test]
fn a_change_is_in_the_file_while_the_gateway_runs() {
    let directory = Directory::new("running");
    let nat = Notes::default();
    let (server, driver) = serve(&nat).state_file(directory.file("state")).build().unwrap();
    run(driver, async {
        let client = Asker::new(&server);
        // The state of the start is in it when this is answered a second time.
        for _ in 0..2 {
            client.external_address().await;
        }
        assert!(directory.stored("state").is_empty());
        client.map(4000, 600).await;
        until(|| !directory.stored("state").is_empty()).await;
    });
}

#[test]
fn it_runs_under_tokio_as_well() {
    let nat = Notes::default();
    let (server, driver) = serve(&nat).build().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(within_limits(async {
        let driver = tokio::spawn(driver);
        let client = Asker::new(&server);
        assert_eq!(client.external_address().await, OUTSIDE);
        assert_eq!(client.map(4000, 60).await, (4000, 60));
        drop(server);
        driver.await.unwrap();
        assert!(nat.has_ended());
    }));
}

#[test]
fn what_cannot_be_served_is_said_at_the_start_and_no_nat_is_started() {
    let start = || Server::builder(|_| -> std::io::Result<Notes> { panic!("no NAT is wanted") }).port(0);
    assert!(matches!(start().build(), Err(ServerError::NoInternal)));
    let here = start().internal(Internal::Address(INSIDE));
    assert!(matches!(here.external(External::Address(INSIDE)).build(), Err(ServerError::SameSides)));
    let (server, _driver) = serve(&Notes::default()).build().unwrap();
    let second = start().internal(Internal::Address(INSIDE)).port(server.addresses()[0].port()).build();
    assert!(matches!(second, Err(ServerError::Socket { .. })), "{second:?}");
}

/// The driver waits for the new socket as it did for the old one.
#[cfg(target_os = "linux")]
#[test]
fn an_internal_interface_that_is_made_anew_is_heard_again() {
    let Some(lab) = natpmp_testkit::lab::Lab::or_skip() else { return };
    let router = lab.router().host();
    let is_answered = || {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        let _ = socket.send_to(&Request::ExternalAddress.encode(), natpmp_testkit::lab::GATEWAY);
        socket.recv(&mut [0; 64]).is_ok()
    };
    let is_answered = || lab.client().within(is_answered);
    std::thread::scope(|scope| {
        // A socket is opened where the driver runs.
        let (server, driver) = router.within(|| {
            let builder = Server::builder(|_| Ok(Notes::default())).internal(Internal::Interface("lan0".into()));
            builder.external(External::Interface("wan0".into())).build().unwrap()
        });
        scope.spawn(|| router.within(|| smol::block_on(within_limits(driver))));
        let heard = || natpmp_testkit::lab::wait_until(SOON / 2, is_answered);
        let was_heard = heard();
        router.ip(&["link", "delete", "lan0"]);
        router.ip(&["link", "add", "lan0", "type", "bridge", "stp_state", "0", "forward_delay", "0"]);
        router.ip(&["link", "set", "port0", "master", "lan0"]);
        router.ip(&["link", "set", "lan0", "up"]);
        router.ip(&["address", "add", "192.168.1.1/24", "dev", "lan0"]);
        let is_heard = heard();
        drop(server);
        assert!(was_heard && is_heard, "{was_heard} {is_heard}");
    });
}

fn serve(nat: &Notes) -> ServerBuilder {
    let nat = nat.clone();
    Server::builder(move |_| Ok(nat))
        .internal(Internal::Address(INSIDE))
        .external(External::Address(OUTSIDE))
        .announce_to(SocketAddrV4::new(INSIDE, 9))
        .port(0)
}

/// Runs `work` beside the driver, which has a task of its own: nobody but itself wakes it.
fn run(driver: impl Future<Output = ()> + Send + 'static, work: impl Future<Output = ()>) {
    smol::block_on(within_limits(async {
        let driver = smol::spawn(driver);
        work.await;
        assert!(!driver.is_finished(), "it ended before its server");
        driver.cancel().await;
    }));
}

async fn within_limits(work: impl Future<Output = ()>) {
    let late = async {
        Timer::after(SOON).await;
        panic!("not within {SOON:?}");
    };
    smol::future::or(work, late).await;
}

async fn until(condition: impl Fn() -> bool) {
    while !condition() {
        Timer::after(Duration::from_millis(5)).await;
    }
}

/// All of them at once, on one task.
async fn join_all<F: Future<Output = ()>>(futures: impl Iterator<Item = F>) {
    let executor = smol::LocalExecutor::new();
    let tasks: Vec<_> = futures.map(|future| executor.spawn(future)).collect();
    executor
        .run(async {
            for task in tasks {
                task.await;
            }
        })
        .await;
}

fn map(port: u16, lifetime: u32) -> Vec<u8> {
    let request = Request::Map { protocol: Protocol::Udp, internal_port: port, suggested_external_port: 0, lifetime };
    request.encode().to_vec()
}

/// A client that asks once.
struct Asker(Async<UdpSocket>);

impl Asker {
    fn new(server: &Server) -> Self {
        let socket = UdpSocket::bind((INSIDE, 0)).unwrap();
        socket.connect(server.addresses()[0]).unwrap();
        Self(Async::new(socket).unwrap())
    }

    fn inside(&self, port: u16) -> SocketAddrV4 {
        SocketAddrV4::new(INSIDE, port)
    }

    async fn send(&self, packet: &[u8]) {
        self.0.send(packet).await.unwrap();
    }

    async fn receive(&self) -> Vec<u8> {
        let mut buffer = [0; 64];
        let length = self.0.recv(&mut buffer).await.unwrap();
        buffer[..length].to_vec()
    }

    /// Asks again after a while, as clients do: the system drops what the gateway's socket has no room for.
    async fn pursue(&self, packet: &[u8], is_answer: impl Fn(&[u8]) -> bool) {
        loop {
            self.send(packet).await;
            let answered = async {
                while !is_answer(&self.receive().await) {}
                true
            };
            let late = async {
                Timer::after(Duration::from_millis(250)).await;
                false
            };
            if smol::future::or(answered, late).await {
                return;
            }
        }
    }

    async fn external_address(&self) -> Ipv4Addr {
        self.send(&Request::ExternalAddress.encode()).await;
        match Response::decode(&self.receive().await) {
            Ok(Response::ExternalAddress { address, .. }) => address,
            other => panic!("{other:?}"),
        }
    }

    /// The external port and the lifetime.
    async fn map(&self, port: u16, lifetime: u32) -> (u16, u32) {
        self.send(&map(port, lifetime)).await;
        match Response::decode(&self.receive().await) {
            Ok(Response::Map { external_port, lifetime, .. }) => (external_port, lifetime),
            other => panic!("{other:?}"),
        }
    }
}

/// A driver whose polls are counted.
struct Counted {
    driver: ServerDriver,
    polls: Arc<AtomicUsize>,
}

impl Future for Counted {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        self.polls.fetch_add(1, Ordering::Relaxed);
        Pin::new(&mut self.driver).poll(context)
    }
}

/// A NAT that takes notes.
#[derive(Clone, Default)]
struct Notes(Arc<Mutex<Noted>>, Arc<Condvar>);

#[derive(Default)]
struct Noted {
    standing: Vec<NatMapping>,
    installed: usize,
    is_to_block: bool,
    is_end_to_block: bool,
    is_end_slow: bool,
    is_to_panic: bool,
    is_blocked: bool,
    has_ended: bool,
}

impl Notes {
    fn standing(&self) -> Vec<NatMapping> {
        self.0.lock().unwrap().standing.clone()
    }

    /// How often it installed a mapping.
    fn installed(&self) -> usize {
        self.0.lock().unwrap().installed
    }

    fn has_ended(&self) -> bool {
        self.0.lock().unwrap().has_ended
    }

    fn block(&self) {
        self.0.lock().unwrap().is_to_block = true;
    }

    fn block_end(&self) {
        self.0.lock().unwrap().is_end_to_block = true;
    }

    /// Who does not wait for the end is not to be lucky.
    fn slow_end(&self) {
        self.0.lock().unwrap().is_end_slow = true;
    }

    fn panic(&self) {
        self.0.lock().unwrap().is_to_panic = true;
    }

    fn unblock(&self) {
        let mut noted = self.0.lock().unwrap();
        (noted.is_to_block, noted.is_end_to_block) = (false, false);
        self.1.notify_all();
    }

    fn is_blocked(&self) -> bool {
        self.0.lock().unwrap().is_blocked
    }

    /// Not for ever, so that a task that is blocked by it is seen to be.
    fn wait_while<'a>(
        &self,
        mut noted: MutexGuard<'a, Noted>,
        is_to_wait: fn(&Noted) -> bool,
    ) -> MutexGuard<'a, Noted> {
        noted.is_blocked = is_to_wait(&noted);
        let mut noted = self.1.wait_timeout_while(noted, SOON / 2, |noted| is_to_wait(noted)).unwrap().0;
        noted.is_blocked = false;
        noted
    }
}

impl Nat for Notes {
    fn apply(&mut self, requests: &[NatRequest]) -> Vec<Result<(), NatFailure>> {
        let mut noted = self.0.lock().unwrap();
        if !requests.is_empty() {
            assert!(!noted.is_to_panic, "as it was told");
            noted = self.wait_while(noted, |noted| noted.is_to_block);
        }
        for request in requests {
            noted.standing.retain(|mapping| mapping != request.mapping());
            if let NatRequest::Install(mapping) = request {
                noted.standing.push(*mapping);
                noted.installed += 1;
            }
        }
        vec![Ok(()); requests.len()]
    }

    fn set_external_address(&mut self, _address: Option<Ipv4Addr>) {}

    fn end(&mut self) {
        let mut noted = self.wait_while(self.0.lock().unwrap(), |noted| noted.is_end_to_block);
        if noted.is_end_slow {
            drop(noted);
            std::thread::sleep(Duration::from_millis(200));
            noted = self.0.lock().unwrap();
        }
        noted.standing.clear();
        noted.has_ended = true;
    }
}

/// A directory that goes with the test.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("natpmp-smol-server-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn stored(&self, name: &str) -> Vec<StoredMapping> {
        State::load(&self.file(name)).unwrap().unwrap().mappings
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

const CLIENTS: u16 = 200;
const INSIDE: Ipv4Addr = Ipv4Addr::LOCALHOST;
const OUTSIDE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const SOON: Duration = Duration::from_secs(10);
