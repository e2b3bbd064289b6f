//! Calls that do one thing, and what they say when the gateway does not do it.

use std::future::Future;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use natpmp_lab::{GATEWAY, Host, Lab, echo, wait_until};
use natpmp_smol::{Client, Ending, Error, MapRequest, Protocol, Refusal};
use smol::future::{FutureExt, poll_once};
use smol::{LocalExecutor, Timer, block_on};

use super::SOON;

#[test]
fn the_external_address_is_the_routers_as_it_is_now() {
    let Some(lab) = Lab::or_skip() else { return };
    let _gateway = lab.miniupnpd().start();
    run(lab.client(), async |client| {
        for address in [lab.external_address(), Ipv4Addr::new(11, 99, 0, 7)] {
            lab.router().change_external_address(address);
            assert_eq!(client.external_address().await.unwrap(), address);
        }
    });
}

/// C01, C14: a mapping lets packets through, its deletion closes it to new flows, and the other protocol has no part in either.
#[test]
fn a_packet_from_the_internet_reaches_the_client_from_map_to_unmap() {
    let Some(lab) = Lab::or_skip() else { return };
    let _gateway = lab.miniupnpd().start();
    let _echoes = PROTOCOLS.map(|(_, protocol)| echo(lab.client(), protocol, 4000));
    run(lab.client(), async |client| {
        for ((protocol, packets), (_, others)) in PROTOCOLS.into_iter().zip(PROTOCOLS.into_iter().rev()) {
            assert!(!lab.leads_to_client(packets, 4000), "closed before it is mapped");

            let mapping = client.map(&MapRequest::new(protocol, 4000).lifetime(600)).await.unwrap();
            assert_eq!((mapping.protocol, mapping.internal_port), (protocol, 4000));
            assert_eq!((mapping.external_port, mapping.lifetime), (4000, 600));
            assert!(lab.leads_to_client(packets, 4000));
            assert!(!lab.leads_to_client(others, 4000));

            assert_eq!(client.delete(&mapping).await.unwrap(), Ending::Unmapped);
            assert!(!lab.leads_to_client(packets, 4000), "closed after it is deleted");
        }
    });
}

/// C14.
#[test]
fn unmap_all_removes_all_of_the_protocol() {
    let Some(lab) = Lab::or_skip() else { return };
    let _gateway = lab.miniupnpd().start();
    run(lab.client(), async |client| {
        for port in 4000..4003 {
            client.map(&MapRequest::new(Protocol::Tcp, port)).await.unwrap();
        }
        assert_eq!(lab.router().mappings().len(), 3);
        client.unmap_all(Protocol::Tcp).await.unwrap();
        assert_eq!(lab.router().mappings(), Vec::<String>::new());
    });
}

/// It is made all the same, and nobody knows of it.
#[test]
fn a_mapping_whose_future_was_dropped_is_gone_with_the_client() {
    let Some(lab) = Lab::or_skip() else { return };
    let _gateway = lab.miniupnpd().start();
    run(lab.client(), async |client| {
        assert!(poll_once(client.map(&MapRequest::new(Protocol::Udp, 4000))).await.is_none());
        while !client.mappings().iter().any(|status| status.mapping.is_some()) {
            Timer::after(Duration::from_millis(5)).await;
        }
        assert_eq!(lab.router().mappings().len(), 1);
    });
    assert_eq!(lab.router().mappings(), Vec::<String>::new());
}

#[test]
fn a_mapping_that_was_asked_for_once_outlives_the_client() {
    let Some(lab) = Lab::or_skip() else { return };
    let _gateway = lab.miniupnpd().start();
    run(lab.client(), async |client| client.map(&MapRequest::new(Protocol::Udp, 4000)).await.unwrap());
    assert_eq!(lab.router().mappings().len(), 1);
}

