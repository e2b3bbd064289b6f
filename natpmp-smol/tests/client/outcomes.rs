//! The outcomes that callers tell apart.

use std::io::ErrorKind;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use natpmp_proto::client::MapError;
use natpmp_smol::{Client, Error, Mapping, Protocol, Refusal, Schedule};
use natpmp_testkit::gateway::{Grant, Reach};
use smol::future;

use super::{SHORT, TCP, UDP, builder, eventually, forget, gateway, keep, leases, reach, requests, run, turn};

/// C03, C20: every call waits for the whole schedule, and says for how long it did.
#[test]
fn a_silent_gateway_is_no_answer_when_the_schedule_is_used_up() {
    let gateway = gateway(|knobs| knobs.reach = Reach::Silent);
    run(builder(&gateway).schedule(SHORT), async |client| {
        for call in CALLS {
            forget(&gateway);
            let began = Instant::now();
            let error = call.on(&client).await.expect_err("there is no answer");
            let Error::NoAnswer { gateway: asked, waited } = error else { panic!("{call:?}: {error:?}") };
            assert_eq!(asked, gateway.address(), "{call:?}");
            assert!((SHORT.total()..=began.elapsed()).contains(&waited), "{call:?}: {waited:?}");
            assert_eq!(requests(&gateway).len(), 2, "{call:?}");
        }
    });
}

/// C04, C20: the RFC's schedule would take two minutes.
#[test]
fn a_closed_port_is_port_unreachable_at_once() {
    let gateway = gateway(|_| {});
    reach(&gateway, Reach::Closed);
    run(builder(&gateway).schedule(Schedule::RFC), async |client| {
        for call in CALLS {
            let error = call.on(&client).await.expect_err("nobody is there");
            assert!(
                matches!(error, Error::PortUnreachable { gateway: asked } if asked == gateway.address()),
                "{error:?}"
            );
        }
        reach(&gateway, Reach::Open);
        for call in CALLS {
            call.on(&client).await.unwrap();
        }
    });
}

/// C15, C20
#[test]
fn a_result_other_than_0_is_a_refusal_with_that_code() {
    let gateway = gateway(|_| {});
    run(builder(&gateway), async |client| {
        for code in [1, 2, 3, 4, 5, 6, 65_535] {
            turn(&gateway, |knobs| {
                (knobs.refuse_map, knobs.refuse_unmap, knobs.refuse_address) = (Some(code), Some(code), Some(code));
            });
            for call in CALLS {
                let error = call.on(&client).await.expect_err("it is refused");
                let Error::Refused { gateway: asked, refusal } = error else { panic!("{call:?}, {code}: {error:?}") };
                assert_eq!((asked, refusal), (gateway.address(), Refusal::from_code(code)), "{call:?}");
            }
        }
    });
}

/// C26
#[test]
fn a_grant_of_no_time_is_refused_without_a_code() {
    let gateway = gateway(|knobs| knobs.grant = Grant::Exactly(0));
    let error = run(builder(&gateway), async |client| client.map(&UDP).await.expect_err("it is no mapping"));
    assert!(matches!(error, Error::Refused { refusal: None, .. }), "{error:?}");
}

#[test]
fn a_local_address_that_this_host_does_not_have_is_network_down() {
    let gateway = gateway(|_| {});
    run(builder(&gateway).local_address(NOBODY), async |client| {
        assert_eq!(client.local_address(), None);
        for call in CALLS {
            let error = call.on(&client).await.expect_err("it cannot be sent");
            let Error::NetworkDown { gateway: asked, kind, .. } = error else { panic!("{call:?}: {error:?}") };
            assert_eq!((asked, kind), (gateway.address(), ErrorKind::AddrNotAvailable), "{call:?}");
        }
    });
    assert_eq!(requests(&gateway), []);
}

#[test]
fn a_request_that_makes_no_sense_is_a_bad_argument_and_asks_nobody() {
    let gateway = gateway(|_| {});
    run(builder(&gateway), async |client| {
        for (request, expected) in
            [(UDP.lifetime(0), MapError::ZeroLifetime), (UDP.refresh_interval(0), MapError::ZeroRefreshInterval)]
        {
            let errors = [
                client.map(&request).await.expect_err("map"),
                client.keep(&request).map(drop).expect_err("keep"),
                client.keep_with(&request, |_| {}).map(drop).expect_err("keep with a callback"),
            ];
            for error in errors {
                assert!(matches!(error, Error::BadArgument(found) if found == expected), "{error:?}");
            }
        }
        let nothing = Mapping { protocol: Protocol::Udp, internal_port: 4_000, external_port: 4_000, lifetime: 0 };
        assert!(matches!(client.refresh(&nothing).await, Err(Error::BadArgument(MapError::ZeroLifetime))));
    });
    assert_eq!(requests(&gateway), []);
}

