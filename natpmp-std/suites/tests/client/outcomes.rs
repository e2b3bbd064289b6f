//! The outcomes that callers tell apart.

use std::error::Error as _;
use std::io::ErrorKind;
use std::time::Instant;

use natpmp_proto::client::MapError;
use natpmp_std::{CLIENT_CAPACITY, Error, MapRequest, Mapping, Protocol, Refusal, RequestError, Schedule};
use natpmp_testkit::gateway::{Grant, Reach};

use natpmp_suites::{Adapter, ClientSetup, ClientUnderTest, KeptUnderTest, on_each_adapter};
use natpmp_testkit::waiting::{eventually, in_time};

use super::{NOBODY, SHORT, TCP, UDP, client, gateway, setup, start};

on_each_adapter!(
    a_silent_gateway_is_no_answer_when_the_schedule_is_used_up,
    a_closed_port_is_port_unreachable_at_once,
    every_result_code_is_its_own_refusal,
    a_grant_of_no_port_or_no_time_is_refused_without_a_code,
    a_local_address_that_this_host_does_not_have_is_network_down,
    an_interface_that_this_host_does_not_have_is_network_down_and_has_no_gateway,
    a_kept_mapping_outlives_a_network_that_is_down,
    a_request_for_no_time_or_an_interval_of_none_is_a_bad_argument_and_asks_nobody,
    one_mapping_too_many_is_a_bad_argument_and_changes_nothing,
);

/// C03, C20: every call waits for the whole schedule, and says for how long it did.
fn a_silent_gateway_is_no_answer_when_the_schedule_is_used_up<A: Adapter>() {
    let gateway = gateway(|faults| faults.reach = Reach::Silent);
    let client = start::<A>(ClientSetup { schedule: Some(SHORT), ..setup(&gateway) });
    let sends = (1..).map_while(|send| SHORT.wait_after(send)).count();
    for (name, call) in calls::<A::Client>() {
        gateway.forget();
        let began = Instant::now();
        let error = call(&client).expect_err(name);
        assert!(began.elapsed() >= SHORT.total(), "{name}");
        let Error::NoAnswer { gateway: asked, waited } = error else { panic!("{name}: {error:?}") };
        assert_eq!(asked, gateway.address(), "{name}");
        assert!((SHORT.total()..=began.elapsed()).contains(&waited), "{name}: {waited:?}");
        assert!(error.is_unsupported());
        assert_eq!(gateway.requests().len(), sends, "{name}");
        let text = error.to_string();
        assert!(text.contains(&gateway.address().to_string()) && text.contains("0.1"), "{text}");
    }
}

/// C04, C20: the RFC's schedule would take two minutes.
fn a_closed_port_is_port_unreachable_at_once<A: Adapter>() {
    let gateway = gateway(|faults| faults.reach = Reach::Closed);
    // Has the socket closed by now.
    gateway.reach(Reach::Closed);
    let client = start::<A>(ClientSetup { schedule: Some(Schedule::RFC), ..setup(&gateway) });
    for (name, call) in calls::<A::Client>() {
        let client = client.clone();
        let error = in_time(move || call(&client)).expect_err(name);
        assert!(
            matches!(error, Error::PortUnreachable { gateway: asked } if asked == gateway.address()),
            "{name}: {error:?}"
        );
        assert!(error.is_unsupported());
    }
    gateway.reach(Reach::Open);
    for (name, call) in calls::<A::Client>() {
        call(&client).expect(name);
    }
}

/// C15, C20: only the codes for another version and another opcode mean a gateway without NAT-PMP.
fn every_result_code_is_its_own_refusal<A: Adapter>() {
    let gateway = gateway(|_| {});
    let client = client::<A>(&gateway);
    for code in [1, 2, 3, 4, 5, 6, 255, 256, 65_535] {
        gateway.turn(|faults| {
            (faults.refuse_map, faults.refuse_unmap, faults.refuse_address) = (Some(code), Some(code), Some(code));
        });
        for (name, call) in calls::<A::Client>() {
            let error = call(&client).expect_err(name);
            let Error::Refused { gateway: asked, refusal } = error else { panic!("{name}, {code}: {error:?}") };
            assert_eq!((asked, refusal), (gateway.address(), Refusal::from_code(code)), "{name}");
            assert_eq!(error.is_unsupported(), matches!(code, 1 | 5), "{name}, {code}");
            assert!(error.to_string().contains(&format!("result {code}")), "{error}");
        }
    }
}

/// C26
fn a_grant_of_no_port_or_no_time_is_refused_without_a_code<A: Adapter>() {
    for no_port in [true, false] {
        let gateway = gateway(|faults| {
            (faults.grants_port_zero, faults.grant) =
                if no_port { (true, Grant::Asked) } else { (false, Grant::Exactly(0)) };
        });
        let error = client::<A>(&gateway).map(&UDP).expect_err("it is no mapping");
        assert!(matches!(error, Error::Refused { refusal: None, .. }), "{error:?}");
        assert!(!error.is_unsupported());
    }
}

