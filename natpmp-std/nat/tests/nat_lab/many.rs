//! Many mappings.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use natpmp_lab::Running;
use natpmp_proto::Protocol::{Tcp, Udp};
use natpmp_proto::gateway::{NatMapping, NatRequest};

use super::traffic::{exchange, is_refused, udp};
use super::{RouterLab, SOON};

#[test]
fn a_batch_of_a_thousand_is_one_transaction_and_adds_no_rule() {
    let Some(mut router_lab) = RouterLab::or_skip(1) else { return };
    let rules = |router_lab: &RouterLab| {
        router_lab.nft(&["list", "table", "ip", "natpmp"]).lines().filter(|line| line.contains("dnat")).count()
    };
    let before = rules(&router_lab);
    let mut monitor = router_lab.router().spawn("nft", &["monitor"]);
    // It listens when it has seen one of many.
    let is_heard = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_heard.load(Ordering::Relaxed) {
                router_lab.lab.router().nft("add table ip hello; delete table ip hello");
            }
        });
        monitor.line(SOON, |line| line == "add table ip hello");
        is_heard.store(true, Ordering::Relaxed);
    });
    transactions(&router_lab, &mut monitor);

    let install: Vec<_> = mappings(&router_lab, 1_000).into_iter().map(NatRequest::Install).collect();
    assert_eq!(router_lab.apply_only(&install), vec![Ok(()); 1_000]);
    assert_eq!(transactions(&router_lab, &mut monitor), 1);
    assert_eq!(rules(&router_lab), before);
}

/// How many the kernel has had since the last call.
fn transactions(router_lab: &RouterLab, monitor: &mut Running) -> usize {
    router_lab.lab.router().nft("add table ip marker");
    router_lab.lab.router().nft("delete table ip marker");
    let mut next =
        || monitor.line(SOON, |line| line.starts_with("# new generation") || line.ends_with("table ip marker"));
    let mut count = 0;
    while next() != "add table ip marker" {
        count += 1;
    }
    while next() != "delete table ip marker" {}
    next();
    count
}

#[test]
fn five_thousand_mappings_are_quick_to_make_and_to_change() {
    let Some(mut router_lab) = RouterLab::or_skip(1) else { return };
    let all = mappings(&router_lab, 5_000);
    let timed = |router_lab: &mut RouterLab, what: &str, requests: &[NatRequest]| {
        let began = Instant::now();
        assert!(router_lab.apply_only(requests).iter().all(Result::is_ok));
        println!("{what}: {:?}", began.elapsed());
    };
    let install: Vec<_> = all.iter().copied().map(NatRequest::Install).collect();
    timed(&mut router_lab, "5,000 installed at once", &install);
    let extra = router_lab.mapping(0, Udp, 400, 500);
    timed(&mut router_lab, "one more", &[NatRequest::Install(extra)]);
    timed(&mut router_lab, "one removed", &[NatRequest::Remove(extra)]);
    let began = Instant::now();
    for batch in all.chunks(1).take(20) {
        router_lab.apply_only(&[NatRequest::Remove(batch[0])]);
        router_lab.apply_only(&[NatRequest::Install(batch[0])]);
    }
    println!("each of 40 single changes: {:?}", began.elapsed() / 40);

    let (first, last) = (all[0], all[4_999]);
    let external = router_lab.lab.external_address();
    let at = |mapping: &NatMapping| std::net::SocketAddrV4::new(external, mapping.external_port);
    exchange(&udp(router_lab.internet(), 0), at(&first), &udp(router_lab.client(0), first.internal.port()));
    let remove: Vec<_> = all.iter().copied().map(NatRequest::Remove).collect();
    timed(&mut router_lab, "5,000 removed at once", &remove);
    assert!(is_refused(router_lab.internet(), at(&first)) && is_refused(router_lab.internet(), at(&last)));
}

/// Half of them of each protocol, on the same ports.
fn mappings(router_lab: &RouterLab, count: u16) -> Vec<NatMapping> {
    (0..count)
        .map(|number| {
            let protocol = if number % 2 == 0 { Udp } else { Tcp };
            router_lab.mapping(0, protocol, 10_000 + number / 2, 20_000 + number / 2)
        })
        .collect()
}