#[test]
fn a_mapping_that_is_kept_is_already_kept() {
    let gateway = gateway(|_| {});
    run(builder(&gateway), async |client| {
        let kept = keep(&client, &UDP).await;
        assert!(matches!(client.keep(&UDP), Err(Error::AlreadyKept)));
        assert!(matches!(client.clone().keep_with(&UDP, |_| {}), Err(Error::AlreadyKept)));
        let _other = keep(&client, &TCP).await;
        kept.stop().await.unwrap();
        keep(&client, &UDP).await.stop().await.unwrap();
    });
}

#[test]
fn what_another_call_takes_back_is_interrupted() {
    let gateway = gateway(|knobs| knobs.reach = Reach::Silent);
    run(builder(&gateway), async |client| {
        let unmapping = async {
            eventually("it is asked for", || !requests(&gateway).is_empty()).await;
            let open = async {
                eventually("its deletion is asked for", || requests(&gateway).len() > 1).await;
                reach(&gateway, Reach::Open);
            };
            future::zip(client.unmap(Protocol::Udp, 4_000), open).await.0
        };
        let (mapped, unmapped) = future::zip(client.map(&UDP), unmapping).await;
        assert!(matches!(mapped, Err(Error::Interrupted)), "{mapped:?}");
        unmapped.unwrap();

        let kept = keep(&client, &UDP).await;
        let (refreshed, unmapped) = future::zip(kept.refresh(), client.unmap(Protocol::Udp, 4_000)).await;
        assert!(matches!(refreshed, Err(Error::Interrupted)), "{refreshed:?}");
        unmapped.unwrap();
        assert!(matches!(kept.refresh().await, Err(Error::Interrupted)));
        assert!(matches!(kept.wait_open(Duration::MAX).await, Err(Error::Interrupted)));
    });
}

#[test]
fn a_request_is_on_its_way_before_its_future_is_polled_and_after_it_is_dropped() {
    let gateway = gateway(|_| {});
    run(builder(&gateway), async |client| {
        let call = client.map(&UDP);
        eventually("it is open", || leases(&gateway) == 1).await;
        let other = client.clone();
        drop(client);
        assert_eq!(call.await.unwrap().external_port, 4_000, "it holds the client");
        let kept = keep(&other, &TCP).await;
        drop(kept.stop());
        eventually("it is deleted", || leases(&gateway) == 1).await;
        drop(other.unmap(Protocol::Udp, 4_000));
        eventually("it is deleted", || leases(&gateway) == 0).await;
    });
}

#[test]
fn the_futures_can_be_sent_to_another_thread_and_borrow_nothing() {
    fn is_send<T: Send + Unpin + 'static>(_: T) {}
    let gateway = gateway(|_| {});
    run(builder(&gateway), async |client| {
        let mapping = Mapping { protocol: Protocol::Udp, internal_port: 4_000, external_port: 4_000, lifetime: 60 };
        is_send(client.external_address());
        is_send((client.map(&UDP), client.refresh(&mapping), client.delete(&mapping)));
        is_send((client.unmap(Protocol::Udp, 4_000), client.unmap_all(Protocol::Udp)));
        is_send((client.events(), client.announcements(), client.clone()));
        let kept = client.keep(&UDP).unwrap();
        is_send((kept.refresh(), kept.wait_open(Duration::ZERO)));
        is_send(kept.stop());
    });
}

/// Every call that asks the gateway.
#[derive(Clone, Copy, Debug)]
enum Call {
    ExternalAddress,
    Map,
    Refresh,
    Unmap,
    UnmapAll,
}

const CALLS: [Call; 5] = [Call::ExternalAddress, Call::Map, Call::Refresh, Call::Unmap, Call::UnmapAll];

impl Call {
    async fn on(self, client: &Client) -> Result<(), Error> {
        let stored = Mapping { protocol: Protocol::Udp, internal_port: 4_001, external_port: 4_001, lifetime: 60 };
        match self {
            Self::ExternalAddress => client.external_address().await.map(drop),
            Self::Map => client.map(&UDP).await.map(drop),
            Self::Refresh => client.refresh(&stored).await.map(drop),
            Self::Unmap => client.unmap(Protocol::Udp, 4_002).await.map(drop),
            Self::UnmapAll => client.unmap_all(Protocol::Udp).await,
        }
    }
}

/// An address for documentation, which no host has.
const NOBODY: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 77);