fn a_local_address_that_this_host_does_not_have_is_network_down<A: Adapter>() {
    let gateway = gateway(|_| {});
    let client = start::<A>(ClientSetup { local_address: Some(NOBODY), ..setup(&gateway) });
    assert_eq!(client.local_address(), None);
    for (name, call) in calls::<A::Client>() {
        let error = call(&client).expect_err(name);
        let Error::NetworkDown { gateway: asked, kind, .. } = error else { panic!("{name}: {error:?}") };
        assert_eq!((asked, kind), (gateway.address(), ErrorKind::AddrNotAvailable), "{name}");
        assert!(!error.is_unsupported());
    }
    assert_eq!(gateway.requests(), []);
}

fn an_interface_that_this_host_does_not_have_is_network_down_and_has_no_gateway<A: Adapter>() {
    let gateway = gateway(|_| {});
    let client = start::<A>(ClientSetup { interface: Some(NO_INTERFACE), ..setup(&gateway) });
    assert!(matches!(client.external_address(), Err(Error::NetworkDown { .. })));
    let nowhere = ClientSetup { interface: Some(NO_INTERFACE), ..ClientSetup::default() };
    let error = A::Client::start(&nowhere).expect_err("it has no gateway");
    assert!(matches!(error, Error::Discover(_)), "{error:?}");
    assert!(error.source().is_some());
}

fn a_kept_mapping_outlives_a_network_that_is_down<A: Adapter>() {
    let gateway = gateway(|_| {});
    let client = start::<A>(ClientSetup { local_address: Some(NOBODY), ..setup(&gateway) });
    let kept = client.keep(&UDP).unwrap();
    eventually("it failed", || kept.state().last_error == Some(RequestError::NetworkDown));
    assert!(matches!(kept.refresh(), Err(Error::NetworkDown { .. })));
    assert!(kept.state().next_attempt_in.is_some(), "it is tried again");
}

fn a_request_for_no_time_or_an_interval_of_none_is_a_bad_argument_and_asks_nobody<A: Adapter>() {
    let gateway = gateway(|_| {});
    let client = client::<A>(&gateway);
    let nothing = Mapping { protocol: Protocol::Udp, internal_port: 4_000, external_port: 4_000, lifetime: 0 };
    for (request, expected) in
        [(UDP.lifetime(0), MapError::ZeroLifetime), (UDP.refresh_interval(0), MapError::ZeroRefreshInterval)]
    {
        let errors = [
            client.map(&request).expect_err("map"),
            client.keep(&request).map(drop).expect_err("keep"),
            client.keep_with(&request, |_| {}).map(drop).expect_err("keep with a callback"),
        ];
        for error in errors {
            assert!(matches!(error, Error::BadArgument(found) if found == expected), "{error:?}");
            assert!(error.source().is_some());
        }
    }
    assert!(matches!(client.refresh(&nothing), Err(Error::BadArgument(MapError::ZeroLifetime))));
    assert_eq!(gateway.requests(), []);
    // It was not taken on: it can be kept still.
    drop(client.keep(&UDP).unwrap());
}

fn one_mapping_too_many_is_a_bad_argument_and_changes_nothing<A: Adapter>() {
    let gateway = gateway(|_| {});
    let client = client::<A>(&gateway);
    let capacity = u16::try_from(CLIENT_CAPACITY).unwrap();
    let mut kept: Vec<_> =
        (0..capacity).map(|index| client.keep(&MapRequest::new(Protocol::Udp, 10_000 + index)).unwrap()).collect();
    let full = |error: &Error| matches!(error, Error::BadArgument(MapError::TableFull { capacity: CLIENT_CAPACITY }));
    assert!(client.map(&TCP).is_err_and(|error| full(&error)));
    assert!(client.keep(&TCP).is_err_and(|error| full(&error)));
    assert!(client.keep_with(&TCP, |_| {}).is_err_and(|error| full(&error)));
    assert!(client.unmap(Protocol::Tcp, 4_000).is_err_and(|error| full(&error)));
    client.external_address().unwrap();
    eventually("all are open", || gateway.leases() == CLIENT_CAPACITY);
    kept.pop().unwrap().stop().unwrap();
    client.map(&TCP).unwrap();
    drop(kept);
    in_time(move || drop(client));
    assert_eq!(gateway.leases(), 1, "the one that was mapped, and is not kept");
}

type Call<C> = fn(&C) -> Result<(), Error>;

/// Every call that asks the gateway.
fn calls<C: ClientUnderTest>() -> [(&'static str, Call<C>); 5] {
    [
        ("external address", |client| client.external_address().map(drop)),
        ("map", |client| client.map(&UDP).map(drop)),
        ("refresh", |client| {
            let stored = Mapping { protocol: Protocol::Udp, internal_port: 4_001, external_port: 4_001, lifetime: 60 };
            client.refresh(&stored).map(drop)
        }),
        ("unmap", |client| client.unmap(Protocol::Udp, 4_002).map(drop)),
        ("unmap all", |client| client.unmap_all(Protocol::Udp)),
    ]
}

const NO_INTERFACE: &str = "no-such-if";
