//! Crashes, ends, and firewalls that are loaded anew.

use natpmp_proto::Protocol::{Tcp, Udp};
use natpmp_proto::gateway::NatRequest;

use super::House;
use super::traffic::{accept, connect, exchange, is_refused, is_reset_when_it_speaks, listener, talk, udp};

#[test]
fn after_a_crash_what_is_wanted_again_goes_on_and_what_is_not_ends() {
    let Some(mut house) = House::or_skip(2) else { return };
    let (wanted, unwanted) = (house.mapping(0, Tcp, 4000, 5000), house.mapping(1, Tcp, 4000, 4000));
    let (there, elsewhere) = (house.install(wanted), house.install(unwanted));
    let (accepting, other_accepting) = (listener(house.client(0), 4000), listener(house.client(1), 4000));
    let mut outer = connect(house.internet(), 0, there).unwrap();
    let (mut inner, _) = accept(&accepting);
    let mut other_outer = connect(house.internet(), 0, elsewhere).unwrap();
    let (mut other_inner, _) = accept(&other_accepting);

    house.crash();
    house.start();
    assert!(is_refused(house.internet(), there), "nothing is open that nobody has asked for");
    house.set_external_address(Some(*there.ip()));
    assert_eq!(house.apply(&[NatRequest::Install(wanted)]), [Ok(())]);
    talk(&mut outer, &mut inner);
    assert!(is_reset_when_it_speaks(&mut other_inner) && is_reset_when_it_speaks(&mut other_outer));
    assert!(is_refused(house.internet(), elsewhere));
    let mut outer = connect(house.internet(), 0, there).unwrap();
    talk(&mut outer, &mut accept(&accepting).0);
}

#[test]
fn after_a_crash_and_a_start_without_any_mapping_everything_ends() {
    let Some(mut house) = House::or_skip(1) else { return };
    let there = house.install(house.mapping(0, Tcp, 4000, 4000));
    let accepting = listener(house.client(0), 4000);
    let mut outer = connect(house.internet(), 0, there).unwrap();
    let (mut inner, _) = accept(&accepting);
    house.crash();
    house.start();
    house.apply(&[]);
    assert!(is_reset_when_it_speaks(&mut inner));
    assert!(is_reset_when_it_speaks(&mut outer));
}

#[test]
fn its_end_removes_its_table_and_nothing_else_is_ever_touched() {
    let Some(mut house) = House::or_skip(1) else { return };
    house.end();
    let before = house.nft(&["list", "ruleset"]);
    assert!(!before.contains("natpmp"));
    house.start();
    house.set_external_address(Some(house.lab.external_address()));
    let there = house.install(house.mapping(0, Tcp, 4000, 5000));
    house.install(house.mapping(0, Udp, 4000, 5000));
    let accepting = listener(house.client(0), 4000);
    let mut outer = connect(house.internet(), 0, there).unwrap();
    let _inner = accept(&accepting);
    let during = house.nft(&["list", "ruleset"]);
    let own = house.nft(&["list", "table", "ip", "natpmp"]);
    assert_eq!(during.replace(&own, ""), before);
    house.end();
    assert_eq!(house.nft(&["list", "ruleset"]), before);
    assert!(is_refused(house.internet(), there));
    assert!(is_reset_when_it_speaks(&mut outer));
}

#[test]
fn a_table_that_a_firewall_removed_is_made_anew_with_the_next_request() {
    let Some(mut house) = House::or_skip(1) else { return };
    let (first, second, third) =
        (house.mapping(0, Udp, 4000, 5000), house.mapping(0, Udp, 4001, 5001), house.mapping(0, Udp, 4002, 5002));
    let there = house.install(first);
    let gone = house.install(third);
    house.lab.router().nft("delete table ip natpmp");
    assert!(is_refused(house.internet(), there));
    assert_eq!(house.apply(&[NatRequest::Remove(third), NatRequest::Install(second)]), [Ok(()), Ok(())]);
    exchange(&udp(house.internet(), 0), there, &udp(house.client(0), 4000));
    assert!(is_refused(house.internet(), gone));
    // And when only something is removed.
    house.lab.router().nft("delete table ip natpmp");
    house.remove(second);
    exchange(&udp(house.internet(), 0), there, &udp(house.client(0), 4000));
}

#[test]
fn an_element_that_somebody_put_in_the_way_is_replaced() {
    let Some(mut house) = House::or_skip(1) else { return };
    house.lab.router().nft("add element ip natpmp udp_in { 5000 : 192.168.1.99 . 9 }");
    let there = house.install(house.mapping(0, Udp, 4000, 5000));
    exchange(&udp(house.internet(), 0), there, &udp(house.client(0), 4000));
}

#[test]
fn without_an_external_address_nothing_is_installed() {
    let Some(mut house) = House::or_skip(1) else { return };
    let mapping = house.mapping(0, Udp, 4000, 5000);
    house.set_external_address(None);
    assert_eq!(house.apply(&[NatRequest::Install(mapping)]), [Err(natpmp_proto::gateway::NatFailure::Network)]);
    assert!(!house.nft(&["list", "table", "ip", "natpmp"]).contains("5000"));
    let address = house.lab.external_address();
    house.set_external_address(Some(address));
    assert!(is_refused(house.internet(), std::net::SocketAddrV4::new(address, 5000)), "it left nothing");
}
