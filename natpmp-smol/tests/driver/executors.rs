//! Where a driver runs.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use natpmp_smol::{Client, Event};
use natpmp_testkit::gateway::Gateway;
use smol::future;
use smol::stream::StreamExt;

use super::{UDP, builder, eventually, gateway, keep, soon, within};

#[test]
fn under_smol_on_its_own_threads() {
    let gateway = gateway();
    let (client, driver) = builder(&gateway).build().unwrap();
    let driver = smol::spawn(driver);
    smol::block_on(soon(async {
        use_it(client).await;
        driver.await;
    }));
    assert_eq!(gateway.leases(), 0);
}

#[test]
fn beside_the_work_on_one_thread() {
    let gateway = gateway();
    let (client, driver) = builder(&gateway).build().unwrap();
    let work = async {
        use_it(client).await;
        future::pending::<()>().await;
    };
    // The driver ends when the client is gone.
    async_io::block_on(soon(future::race(driver, work)));
    assert_eq!(gateway.leases(), 0);
}

#[test]
fn under_tokio() {
    let gateway = gateway();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(soon(async {
        let (client, driver) = builder(&gateway).build().unwrap();
        let driver = tokio::spawn(driver);
        tokio::spawn(use_it(client)).await.unwrap();
        driver.await.unwrap();
    }));
    assert_eq!(gateway.leases(), 0);
}

/// Its task is dropped with the runtime: that is what ends the calls.
#[test]
fn a_runtime_that_is_shut_down_ends_the_calls() {
    let gateway = gateway();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (client, driver) = builder(&gateway).build().unwrap();
    let driver = runtime.spawn(driver);
    runtime.block_on(soon(client.external_address())).unwrap();
    drop(runtime);
    assert!(smol::block_on(soon(client.external_address())).is_err());
    drop(driver);
}

#[test]
fn a_driver_goes_on_when_it_is_moved_from_one_executor_to_another() {
    let gateway = gateway();
    let (client, mut driver) = builder(&gateway).build().unwrap();
    let mut events = client.events();
    // It is polled by three tasks, one after the other; each time something is under way when it is moved.
    let kept = client.keep(&UDP.refresh_interval(1)).unwrap();
    smol::block_on(within(Duration::from_millis(20), &mut driver));
    {
        let executor = smol::Executor::new();
        smol::block_on(executor.run(executor.spawn(within(Duration::from_millis(20), &mut driver))));
    }
    let asking = client.external_address();
    let driving = async {
        (&mut driver).await;
        unreachable!("its client is there")
    };
    let asking = smol::block_on(soon(future::or(asking, driving)));
    assert_eq!(asking.unwrap(), Gateway::EXTERNAL);

    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(soon(async {
        let driver = tokio::spawn(driver);
        // By time, by a command, and by a datagram.
        while !matches!(events.next().await, Some(Event::Renewed(_))) {}
        while !matches!(events.next().await, Some(Event::Renewed(_))) {}
        assert_eq!(client.external_address().await.unwrap(), Gateway::EXTERNAL);
        kept.stop().await.unwrap();
        drop(client);
        driver.await.unwrap();
    }));
    assert_eq!(gateway.leases(), 0);
}

/// It waits for what happens, and does not ask again and again.
#[test]
fn a_driver_that_has_nothing_to_do_is_not_polled() {
    struct Counting<F>(F, Arc<AtomicUsize>);
    impl<F: Future + Unpin> Future for Counting<F> {
        type Output = F::Output;

        fn poll(mut self: std::pin::Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
            self.1.fetch_add(1, Ordering::Relaxed);
            std::pin::Pin::new(&mut self.0).poll(context)
        }
    }
    let gateway = gateway();
    let (client, driver) = builder(&gateway).build().unwrap();
    let polls = Arc::new(AtomicUsize::new(0));
    let driver = smol::spawn(Counting(driver, Arc::clone(&polls)));
    smol::block_on(soon(async {
        let kept = keep(&client, &UDP).await;
        client.external_address().await.unwrap();
        // What has been begun by now comes to its end.
        smol::Timer::after(Duration::from_millis(20)).await;
        let before = polls.load(Ordering::Relaxed);
        smol::Timer::after(Duration::from_millis(200)).await;
        assert_eq!(polls.load(Ordering::Relaxed), before);
        kept.refresh().await.unwrap();
        let took = polls.load(Ordering::Relaxed) - before;
        assert!((1..10).contains(&took), "{took} polls for one answer");
        drop((kept, client));
        driver.await;
    }));
}

/// Every command wakes whoever polls the driver.
#[test]
fn every_command_wakes_the_driver() {
    #[derive(Default)]
    struct Count(AtomicUsize);
    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    let gateway = gateway();
    let (client, mut driver) = builder(&gateway).build().unwrap();
    let count = Arc::new(Count::default());
    let waker = Waker::from(Arc::clone(&count));
    let mut context = Context::from_waker(&waker);
    let mut is_woken = |what: &str, command: &mut dyn FnMut()| {
        assert!(std::pin::Pin::new(&mut driver).poll(&mut context).is_pending());
        count.0.store(0, Ordering::Relaxed);
        command();
        assert!(count.0.load(Ordering::Relaxed) > 0, "{what}");
    };
    let mut kept = None;
    let mut calls = (None, None);
    is_woken("external address", &mut || calls.0 = Some(client.external_address()));
    is_woken("map", &mut || calls.1 = Some(client.map(&UDP)));
    is_woken("keep", &mut || kept = Some(client.keep(&super::TCP).unwrap()));
    is_woken("drop", &mut || kept = None);
    is_woken("watch", &mut || client.watch_external_address(true));
    is_woken("network", &mut || client.network_changed());
    is_woken("gateway", &mut || client.set_gateway(client.gateway()));
}

async fn use_it(client: Client) {
    assert_eq!(client.external_address().await.unwrap(), Gateway::EXTERNAL);
    let mut events = client.events();
    let kept = keep(&client, &UDP).await;
    assert!(matches!(events.next().await, Some(Event::Mapped(_))));
    assert_eq!(kept.refresh().await.unwrap().external_port, 4_000);
    let other = keep(&client, &super::TCP).await;
    kept.stop().await.unwrap();
    eventually("it is open", || other.state().mapping.is_some()).await;
}
