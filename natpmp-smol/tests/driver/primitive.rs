//! An executor as simple as can be: its queue and the wakers own the tasks, and whatever is dropped with the last of them is dropped
//! where that happens to be.

use std::future::Future;
use std::pin::Pin;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use natpmp_smol::{KeptMapping, MapRequest, Protocol};
use natpmp_testkit::gateway::Reach;
use natpmp_testkit::waiting::{SOON, in_time};
use smol::stream::{Stream, StreamExt};

use super::{TCP, UDP, builder, gateway, soon};

/// Its queue is gone, so that waking a task drops it, its future, and the handles in it.
#[test]
fn tasks_that_only_wakers_own_may_go_when_the_driver_is_dropped() {
    let gateway = gateway();
    gateway.reach(Reach::Silent);
    in_time(move || {
        let (client, driver) = builder(&gateway).build().unwrap();
        let executor = Primitive::new();
        let dropped = Arc::new(());
        for call in 0..6 {
            let (client, token) = (client.clone(), Arc::clone(&dropped));
            executor.spawn(async move {
                let _token = token;
                match call {
                    0 => drop(client.external_address().await),
                    1 => drop(client.map(&UDP).await),
                    2 => drop(client.unmap_all(Protocol::Tcp).await),
                    3 => drop(client.keep(&TCP).unwrap().wait_open(SOON).await),
                    4 => drop(client.events().count().await),
                    _ => drop(client.announcements().count().await),
                }
            });
        }
        let slot = Arc::new(Mutex::new(Some(driver)));
        executor.spawn(Borrowed(Arc::clone(&slot)));
        executor.run_until_idle();
        drop((executor, client));
        assert_eq!(Arc::strong_count(&dropped), 7, "the wakers hold them");
        let driver = slot.lock().unwrap().take();
        drop(driver);
        assert_eq!(Arc::strong_count(&dropped), 1);
    });
}

/// The last handle of a mapping is dropped where the call that waits beside it is woken.
#[test]
fn a_task_that_only_a_waker_owns_may_go_when_it_is_answered() {
    let gateway = gateway();
    in_time(move || {
        let (client, mut driver) = builder(&gateway).build().unwrap();
        let executor = Primitive::new();
        let dropped = Arc::new(());
        let (kept, token) = (client.keep(&TCP).unwrap(), Arc::clone(&dropped));
        executor.spawn(async move {
            let _token = token;
            let _kept: KeptMapping = kept;
            let _ = client.map(&UDP).await;
        });
        executor.run_until_idle();
        drop(executor);
        // With the task the last handle goes, and so the driver ends.
        let deadline = Instant::now() + SOON;
        let mut context = Context::from_waker(Waker::noop());
        while Pin::new(&mut driver).poll(&mut context).is_pending() {
            assert!(Instant::now() < deadline);
            std::thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(Arc::strong_count(&dropped), 1);
        assert_eq!(gateway.leases(), 0, "nobody has heard of either");
    });
}

/// A socket that is closed may hold the last waker of the task that polled the driver before.
#[test]
fn a_driver_may_be_the_last_to_know_the_task_that_polled_it_before() {
    let gateway = gateway();
    in_time(move || {
        let (client, mut driver) = builder(&gateway).build().unwrap();
        // It was unmapped, and so no timer runs for it; dropped, it takes the client's lock.
        let kept = client.keep(&UDP).unwrap();
        let work = async {
            kept.refresh().await.unwrap();
            client.unmap(kept.protocol(), kept.internal_port()).await.unwrap();
        };
        smol::block_on(soon(smol::future::or(work, async { (&mut driver).await })));
        let before = Arc::new(Holder(kept));
        let weak = Arc::downgrade(&before);
        let waker = Waker::from(before);
        assert!(Pin::new(&mut driver).poll(&mut Context::from_waker(&waker)).is_pending());
        drop(waker);
        assert!(weak.upgrade().is_some(), "the driver and its sockets hold it");
        client.set_gateway(client.gateway());
        assert!(Pin::new(&mut driver).poll(&mut Context::from_waker(Waker::noop())).is_pending());
        let deadline = Instant::now() + SOON;
        while weak.upgrade().is_some() {
            assert!(Instant::now() < deadline, "something holds it still");
            std::thread::sleep(Duration::from_millis(1));
        }
    });
}

/// Whatever a waker holds is dropped with it, at a moment when the client's lock is free.
#[test]
fn the_waker_of_a_call_may_hold_the_last_handle_of_a_mapping() {
    let gateway = gateway();
    in_time(move || {
        let (client, _driver) = builder(&gateway).build().unwrap();
        let (mut events, mut call) = (client.events(), Box::pin(client.map(&UDP)));
        let held = |port| {
            let holder = Arc::new(Holder(client.keep(&MapRequest::new(Protocol::Tcp, port)).unwrap()));
            let weak = Arc::downgrade(&holder);
            (Waker::from(holder), move || weak.upgrade().is_none())
        };
        let mut noop = Context::from_waker(Waker::noop());

        // Another waker takes its place.
        let ((waker, is_gone), (other, is_other_gone)) = (held(5_000), held(5_001));
        assert!(call.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        assert!(Pin::new(&mut events).poll_next(&mut Context::from_waker(&other)).is_pending());
        drop((waker, other));
        assert!(Pin::new(&mut events).poll_next(&mut noop).is_pending() && is_other_gone());
        assert!(call.as_mut().poll(&mut noop).is_pending() && is_gone());

        // With their wakers both mappings have ended, which the stream says without the driver.
        while Pin::new(&mut events).poll_next(&mut noop).is_ready() {}

        // Its future or its stream is dropped.
        let ((waker, is_gone), (other, is_other_gone)) = (held(5_002), held(5_003));
        assert!(call.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        assert!(Pin::new(&mut events).poll_next(&mut Context::from_waker(&other)).is_pending());
        drop((waker, other));
        drop((call, events));
        assert!(is_gone() && is_other_gone());
    });
}

/// What a task may own.
struct Holder(KeptMapping);

impl Wake for Holder {
    fn wake(self: Arc<Self>) {
        let _ = self.0.internal_port();
    }
}

/// A future that somebody else may take away.
struct Borrowed<F>(Arc<Mutex<Option<F>>>);

impl<F: Future<Output = ()> + Unpin> Future for Borrowed<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut future = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        future.as_mut().map_or(Poll::Ready(()), |future| Pin::new(future).poll(context))
    }
}

struct Primitive {
    queue: Sender<Arc<Task>>,
    woken: Receiver<Arc<Task>>,
}

struct Task {
    future: Mutex<Pin<Box<dyn Future<Output = ()> + Send>>>,
    queue: Sender<Arc<Task>>,
}

impl Primitive {
    fn new() -> Self {
        let (queue, woken) = mpsc::channel();
        Self { queue, woken }
    }

    fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        let task = Task { future: Mutex::new(Box::pin(future)), queue: self.queue.clone() };
        let _ = self.queue.send(Arc::new(task));
    }

    /// Nothing was woken for a while.
    fn run_until_idle(&self) {
        while let Ok(task) = self.woken.recv_timeout(Duration::from_millis(20)) {
            let waker = Waker::from(Arc::clone(&task));
            let mut future = task.future.lock().unwrap();
            let _ = future.as_mut().poll(&mut Context::from_waker(&waker));
        }
    }
}

impl Wake for Task {
    /// When nobody receives any more, this drops the task.
    fn wake(self: Arc<Self>) {
        let queue = self.queue.clone();
        let _ = queue.send(self);
    }
}
