//! Kept mappings and their handles.

use std::time::{Duration, Instant};

use natpmp_proto::wire::Request;
use natpmp_smol::{Backoff, Ending, Error, Event, MachineError, MapRequest, Protocol, Refusal};
use natpmp_testkit::gateway::{Gateway, Knobs, Reach, Vpn};
use smol::stream::StreamExt;

use super::{
    SOON, TCP, UDP, builder, deletions, eventually, forget, gateway, keep, lease, leases, reach, requests, run, turn,
};

#[test]
fn the_state_tells_of_an_open_mapping_its_end_and_its_renewal() {
    let gateway = gateway(|_| {});
    run(builder(&gateway), async |client| {
        let kept = keep(&client, &UDP.lifetime(100)).await;
        let state = kept.state();
        assert_eq!(state.mapping.map(|mapping| (mapping.external_port, mapping.lifetime)), Some((4_000, 100)));
        let (expires, renewal) = (state.expires_in.unwrap(), state.next_attempt_in.unwrap());
        assert_eq!(expires.saturating_sub(renewal), Duration::from_secs(50));
        assert_eq!((state.last_error, state.external_address), (None, None));
        client.external_address().await.unwrap();
        assert_eq!(kept.state().external_address, Some(Gateway::EXTERNAL));
        assert_eq!((kept.protocol(), kept.internal_port()), (Protocol::Udp, 4_000));
        assert!(format!("{kept:?}").contains("4000"));
    });
}

#[test]
fn a_mapping_that_is_refused_is_tried_again_until_it_is_open() {
    let gateway = gateway(|knobs| knobs.refuse_map = Some(4));
    run(builder(&gateway), async |client| {
        let kept = client.keep(&UDP).unwrap();
        let error = MachineError::Refused(Refusal::OutOfResources);
        eventually("it was refused", || kept.state().last_error == Some(error)).await;
        assert_eq!((kept.state().mapping, kept.state().expires_in), (None, None));
        turn(&gateway, |knobs| knobs.refuse_map = None);
        assert!(kept.wait_open(SOON).await.is_ok());
        assert_eq!(kept.state().last_error, None);
    });
}

#[test]
fn it_is_renewed_without_being_asked() {
    let gateway = gateway(|_| {});
    run(builder(&gateway), async |client| {
        let _kept = keep(&client, &UDP.refresh_interval(1)).await;
        let mut events = client.events();
        assert!(matches!(events.next().await, Some(Event::Renewed(_))));
        assert!(matches!(events.next().await, Some(Event::Renewed(_))));
    });
}

#[test]
fn waiting_for_a_mapping_to_open_ends_when_it_is_open_or_the_time_is_over() {
    let gateway = gateway(|knobs| knobs.reach = Reach::Silent);
    run(builder(&gateway), async |client| {
        let kept = client.keep(&UDP).unwrap();
        let (began, bound) = (Instant::now(), Duration::from_millis(30));
        assert!(matches!(kept.wait_open(bound).await, Err(Error::NoAnswer { waited, .. }) if waited == bound));
        assert!(began.elapsed() >= bound);
        assert!(kept.wait_open(Duration::ZERO).await.is_err());
        reach(&gateway, Reach::Open);
        assert_eq!(kept.wait_open(Duration::MAX).await.map(|mapping| mapping.external_port).ok(), Some(4_000));
    });
}

/// Nothing else is due for an hour.
#[test]
fn the_end_of_a_wait_is_a_reason_to_wake_up() {
    let gateway = gateway(|knobs| knobs.refuse_map = Some(4));
    let hour = Duration::from_secs(3_600);
    run(builder(&gateway).backoff(Backoff::new(hour, hour)), async |client| {
        let kept = client.keep(&UDP).unwrap();
        kept.refresh().await.expect_err("it is refused");
        assert!(kept.wait_open(Duration::from_millis(30)).await.is_err());
    });
}

