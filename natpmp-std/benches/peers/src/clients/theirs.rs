//! The crates `crab_nat` and `natpmp`, as their documentation has it.

use std::future::{Future, pending};
use std::net::Ipv4Addr;
use std::num::NonZeroU16;
use std::time::{Duration, Instant};

use crab_nat::{InternetProtocol, PortMapping, PortMappingOptions};
use natpmp::{Error, Natpmp, Protocol, Response, new_tokio_natpmp_with};

use super::{Ask, Keep, LOWEST_PORT, say_open};

pub(super) fn repeat_crab_nat(ask: Ask, gateway: Ipv4Addr, count: usize) -> Duration {
    on_tokio(async {
        let begun = Instant::now();
        for _ in 0..count {
            match ask {
                Ask::Address => {
                    crab_nat::natpmp::external_address(gateway.into(), None).await.expect("an answer");
                }
                Ask::Mapping => drop(map(gateway, LOWEST_PORT, LIFETIME).await.expect("an answer")),
            }
        }
        begun.elapsed()
    })
}

pub(super) fn first_crab_nat(gateway: Ipv4Addr) -> Result<(), String> {
    on_tokio(map(gateway, LOWEST_PORT, LIFETIME)).map(drop).map_err(|error| error.to_string())
}

/// One task a mapping, which renews it at half of its lifetime; after a failure, every five seconds.
pub(super) fn keep_crab_nat(job: &Keep) {
    let (gateway, lifetime) = (job.gateway, job.lifetime);
    on_tokio(async {
        let mut tasks = Vec::new();
        for port in job.ports() {
            tasks.push(tokio::spawn(async move { map(gateway, port, lifetime).await.expect("an answer") }));
        }
        for task in tasks {
            let mut mapping = task.await.expect("it is open");
            tokio::spawn(async move {
                loop {
                    tokio::time::sleep(Duration::from_secs(u64::from(lifetime)) / 2).await;
                    while mapping.renew().await.is_err() {
                        tokio::time::sleep(Duration::from_secs(5)).await;
                    }
                }
            });
        }
        say_open();
        pending::<()>().await;
    });
}

async fn map(gateway: Ipv4Addr, port: u16, lifetime: u32) -> Result<PortMapping, crab_nat::natpmp::Failure> {
    let options = PortMappingOptions { lifetime_seconds: Some(lifetime), ..PortMappingOptions::default() };
    let port = NonZeroU16::new(port).expect("a port");
    crab_nat::natpmp::port_mapping(gateway.into(), InternetProtocol::Udp, port, options).await
}

pub(super) fn repeat_natpmp(ask: Ask, gateway: Ipv4Addr, count: usize) -> Duration {
    on_tokio(async {
        let mut client = new_tokio_natpmp_with(gateway).await.expect("a client");
        let begun = Instant::now();
        for _ in 0..count {
            match ask {
                Ask::Address => client.send_public_address_request().await.expect("it is sent"),
                Ask::Mapping => {
                    client
                        .send_port_mapping_request(Protocol::UDP, LOWEST_PORT, 0, LIFETIME)
                        .await
                        .expect("it is sent");
                }
            }
            client.read_response_or_retry().await.expect("an answer");
        }
        begun.elapsed()
    })
}

pub(super) fn first_natpmp_async(gateway: Ipv4Addr) -> Result<(), String> {
    on_tokio(async {
        let client = new_tokio_natpmp_with(gateway).await.map_err(text)?;
        client.send_port_mapping_request(Protocol::UDP, LOWEST_PORT, 0, LIFETIME).await.map_err(text)?;
        client.read_response_or_retry().await.map(drop).map_err(text)
    })
}

/// It has no way to wait for the answer: its documentation sleeps. Looked for every five milliseconds here.
pub(super) fn first_natpmp(gateway: Ipv4Addr) -> Result<(), String> {
    let mut client = Natpmp::new_with(gateway).map_err(text)?;
    client.send_port_mapping_request(Protocol::UDP, LOWEST_PORT, 0, LIFETIME).map_err(text)?;
    loop {
        match client.read_response_or_retry() {
            Ok(Response::UDP(_)) => return Ok(()),
            Ok(other) => return Err(format!("{other:?}")),
            Err(Error::NATPMP_TRYAGAIN) => std::thread::sleep(Duration::from_millis(5)),
            Err(error) => return Err(text(error)),
        }
    }
}

fn text(error: Error) -> String {
    format!("{error:?}")
}

fn on_tokio<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(work)
}

const LIFETIME: u32 = 7_200;
