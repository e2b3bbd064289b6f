//! The driver dropped at every moment of a call.

use std::future::Future;
use std::time::Duration;

use natpmp_smol::{Client, Error, Protocol};
use smol::stream::StreamExt;

use super::hand::{Hand, Polled};
use super::{Step, UDP, orders};

#[test]
fn a_question_for_the_external_address_ends_when_its_driver_is_dropped() {
    drop_driver_everywhere(async |client| client.external_address().await.map(drop));
}

#[test]
fn a_call_that_maps_ends_when_its_driver_is_dropped() {
    drop_driver_everywhere(async |client| client.map(&UDP).await.map(drop));
}

#[test]
fn a_call_that_unmaps_ends_when_its_driver_is_dropped() {
    drop_driver_everywhere(async |client| client.unmap(Protocol::Udp, 4_000).await.map(drop));
    drop_driver_everywhere(async |client| client.unmap_all(Protocol::Tcp).await);
}

#[test]
fn calls_of_a_kept_mapping_end_when_its_driver_is_dropped() {
    drop_driver_everywhere(async |client| client.keep(&UDP)?.refresh().await.map(drop));
    drop_driver_everywhere(async |client| client.keep(&UDP)?.stop().await.map(drop));
    drop_driver_everywhere(async |client| client.keep(&UDP)?.wait_open(LONG).await.map(drop));
}

#[test]
fn news_ends_when_the_driver_is_dropped() {
    drop_driver_everywhere(async |client| client.events().next().await.map(drop).ok_or(Error::Stopped));
    drop_driver_everywhere(async |client| client.announcements().next().await.map(drop).ok_or(Error::Stopped));
}

/// It is woken if it waited, and is ready at once: with what was known by then, or [`Error::Stopped`].
fn drop_driver_everywhere<F: Future<Output = Result<(), Error>> + 'static>(call: impl Fn(Client) -> F) {
    for steps in orders(&[Step::Call, Step::ClientDriver, Step::Gateway], 5) {
        let mut hand = Hand::new();
        let client = hand.client();
        let call = call(client.clone());
        let mut polled = Polled::new(async {
            let result = call.await;
            (result.is_ok(), matches!(result, Err(Error::Stopped)))
        });
        for step in &steps {
            match step {
                Step::Call => polled.poll(),
                Step::ClientDriver => hand.poll_driver(),
                Step::Gateway => hand.answer(),
            }
        }
        let was_known = polled.result().is_some();
        hand.drop_driver();
        assert!(was_known || !polled.was_polled() || polled.is_woken(), "{steps:?}");
        polled.poll();
        let (is_ok, is_stopped) = polled.result().unwrap_or_else(|| panic!("{steps:?}: it waits for ever"));
        assert!(is_ok || is_stopped, "{steps:?}");
        let mut later = Polled::new(async { matches!(client.external_address().await, Err(Error::Stopped)) });
        later.poll();
        assert_eq!(later.result(), Some(true), "{steps:?}");
    }
}

const LONG: Duration = Duration::from_secs(3_600);
