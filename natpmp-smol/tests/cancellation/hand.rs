//! A client, its driver and its gateway, moved by hand on one thread.

use std::fmt::Debug;
use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};

use natpmp_proto::Instant as Time;
use natpmp_smol::{Client, MapRequest, Protocol};
use natpmp_testkit::gateway::{Destination, Gateway};

use super::OTHER;

pub(crate) struct Hand {
    /// Until the end.
    client: Option<Client>,
    driver: Polled<'static, ()>,
    pub(crate) gateway: Gateway,
    socket: UdpSocket,
    origin: Instant,
}

impl Hand {
    pub(crate) fn new() -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        socket.set_nonblocking(true).unwrap();
        let SocketAddr::V4(address) = socket.local_addr().unwrap() else { panic!("bound to an IPv4 address") };
        let (client, driver) = Client::builder().gateway(address).announcements(false).build().unwrap();
        let driver = Polled::new(driver);
        Self { client: Some(client), driver, gateway: Gateway::new(), socket, origin: Instant::now() }
    }

    pub(crate) fn client(&self) -> Client {
        self.client.clone().expect("it is not the end")
    }

    pub(crate) fn poll_driver(&mut self) {
        // The sockets are looked at in every poll, so that this one may well find more than it was woken for.
        self.driver.poll_unwoken();
    }

    pub(crate) fn drop_driver(&mut self) {
        self.driver = Polled::new(std::future::pending());
    }

    /// The gateway takes what it was asked, and answers it.
    pub(crate) fn answer(&mut self) {
        let now = self.now();
        let mut buffer = [0; 64];
        while let Ok((length, SocketAddr::V4(from))) = self.socket.recv_from(&mut buffer) {
            self.gateway.handle(now, from, &buffer[..length]);
        }
        while let Some(outgoing) = self.gateway.poll_transmit(now) {
            if let Destination::Host(host) = outgoing.to {
                let _ = self.socket.send_to(&outgoing.bytes, host);
            }
        }
    }

    /// All parties move until the future is ready.
    pub(crate) fn finish<T>(&mut self, future: impl Future<Output = T>) -> T {
        let mut polled = Polled::new(future);
        self.until(|_| {
            polled.poll();
            polled.result.is_some()
        });
        polled.result.expect("it is ready")
    }

    /// All parties move until the condition holds.
    #[track_caller]
    pub(crate) fn until(&mut self, mut condition: impl FnMut(&mut Self) -> bool) {
        let deadline = Instant::now() + SOON;
        let mut rounds = 0_u32;
        while !condition(self) {
            assert!(Instant::now() < deadline, "not in time");
            self.poll_driver();
            self.answer();
            rounds += 1;
            if rounds > 20 {
                thread::sleep(Duration::from_micros(200));
            }
        }
    }

    pub(crate) fn has(&self, port: u16) -> bool {
        self.gateway.lease(self.now(), Protocol::Udp, port).is_some()
    }

    /// Whatever the gateway has is among the mappings that the client holds.
    #[track_caller]
    pub(crate) fn check_nothing_is_lost(&self, steps: &impl Debug) {
        let held = self.client().mappings();
        for lease in self.gateway.leases(self.now()) {
            let is_held =
                held.iter().any(|held| (held.protocol, held.internal_port) == (lease.protocol, lease.internal_port));
            assert!(is_held, "{steps:?}: {lease:?} is not among {held:?}");
        }
    }

    #[track_caller]
    pub(crate) fn check_it_works(&mut self, steps: &impl Debug) {
        let client = self.client();
        let address = self.finish(client.external_address()).unwrap();
        assert_eq!(address, Gateway::EXTERNAL, "{steps:?}");
        let mapping = self.finish(client.map(&MapRequest::new(Protocol::Udp, OTHER))).unwrap();
        assert_eq!(mapping.internal_port, OTHER, "{steps:?}");
    }

    /// Drops the client, and polls the driver to its end: the internal ports that stay mapped at the gateway.
    #[track_caller]
    pub(crate) fn end(mut self) -> Vec<u16> {
        self.client = None;
        self.until(|hand| hand.driver.result.is_some());
        let mut ports: Vec<_> = self.gateway.leases(self.now()).iter().map(|lease| lease.internal_port).collect();
        ports.sort_unstable();
        ports
    }

    fn now(&self) -> Time {
        Time::ZERO + self.origin.elapsed()
    }
}

/// A future that is polled by hand, each time by another task: the last one is to be woken.
pub(crate) struct Polled<'a, T> {
    future: Option<Pin<Box<dyn Future<Output = T> + 'a>>>,
    /// By its last poll.
    woken: Option<Arc<WakeFlag>>,
    result: Option<T>,
}

impl<'a, T> Polled<'a, T> {
    pub(crate) fn new(future: impl Future<Output = T> + 'a) -> Self {
        Self { future: Some(Box::pin(future)), woken: None, result: None }
    }

    /// Once it has waited it is not ready without having been woken.
    #[track_caller]
    pub(crate) fn poll(&mut self) {
        let may_be_ready = !self.was_polled() || self.is_woken() || self.result.is_some();
        self.poll_unwoken();
        assert!(self.result.is_none() || may_be_ready, "it is ready, and was not woken");
    }

    fn poll_unwoken(&mut self) {
        let Some(future) = &mut self.future else { return };
        let woken = Arc::default();
        let waker = Waker::from(Arc::clone(&woken));
        if let Poll::Ready(result) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            (self.result, self.future) = (Some(result), None);
        }
        self.woken = Some(woken);
    }

    pub(crate) fn was_polled(&self) -> bool {
        self.woken.is_some()
    }

    pub(crate) fn is_woken(&self) -> bool {
        self.woken.as_ref().is_some_and(|woken| woken.0.load(Ordering::Relaxed))
    }

    /// Drops the future. Nobody holds on to the task that waited for it.
    #[track_caller]
    pub(crate) fn give_up(mut self) {
        self.future = None;
        assert!(self.woken.is_none_or(|woken| Arc::strong_count(&woken) == 1), "its waker is held");
    }
}

impl<T: Copy> Polled<'_, T> {
    pub(crate) fn result(&self) -> Option<T> {
        self.result
    }
}

#[derive(Default)]
struct WakeFlag(AtomicBool);

impl Wake for WakeFlag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

const SOON: Duration = Duration::from_secs(10);
