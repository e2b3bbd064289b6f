//! How many threads a client takes. The only test of its program, so that no other test's threads are counted.
#![cfg(target_os = "linux")]
#![cfg(test)]
#![forbid(unsafe_code)]

use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use natpmp_std::{Client, MapRequest, Protocol};
use natpmp_testkit::gateway::{Gateway, Served};

#[test]
fn a_hundred_kept_mappings_take_one_worker_and_their_callbacks_one_more() {
    let gateway = Served::start(Gateway::new());
    let before = threads();
    let client = Client::builder().gateway(gateway.address()).announcements(false).build().unwrap();
    let kept: Vec<_> =
        (0..100).map(|index| client.keep(&MapRequest::new(Protocol::Udp, 4_000 + index)).unwrap()).collect();
    assert!(kept.iter().all(|kept| kept.wait_open(SOON).is_ok()));
    assert_eq!(threads(), before + 1);

    let (sender, reported) = mpsc::channel();
    let with_callbacks: Vec<_> = (0..100)
        .map(|index| {
            let sender = sender.clone();
            let report = move |_: &_| sender.send(()).unwrap();
            client.keep_with(&MapRequest::new(Protocol::Tcp, 4_000 + index), report).unwrap()
        })
        .collect();
    for _ in &with_callbacks {
        reported.recv_timeout(SOON).unwrap();
    }
    assert_eq!(threads(), before + 2);

    drop((kept, with_callbacks));
    let clone = client.clone();
    drop(client);
    assert_eq!(threads(), before + 2, "a handle is left");
    drop(clone);
    // The callbacks' thread has nothing to do any more, and is not waited for.
    let deadline = Instant::now() + SOON;
    while threads() > before {
        assert!(Instant::now() < deadline, "threads are left behind");
        thread::sleep(Duration::from_millis(2));
    }
}

fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").unwrap().count()
}

const SOON: Duration = Duration::from_secs(10);
