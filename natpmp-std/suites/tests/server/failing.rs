//! A NAT that does not do what it is asked.

use natpmp_std::server::NatFailure;
use natpmp_std::{Error, MapRequest, Protocol, Refusal};
use natpmp_suites::{Adapter, ClientUnderTest, ServerUnderTest, on_each_adapter};
use natpmp_testkit::waiting::in_time;

use super::notes::{Manner, Notes};
use super::{Asker, OUTSIDE, client, serve};

on_each_adapter!(
    a_nat_that_fails_is_told_to_the_client,
    what_the_nat_says_nothing_of_or_panics_at_has_failed,
    a_nat_that_panicked_keeps_neither_its_clients_nor_the_others_nor_the_end_waiting,
);

/// G18: what the NAT does not take, the client does not get.
fn a_nat_that_fails_is_told_to_the_client<A: Adapter>() {
    for (failure, refusal) in
        [(NatFailure::Network, Refusal::NetworkFailure), (NatFailure::Resources, Refusal::OutOfResources)]
    {
        let nat = Notes::default();
        let server = serve::<A>(&nat);
        nat.set(Manner::Failing(failure));
        let result = client::<A>(&server).map(&MapRequest::new(Protocol::Udp, 4_000));
        assert!(
            matches!(result, Err(Error::Refused { refusal: Some(reported), .. }) if reported == refusal),
            "{result:?}"
        );
        assert!(server.mappings().is_empty());
    }
}

/// Otherwise the client would ask in vain until it gives up, and so would the next one.
fn what_the_nat_says_nothing_of_or_panics_at_has_failed<A: Adapter>() {
    for manner in [Manner::Silent, Manner::Panicking] {
        let nat = Notes::default();
        let server = serve::<A>(&nat);
        let ask = |port| client::<A>(&server).map(&MapRequest::new(Protocol::Udp, port));
        ask(4_000).unwrap();
        nat.set(manner);
        for port in 4_001..4_004 {
            let result = ask(port);
            let is_refused = matches!(result, Err(Error::Refused { refusal: Some(Refusal::NetworkFailure), .. }));
            assert!(is_refused, "{result:?}");
        }
        assert_eq!(client::<A>(&server).external_address().unwrap(), OUTSIDE);
        let open: Vec<u16> = server.mappings().iter().map(|open| open.mapping.external_port).collect();
        assert_eq!(open, [4_000]);
        in_time(move || drop(server));
    }
}

/// From the first request on.
fn a_nat_that_panicked_keeps_neither_its_clients_nor_the_others_nor_the_end_waiting<A: Adapter>() {
    let nat = Notes::default();
    let server = serve::<A>(&nat);
    nat.set(Manner::Panicking);
    let asker = Asker::new(&server);
    for port in [4_000, 4_001] {
        asker.send_map(port);
        let answer = asker.receive_bytes();
        assert_eq!(answer[3], 3, "network failure: {answer:02x?}");
    }
    assert_eq!(Asker::new(&server).external_address().1, OUTSIDE);
    in_time(move || drop(server));
}
