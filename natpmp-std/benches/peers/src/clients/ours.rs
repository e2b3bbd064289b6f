//! natpmp-std and natpmp-smol, with what they have by default. Announcements are heard on the gateway's own loopback address,
//! where the gateways here send them.

use std::future::pending;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::{Duration, Instant};

use natpmp_proto::wire::ANNOUNCEMENT_PORT;
use natpmp_std::{Client, MapRequest, Protocol, Schedule};

use super::{Ask, Keep, LOWEST_PORT, say_open};

pub(super) fn repeat_on_std(ask: Ask, gateway: Ipv4Addr, count: usize) -> Duration {
    let client = on_std(gateway, Schedule::RFC);
    let begun = Instant::now();
    for _ in 0..count {
        match ask {
            Ask::Address => drop(client.external_address().expect("an answer")),
            Ask::Mapping => drop(client.map(&request()).expect("an answer")),
        }
    }
    begun.elapsed()
}

pub(super) fn first_on_std(gateway: Ipv4Addr) -> Result<(), String> {
    on_std(gateway, Schedule::RFC).map(&request()).map(drop).map_err(|error| error.to_string())
}

pub(super) fn first_quick(gateway: Ipv4Addr) -> Result<(), String> {
    on_std(gateway, Schedule::QUICK).map(&request()).map(drop).map_err(|error| error.to_string())
}

pub(super) fn keep_on_std(job: &Keep) {
    let client = on_std(job.gateway, Schedule::RFC);
    let kept: Vec<_> = requests(job).map(|request| client.keep(&request).expect("there is room")).collect();
    assert!(kept.iter().all(|kept| kept.wait_open(PATIENCE).is_ok()), "all are open");
    say_open();
    loop {
        std::thread::park();
    }
}

pub(super) fn repeat_on_smol(ask: Ask, gateway: Ipv4Addr, count: usize) -> Duration {
    on_smol(gateway, async move |client| {
        let begun = Instant::now();
        for _ in 0..count {
            match ask {
                Ask::Address => drop(client.external_address().await.expect("an answer")),
                Ask::Mapping => drop(client.map(&request()).await.expect("an answer")),
            }
        }
        begun.elapsed()
    })
}

pub(super) fn first_on_smol(gateway: Ipv4Addr) -> Result<(), String> {
    on_smol(gateway, async |client| client.map(&request()).await.map(drop).map_err(|error| error.to_string()))
}

pub(super) fn keep_on_smol(job: &Keep) {
    on_smol(job.gateway, async |client| {
        let kept: Vec<_> = requests(job).map(|request| client.keep(&request).expect("there is room")).collect();
        for kept in &kept {
            kept.wait_open(PATIENCE).await.expect("all are open");
        }
        say_open();
        pending::<()>().await;
    });
}

fn on_std(gateway: Ipv4Addr, schedule: Schedule) -> Client {
    let builder = Client::builder().gateway_address(gateway).announcement_address(announcements(gateway));
    builder.schedule(schedule).build().expect("a client")
}

fn on_smol<T>(gateway: Ipv4Addr, work: impl AsyncFnOnce(natpmp_smol::Client) -> T) -> T {
    let executor = smol::LocalExecutor::new();
    smol::block_on(executor.run(async {
        let builder = natpmp_smol::Client::builder().gateway_address(gateway);
        let (client, driver) = builder.announcement_address(announcements(gateway)).build().expect("a client");
        executor.spawn(driver).detach();
        work(client).await
    }))
}

fn request() -> MapRequest {
    MapRequest::new(Protocol::Udp, LOWEST_PORT)
}

fn requests(job: &Keep) -> impl Iterator<Item = MapRequest> {
    job.ports().map(|port| MapRequest::new(Protocol::Udp, port).lifetime(job.lifetime))
}

fn announcements(gateway: Ipv4Addr) -> SocketAddrV4 {
    SocketAddrV4::new(gateway, ANNOUNCEMENT_PORT)
}

const PATIENCE: Duration = Duration::from_secs(60);
