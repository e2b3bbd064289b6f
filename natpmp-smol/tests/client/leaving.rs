//! What is left behind when the last handle of a client is dropped, and how long that takes.

use std::time::{Duration, Instant};

use natpmp_proto::wire::Request;
use natpmp_smol::{MapRequest, Protocol};
use natpmp_testkit::gateway::Reach;

use super::{UDP, builder, deletions, gateway, keep, lease, leases, reach, requests, run};

/// C06
#[test]
fn a_gateway_that_answers_has_deleted_what_was_kept_when_the_driver_ends() {
    let gateway = gateway(|_| {});
    run(builder(&gateway), async |client| {
        let mut kept = Vec::new();
        for index in 0..20 {
            kept.push(keep(&client, &MapRequest::new(Protocol::Tcp, 5_000 + index)).await);
        }
        assert_eq!(leases(&gateway), 20);
    });
    assert_eq!(leases(&gateway), 0);
    assert_eq!(deletions(&gateway).len(), 20);
}

/// However many there are to be deleted.
#[test]
fn a_silent_gateway_holds_up_the_driver_for_the_goodbye_and_no_longer() {
    let gateway = gateway(|_| {});
    let goodbye = Duration::from_millis(400);
    let began = run(builder(&gateway).goodbye(goodbye), async |client| {
        let mut kept = Vec::new();
        for index in 0..20 {
            kept.push(keep(&client, &MapRequest::new(Protocol::Tcp, 5_000 + index)).await);
        }
        reach(&gateway, Reach::Silent);
        Instant::now()
    });
    let took = began.elapsed();
    assert!(took >= goodbye && took < Duration::from_secs(2), "{took:?}");
    assert_eq!(deletions(&gateway)[0], Request::delete(Protocol::Tcp, 5_000));
}

#[test]
fn a_closed_port_does_not_hold_up_the_driver() {
    let gateway = gateway(|_| {});
    run(builder(&gateway).goodbye(Duration::from_secs(60)), async |client| {
        let _kept = keep(&client, &UDP).await;
        reach(&gateway, Reach::Closed);
    });
}

#[test]
fn without_a_kept_mapping_the_driver_ends_at_once() {
    let gateway = gateway(|_| {});
    run(builder(&gateway).goodbye(Duration::from_secs(60)), async |client| {
        client.map(&UDP).await.unwrap();
        reach(&gateway, Reach::Silent);
        client.watch_external_address(true);
    });
    assert_eq!(deletions(&gateway), []);
    assert_eq!(lease(&gateway, Protocol::Udp, 4_000), Some(4_000), "what was made once outlives its client");
}

#[test]
fn a_goodbye_of_no_time_still_sends_the_deletion() {
    let gateway = gateway(|_| {});
    run(builder(&gateway).goodbye(Duration::ZERO), async |client| {
        let _kept = keep(&client, &UDP).await;
        drop(client);
    });
    smol::block_on(super::eventually("it is deleted", || leases(&gateway) == 0));
    assert_eq!(requests(&gateway).last(), Some(&Request::delete(Protocol::Udp, 4_000)));
}

#[test]
fn every_handle_keeps_the_driver_at_work() {
    let gateway = gateway(|_| {});
    run(builder(&gateway), async |client| {
        let kept = keep(&client, &UDP).await;
        let clone = client.clone();
        drop(client);
        assert_eq!(kept.refresh().await.unwrap().external_port, 4_000);
        let asking = async move { clone.external_address().await };
        drop(kept);
        asking.await.unwrap();
    });
    assert_eq!(leases(&gateway), 0);
}

/// A deletion was waited for in vain: there is no point in waiting again.
#[test]
fn after_a_stop_in_vain_the_driver_ends_soon() {
    let gateway = gateway(|_| {});
    let goodbye = Duration::from_secs(2);
    let began = run(builder(&gateway).goodbye(goodbye), async |client| {
        let kept = keep(&client, &UDP).await;
        reach(&gateway, Reach::Silent);
        kept.stop().await.expect_err("there is no answer");
        Instant::now()
    });
    assert!(began.elapsed() < goodbye / 2, "{:?}", began.elapsed());
}
