//! What `nft` says of the table, and that it can load what it says.

use natpmp_proto::Protocol::{Tcp, Udp};

use super::RouterLab;
use super::traffic::{connect, exchange, is_refused, is_reset_when_it_speaks, udp};

const LIST: [&str; 4] = ["list", "table", "ip", "natpmp"];

#[test]
fn a_saved_rule_set_can_be_loaded_again_and_is_the_same() {
    let Some(mut router_lab) = RouterLab::or_skip(1) else { return };
    let there = router_lab.install(router_lab.mapping(0, Udp, 4000, 5000));
    router_lab.install(router_lab.mapping(0, Tcp, 4001, 5001));
    let ended = router_lab.mapping(0, Tcp, 4002, 5002);
    let at = router_lab.install(ended);
    let accepting = super::traffic::listener(router_lab.client(0), 4002);
    let mut outer = connect(router_lab.internet(), 0, at).unwrap();
    let _inner = accepting.accept().unwrap();
    router_lab.remove(ended);
    assert!(is_reset_when_it_speaks(&mut outer));

    let saved = router_lab.nft(&["list", "ruleset"]);
    router_lab.nft(&["flush", "ruleset"]);
    assert!(is_refused(router_lab.internet(), there));
    router_lab.lab.router().nft(&saved);
    let without_times = |listing: &str| -> Vec<String> {
        listing.lines().map(|line| line.split("expires").next().unwrap().trim().to_owned()).collect()
    };
    assert_eq!(without_times(&router_lab.nft(&["list", "ruleset"])), without_times(&saved));
    exchange(&udp(router_lab.internet(), 0), there, &udp(router_lab.client(0), 4000));
}

/// The documentation of the table shows it.
#[test]
fn the_table_is_listed_as_it_is_documented() {
    let Some(router_lab) = RouterLab::or_skip(1) else { return };
    let listed = router_lab.nft(&LIST);
    router_lab.nft(&["delete", "table", "ip", "natpmp"]);
    // Another version may say it in other words.
    router_lab.lab.router().nft(include_str!("../../src/nftables/table.nft"));
    assert_eq!(listed, router_lab.nft(&LIST), "documented:");
}