/// C03: what is lost is sent again after 250 ms.
#[test]
fn a_lost_request_costs_a_quarter_of_a_second() {
    let Some(lab) = Lab::or_skip() else { return };
    let _gateway = lab.miniupnpd().start();
    lab.router().lose_every_other_request();
    let took = run(lab.client(), async |client| {
        let began = Instant::now();
        client.map(&MapRequest::new(Protocol::Udp, 4000)).await.unwrap();
        began.elapsed()
    });
    assert!((Duration::from_millis(250)..Duration::from_secs(3)).contains(&took), "{took:?}");
}

/// C04, C20: nothing listens on the port, for no daemon was started, or for it was stopped.
#[test]
fn port_unreachable_is_told_at_once() {
    let Some(lab) = Lab::or_skip() else { return };
    let mut gateway = lab.miniupnpd().start();
    run(lab.client(), async |client| {
        client.external_address().await.unwrap();
        gateway.stop();
        let began = Instant::now();
        let reported = [
            client.external_address().await.map(drop),
            client.map(&MapRequest::new(Protocol::Udp, 4000)).await.map(drop),
            client.unmap(Protocol::Udp, 4000).await.map(drop),
            client.unmap_all(Protocol::Tcp).await.map(drop),
        ];
        for reported in reported {
            assert!(matches!(reported, Err(Error::PortUnreachable { gateway: GATEWAY })), "{reported:?}");
        }
        assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    });
}

#[test]
fn a_refusal_is_told_with_its_reason() {
    let Some(lab) = Lab::or_skip() else { return };
    let _gateway = lab.miniupnpd().deny_all().start();
    run(lab.client(), async |client| {
        let reported = client.map(&MapRequest::new(Protocol::Udp, 4000)).await;
        assert!(matches!(reported, Err(Error::Refused { refusal: Some(Refusal::NotAuthorized), .. })), "{reported:?}");
    });
}

/// C08.
#[test]
fn a_router_without_a_public_address_has_no_network() {
    let Some(lab) = Lab::or_skip() else { return };
    lab.router().change_external_address(Ipv4Addr::new(10, 0, 0, 1));
    let _gateway = lab.miniupnpd().start();
    run(lab.client(), async |client| {
        let reported = client.external_address().await;
        assert!(matches!(reported, Err(Error::Refused { refusal: Some(Refusal::NetworkFailure), .. })), "{reported:?}");
    });
}

/// The handle says where the mapping stands; dropping it deletes the mapping.
#[test]
fn a_kept_mapping_is_deleted_with_its_handle() {
    let Some(lab) = Lab::or_skip() else { return };
    let _gateway = lab.miniupnpd().start();
    run(lab.client(), async |client| {
        let kept = client.keep(&MapRequest::new(Protocol::Udp, 4000).external_port(5000)).unwrap();
        assert_eq!(kept.wait_open(SOON).await.map(|mapping| mapping.external_port).ok(), Some(5000));
        assert_eq!(lab.router().mappings().len(), 1);
        drop(kept);
    });
    assert!(wait_until(SOON, || lab.router().mappings().is_empty()));
}

/// Works with a client on this host, and waits for the end of its driver. All of it takes one thread.
fn run<T: Send, F: Future<Output = T>>(host: &Host, work: impl FnOnce(Client) -> F + Send) -> T {
    host.within(|| {
        let (client, driver) = Client::builder().gateway(GATEWAY).build().unwrap();
        let executor = LocalExecutor::new();
        let driver = executor.spawn(driver);
        let all = async {
            let result = work(client).await;
            driver.await;
            result
        };
        let too_long = async {
            Timer::after(3 * SOON).await;
            panic!("not done after {:?}", 3 * SOON)
        };
        block_on(executor.run(all.or(too_long)))
    })
}

const PROTOCOLS: [(Protocol, natpmp_lab::Protocol); 2] =
    [(Protocol::Udp, natpmp_lab::Protocol::Udp), (Protocol::Tcp, natpmp_lab::Protocol::Tcp)];
