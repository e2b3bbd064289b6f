//! What the driver of a server promises: wherever it is polled, and whenever it is dropped. All else that a server does is in
//! `natpmp-std/suites`.
#![cfg(feature = "server")]
#![forbid(unsafe_code)]
#![cfg(test)]

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use natpmp_proto::wire::{Request, Response};
use natpmp_smol::Protocol;
use natpmp_smol::server::nat::Nat;
use natpmp_smol::server::{
    External, Internal, NatFailure, NatMapping, NatRequest, Server, ServerBuilder, ServerDriver, StoredState,
};
use natpmp_testkit::waiting::SOON;
use smol::stream::StreamExt;
use smol::{Async, Timer};

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

/// The task that the driver is on has others too.
#[test]
fn a_nat_that_takes_long_to_end_does_not_block_the_task() {
    let nat = Notes::default();
    let (server, mut driver) = serve(&nat).build().unwrap();
    nat.set(Manner::Blocking);
    drop(server);
    let first = Pin::new(&mut driver).poll(&mut Context::from_waker(Waker::noop()));
    // It has come back, and not waited.
    assert!(first.is_pending() && !nat.has_ended());
    nat.set(Manner::AtOnce);
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
fn dropping_the_driver_ends_everything_at_once_and_the_server_neither_hangs_nor_panics() {
    let nat = Notes::default();
    let (server, driver) = serve(&nat).build().unwrap();
    nat.set(Manner::Slow);
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
fn the_state_is_taken_up_by_the_next_server_after_the_driver_was_dropped() {
    let path = std::env::temp_dir().join(format!("natpmp-smol-state-{}", std::process::id()));
    let nat = Notes::default();
    // As if it had run for a while.
    let saved_at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    StoredState { saved_at, epoch: 5_000, is_final: true, mappings: Vec::new() }.save(&path).unwrap();
    let (server, driver) = serve(&nat).state_file(&path).build().unwrap();
    let client = Asker::new(&server);
    smol::block_on(within_limits(async {
        let driver = smol::spawn(driver);
        assert_eq!(client.map(4000, 600).await, (4000, 600));
        driver.cancel().await;
    }));
    assert_eq!(nat.standing(), [], "nothing stays open without a gateway");

    let (server, driver) = serve(&nat).state_file(&path).build().unwrap();
    run(driver, async {
        until(|| !server.mappings().is_empty()).await;
        let internal = SocketAddrV4::new(INSIDE, 4000);
        let standing = NatMapping { protocol: Protocol::Udp, internal, external_port: 4000 };
        assert_eq!(nat.standing(), [standing]);
        assert!(server.time_left(&server.mappings()[0]).unwrap() > Duration::from_secs(500));
        let epoch = Asker::new(&server).ask(&Request::ExternalAddress).await.epoch().unwrap();
        assert!((5_000..5_060).contains(&epoch), "the epoch goes on: {epoch}");
    });
    drop(server);
    let _ = std::fs::remove_file(path);
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

/// A client that asks once.
struct Asker(Async<UdpSocket>);

impl Asker {
    fn new(server: &Server) -> Self {
        let socket = UdpSocket::bind((INSIDE, 0)).unwrap();
        socket.connect(server.addresses()[0]).unwrap();
        Self(Async::new(socket).unwrap())
    }

    async fn ask(&self, request: &Request) -> Response {
        self.0.send(&request.encode()).await.unwrap();
        let mut buffer = [0; 64];
        let length = self.0.recv(&mut buffer).await.unwrap();
        Response::decode(&buffer[..length]).unwrap()
    }

    async fn external_address(&self) -> Ipv4Addr {
        match self.ask(&Request::ExternalAddress).await {
            Response::ExternalAddress { address, .. } => address,
            other => panic!("{other:?}"),
        }
    }

    /// The external port and the lifetime.
    async fn map(&self, internal_port: u16, lifetime: u32) -> (u16, u32) {
        let protocol = Protocol::Udp;
        match self.ask(&Request::Map { protocol, internal_port, suggested_external_port: 0, lifetime }).await {
            Response::Map { external_port, lifetime, .. } => (external_port, lifetime),
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
    manner: Manner,
    has_ended: bool,
}

/// How it ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Manner {
    #[default]
    AtOnce,
    /// Who does not wait for the end is not to be lucky.
    Slow,
    /// It waits until it is told another manner; not for ever, so that a task that is blocked by it is seen to be.
    Blocking,
}

impl Notes {
    fn standing(&self) -> Vec<NatMapping> {
        self.lock().standing.clone()
    }

    fn has_ended(&self) -> bool {
        self.lock().has_ended
    }

    fn set(&self, manner: Manner) {
        self.lock().manner = manner;
        self.1.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Noted> {
        self.0.lock().unwrap()
    }
}

impl Nat for Notes {
    fn apply(&mut self, requests: &[NatRequest]) -> Vec<Result<(), NatFailure>> {
        let mut noted = self.lock();
        for request in requests {
            noted.standing.retain(|mapping| mapping != request.mapping());
            if let NatRequest::Install(mapping) = request {
                noted.standing.push(*mapping);
            }
        }
        vec![Ok(()); requests.len()]
    }

    fn set_external_address(&mut self, _address: Option<Ipv4Addr>) {}

    fn end(&mut self) {
        if self.lock().manner == Manner::Slow {
            std::thread::sleep(Duration::from_millis(200));
        }
        let is_to_wait = |noted: &mut Noted| noted.manner == Manner::Blocking;
        let mut noted = self.1.wait_timeout_while(self.lock(), SOON / 2, is_to_wait).unwrap().0;
        noted.standing.clear();
        noted.has_ended = true;
    }
}

const INSIDE: Ipv4Addr = Ipv4Addr::LOCALHOST;
const OUTSIDE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
