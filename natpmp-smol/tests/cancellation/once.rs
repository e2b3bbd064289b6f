//! Calls of a client.

use natpmp_smol::{Ending, Mapping, Protocol};

use super::hand::{Hand, Polled};
use super::{Dropped, UDP, drop_everywhere};

#[test]
fn a_question_for_the_external_address_may_be_dropped_at_any_time() {
    drop_everywhere(|_| (), |client, &()| async move { client.external_address().await.is_ok() }, |_, _, _| false);
}

#[test]
fn a_mapping_stays_if_the_call_that_made_it_was_heard_and_is_deleted_at_the_end_if_it_was_dropped() {
    drop_everywhere(
        |_| (),
        |client, &()| async move { client.map(&UDP).await.is_ok() },
        |_, _, dropped| dropped.was_heard,
    );
}

#[test]
fn a_mapping_that_is_known_stays_whenever_another_call_that_makes_it_is_dropped() {
    drop_everywhere(mapped, |client, _| async move { client.map(&UDP.lifetime(600)).await.is_ok() }, |_, _, _| true);
}

#[test]
fn a_mapping_that_is_stored_stays_whenever_its_refresh_is_dropped() {
    drop_everywhere(mapped, |client, &stored| async move { client.refresh(&stored).await.is_ok() }, |_, _, _| true);
}

/// Its making was not heard of, but its refresh was.
#[test]
fn a_mapping_whose_making_was_not_heard_of_stays_if_its_refresh_is() {
    let unheard = |hand: &mut Hand| {
        let client = hand.client();
        let mut making = Polled::new(client.map(&UDP));
        making.poll();
        hand.until(|hand| hand.has(4_000));
        drop(making);
        hand.finish(client.external_address()).unwrap();
        Mapping { protocol: Protocol::Udp, internal_port: 4_000, external_port: 4_000, lifetime: 600 }
    };
    drop_everywhere(
        unheard,
        |client, &stored| async move { client.refresh(&stored).await.is_ok() },
        |_, _, dropped| dropped.was_heard,
    );
}

/// That it was once made unheard, and deleted, is forgotten.
#[test]
fn a_stored_mapping_that_is_made_again_by_its_refresh_stays_whenever_that_is_dropped() {
    let deleted = |hand: &mut Hand| {
        let client = hand.client();
        let mut making = Polled::new(client.map(&UDP));
        making.poll();
        drop(making);
        hand.finish(client.unmap(Protocol::Udp, 4_000)).unwrap();
        Mapping { protocol: Protocol::Udp, internal_port: 4_000, external_port: 4_000, lifetime: 600 }
    };
    drop_everywhere(
        deleted,
        |client, &stored| async move { client.refresh(&stored).await.is_ok() },
        |_, _, dropped| dropped.was_polled,
    );
}

#[test]
fn an_unmapping_that_was_begun_goes_on_when_it_is_dropped() {
    drop_everywhere(
        mapped,
        |client, _| async move { matches!(client.unmap(Protocol::Udp, 4_000).await, Ok(Ending::Unmapped)) },
        goes_on,
    );
}

#[test]
fn a_deletion_that_was_begun_goes_on_when_it_is_dropped() {
    drop_everywhere(
        mapped,
        |client, &stored| async move { matches!(client.delete(&stored).await, Ok(Ending::Unmapped)) },
        goes_on,
    );
}

#[test]
fn a_deletion_of_all_that_was_begun_goes_on_when_it_is_dropped() {
    drop_everywhere(mapped, |client, _| async move { client.unmap_all(Protocol::Udp).await.is_ok() }, goes_on);
}

fn mapped(hand: &mut Hand) -> Mapping {
    let client = hand.client();
    hand.finish(client.map(&UDP)).unwrap()
}

/// Begun or not: that is what decides, and the client need not end for it.
fn goes_on<S>(hand: &mut Hand, _: &S, dropped: Dropped) -> bool {
    if dropped.was_polled {
        hand.until(|hand| !hand.has(4_000));
    }
    !dropped.was_polled
}
