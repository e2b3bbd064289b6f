//! Crashes, ends, and firewalls that are loaded anew.

use natpmp_proto::Protocol::{Tcp, Udp};
use natpmp_proto::gateway::NatRequest;

use super::RouterLab;
use super::traffic::{accept, connect, exchange, is_refused, is_reset_when_it_speaks, listener, talk, udp};

#[test]
fn after_a_crash_what_is_wanted_again_goes_on_and_what_is_not_ends() {
    let Some(mut router_lab) = RouterLab::or_skip(2) else { return };
    let (wanted, unwanted) = (router_lab.mapping(0, Tcp, 4000, 5000), router_lab.mapping(1, Tcp, 4000, 4000));
    let (there, elsewhere) = (router_lab.install(wanted), router_lab.install(unwanted));
    let (accepting, other_accepting) = (listener(router_lab.client(0), 4000), listener(router_lab.client(1), 4000));
    let mut outer = connect(router_lab.internet(), 0, there).unwrap();
    let (mut inner, _) = accept(&accepting);
    let mut other_outer = connect(router_lab.internet(), 0, elsewhere).unwrap();
    let (mut other_inner, _) = accept(&other_accepting);

    router_lab.crash();
    router_lab.start();
    assert!(is_refused(router_lab.internet(), there), "nothing is open that nobody has asked for");
    router_lab.set_external_address(Some(*there.ip()));
    assert_eq!(router_lab.apply(&[NatRequest::Install(wanted)]), [Ok(())]);
    talk(&mut outer, &mut inner);
    assert!(is_reset_when_it_speaks(&mut other_inner) && is_reset_when_it_speaks(&mut other_outer));
    assert!(is_refused(router_lab.internet(), elsewhere));
    let mut outer = connect(router_lab.internet(), 0, there).unwrap();
    talk(&mut outer, &mut accept(&accepting).0);
}

#[test]
fn after_a_crash_and_a_start_without_any_mapping_everything_ends() {
    let Some(mut router_lab) = RouterLab::or_skip(1) else { return };
    let there = router_lab.install(router_lab.mapping(0, Tcp, 4000, 4000));
    let accepting = listener(router_lab.client(0), 4000);
    let mut outer = connect(router_lab.internet(), 0, there).unwrap();
    let (mut inner, _) = accept(&accepting);
    router_lab.crash();
    router_lab.start();
    router_lab.apply(&[]);
    assert!(is_reset_when_it_speaks(&mut inner));
    assert!(is_reset_when_it_speaks(&mut outer));
}

#[test]
fn its_end_removes_its_table_and_nothing_else_is_ever_touched() {
    let Some(mut router_lab) = RouterLab::or_skip(1) else { return };
    router_lab.end();
    let before = router_lab.nft(&["list", "ruleset"]);
    assert!(!before.contains("natpmp"));
    router_lab.start();
    router_lab.set_external_address(Some(router_lab.lab.external_address()));
    let there = router_lab.install(router_lab.mapping(0, Tcp, 4000, 5000));
    router_lab.install(router_lab.mapping(0, Udp, 4000, 5000));
    let accepting = listener(router_lab.client(0), 4000);
    let mut outer = connect(router_lab.internet(), 0, there).unwrap();
    let _inner = accept(&accepting);
    let during = router_lab.nft(&["list", "ruleset"]);
    let own = router_lab.nft(&["list", "table", "ip", "natpmp"]);
    assert_eq!(during.replace(&own, ""), before);
    router_lab.end();
    assert_eq!(router_lab.nft(&["list", "ruleset"]), before);
    assert!(is_refused(router_lab.internet(), there));
    assert!(is_reset_when_it_speaks(&mut outer));
}

#[test]
fn a_table_that_a_firewall_removed_is_made_anew_with_the_next_request() {
    let Some(mut router_lab) = RouterLab::or_skip(1) else { return };
    let (first, second, third) = (
        router_lab.mapping(0, Udp, 4000, 5000),
        router_lab.mapping(0, Udp, 4001, 5001),
        router_lab.mapping(0, Udp, 4002, 5002),
    );
    let there = router_lab.install(first);
    let gone = router_lab.install(third);
    router_lab.lab.router().nft("delete table ip natpmp");
    assert!(is_refused(router_lab.internet(), there));
    assert_eq!(router_lab.apply(&[NatRequest::Remove(third), NatRequest::Install(second)]), [Ok(()), Ok(())]);
    exchange(&udp(router_lab.internet(), 0), there, &udp(router_lab.client(0), 4000));
    assert!(is_refused(router_lab.internet(), gone));
    // And when only something is removed.
    router_lab.lab.router().nft("delete table ip natpmp");
    router_lab.remove(second);
    exchange(&udp(router_lab.internet(), 0), there, &udp(router_lab.client(0), 4000));
}

#[test]
fn an_element_that_somebody_put_in_the_way_is_replaced() {
    let Some(mut router_lab) = RouterLab::or_skip(1) else { return };
    router_lab.lab.router().nft("add element ip natpmp udp_in { 5000 : 192.168.1.99 . 9 }");
    let there = router_lab.install(router_lab.mapping(0, Udp, 4000, 5000));
    exchange(&udp(router_lab.internet(), 0), there, &udp(router_lab.client(0), 4000));
}

#[test]
fn without_an_external_address_nothing_is_installed() {
    let Some(mut router_lab) = RouterLab::or_skip(1) else { return };
    let mapping = router_lab.mapping(0, Udp, 4000, 5000);
    router_lab.set_external_address(None);
    assert_eq!(router_lab.apply(&[NatRequest::Install(mapping)]), [Err(natpmp_proto::gateway::NatFailure::Network)]);
    assert!(!router_lab.nft(&["list", "table", "ip", "natpmp"]).contains("5000"));
    let address = router_lab.lab.external_address();
    router_lab.set_external_address(Some(address));
    assert!(is_refused(router_lab.internet(), std::net::SocketAddrV4::new(address, 5000)), "it left nothing");
}