/// C24
#[test]
fn a_refresh_asks_now_and_says_what_came_of_it() {
    let gateway = gateway(|_| {});
    run(builder(&gateway), async |client| {
        let kept = keep(&client, &UDP).await;
        forget(&gateway);
        assert_eq!(kept.refresh().await.unwrap().external_port, 4_000);
        assert_eq!(requests(&gateway).len(), 1);
        turn(&gateway, |knobs| knobs.refuse_map = Some(2));
        let error = kept.refresh().await.expect_err("it is refused");
        assert!(matches!(error, Error::Refused { refusal: Some(Refusal::NotAuthorized), .. }), "{error:?}");
        assert!(kept.state().mapping.is_some(), "its lease goes on");
        turn(&gateway, |knobs| (knobs.refuse_map, knobs.moves_ports) = (None, true));
        assert_eq!(kept.refresh().await.unwrap().external_port, 4_001);
    });
}

/// C06, C14
#[test]
fn stopping_deletes_the_mapping_and_says_so() {
    let gateway = gateway(|_| {});
    run(builder(&gateway), async |client| {
        let kept = keep(&client, &UDP).await;
        let other = keep(&client, &TCP).await;
        assert_eq!(kept.stop().await.unwrap(), Ending::Unmapped);
        assert_eq!(lease(&gateway, Protocol::Udp, 4_000), None);
        assert_eq!(deletions(&gateway), [Request::delete(Protocol::Udp, 4_000)]);
        assert!(other.state().mapping.is_some());
    });
}

#[test]
fn stopping_at_a_silent_gateway_waits_for_the_goodbye_and_no_longer_and_the_deletion_is_tried_on() {
    let gateway = gateway(|_| {});
    let goodbye = Duration::from_millis(100);
    run(builder(&gateway).goodbye(goodbye), async |client| {
        let kept = keep(&client, &UDP).await;
        reach(&gateway, Reach::Silent);
        let began = Instant::now();
        let error = kept.stop().await.expect_err("there is no answer");
        assert!(began.elapsed() >= goodbye && began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
        assert!(
            matches!(error, Error::NoAnswer { gateway: asked, waited } if asked == gateway.address() && waited == goodbye),
            "{error:?}"
        );
        reach(&gateway, Reach::Open);
        eventually("it is deleted", || leases(&gateway) == 0).await;
    });
}

#[test]
fn dropping_the_handle_deletes_the_mapping() {
    let gateway = gateway(|_| {});
    run(builder(&gateway), async |client| {
        drop(keep(&client, &UDP).await);
        eventually("it is deleted", || leases(&gateway) == 0).await;
        // Before it was open, and before it was asked for.
        drop(client.keep(&UDP).unwrap());
        assert_eq!(client.unmap(Protocol::Udp, 4_000).await.unwrap(), Ending::Unmapped);
    });
}

#[test]
fn a_handle_of_a_mapping_that_another_call_took_back_is_harmless() {
    let gateway = gateway(|_| {});
    run(builder(&gateway), async |client| {
        let old = keep(&client, &UDP).await;
        assert_eq!(client.unmap(Protocol::Udp, 4_000).await.unwrap(), Ending::Unmapped);
        assert_eq!((old.state().mapping, old.state().next_attempt_in), (None, None));
        let new = keep(&client, &UDP).await;
        drop(old);
        client.external_address().await.unwrap();
        assert_eq!(lease(&gateway, Protocol::Udp, 4_000), Some(4_000), "that was not the old handle's to delete");
        client.unmap(Protocol::Udp, 4_000).await.unwrap();
        assert_eq!(new.stop().await.unwrap(), Ending::Unmapped);
    });
}

/// C23
#[test]
fn a_mapping_of_internal_port_0_is_left_to_lapse() {
    let gateway = gateway(|knobs| *knobs = Knobs::vpn(Vpn::AnswersMapped));
    let request = MapRequest::new(Protocol::Tcp, 0).external_port(1);
    run(builder(&gateway), async |client| {
        let kept = keep(&client, &request).await;
        assert_eq!(kept.stop().await.unwrap(), Ending::LeftToLapse);
        drop(keep(&client, &request).await);
    });
    assert_eq!(deletions(&gateway), []);
    assert_eq!(leases(&gateway), 1);
}
