//! The external address: set, changed, lost.

use super::*;

/// G04
#[test]
fn the_external_address_is_told_with_the_epoch() {
    let mut rig = Rig::new();
    rig.pass(1_000);
    let reported = Response::ExternalAddress { epoch: rig.epoch(), address: ADDRESS };
    assert_eq!(rig.answer(client(2), &Request::ExternalAddress), reported);
    rig.gateway.set_external_address(rig.now, Some(OTHER_ADDRESS));
    let reported = Response::ExternalAddress { epoch: rig.epoch(), address: OTHER_ADDRESS };
    assert_eq!(rig.answer(client(2), &Request::ExternalAddress), reported);
    assert_eq!(rig.gateway.external_address(), Some(OTHER_ADDRESS));
}

/// G04, G17, G18
#[test]
fn without_an_external_address_the_result_is_3_and_the_fields_are_0() {
    let mut rig = Rig::new();
    rig.gateway.set_external_address(rig.now, None);
    let [a, b, c, d] = rig.epoch().to_be_bytes();
    let answer = rig.ask(client(2), &[0, 0]).unwrap().unwrap();
    assert_eq!(*answer.payload, [0, 128, 0, 3, a, b, c, d, 0, 0, 0, 0]);
    let request = map(UDP, 0x0fa0, 4000, 120).encode();
    let answer = rig.ask(client(2), &request).unwrap().unwrap();
    assert_eq!(*answer.payload, [0, 129, 0, 3, a, b, c, d, 0x0f, 0xa0, 0, 0, 0, 0, 0, 0]);
    rig.no_trace_is_left();
}

/// G18: before it has one.
#[test]
fn a_gateway_that_never_had_an_address_refuses_with_result_3() {
    let mut gateway: Gateway<4> = Gateway::new(Config::new());
    gateway.start(Instant::ZERO, 0);
    assert_eq!(gateway.handle_datagram(Instant::ZERO, SOCKET, client(2), &[0, 0]), Ok(()));
    let answer = gateway.poll_transmit(Instant::ZERO).unwrap();
    assert_eq!(*answer.payload, [0, 128, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(gateway.poll_timeout(), None, "there is nothing to announce");
    assert_eq!(gateway.poll_transmit(Instant::from_secs(9)), None);
}

/// G06
#[test]
fn a_new_address_has_every_mapping_brought_up_to_date_and_keeps_the_leases() {
    let mut rig = Rig::new();
    rig.opens(client(2), &map(UDP, 4000, 4000, 100));
    rig.opens(client(3), &map(TCP, 5000, 5000, 100));
    rig.pass(40);
    rig.gateway.set_external_address(rig.now, Some(OTHER_ADDRESS));
    let updates = [rig.nat(), rig.nat()];
    assert!(updates.iter().all(|update| matches!(update, NatRequest::Install(_))));
    assert_eq!(rig.open_ports(), [4000, 5000], "they are open all the time");
    rig.pass(5);
    for update in &updates {
        assert_eq!(rig.done(update), None, "nobody asked");
    }
    rig.pass(55).nat_is_left_alone();
    rig.pass(1);
    assert_eq!(std::iter::from_fn(|| rig.gateway.poll_nat()).count(), 2, "the leases end when they would have");
    assert_eq!(rig.events().len(), 2, "nothing but their beginning was told");
}

#[test]
fn the_same_address_again_is_no_change() {
    let mut rig = Rig::new();
    rig.opens(client(2), &map(UDP, 4000, 4000, 100));
    rig.gateway.set_external_address(rig.now, Some(ADDRESS));
    rig.nat_is_left_alone();
    assert_eq!(rig.gateway.poll_transmit(rig.now), None);
}

/// G06: also if it is the one it had.
#[test]
fn an_address_lost_and_found_is_announced_and_has_the_mappings_brought_up_to_date() {
    let mut rig = Rig::new();
    rig.opens(client(2), &map(UDP, 4000, 4000, 100));
    rig.gateway.set_external_address(rig.now, None);
    rig.nat_is_left_alone();
    assert_eq!(rig.gateway.poll_transmit(rig.now), None);
    rig.pass(10);
    rig.gateway.set_external_address(rig.now, Some(ADDRESS));
    assert!(rig.gateway.poll_transmit(rig.now).is_some());
    assert_eq!(rig.nat(), NatRequest::Install(nat_mapping_of(client(2), UDP, 4000, 4000)));
}

#[test]
fn a_lease_that_ends_while_it_is_brought_up_to_date_ends_as_soon_as_that_is_done() {
    let mut rig = Rig::new();
    rig.opens(client(2), &map(UDP, 4000, 4000, 60));
    rig.gateway.set_external_address(rig.now, Some(OTHER_ADDRESS));
    let update = rig.nat();
    rig.now = rig.now + core::time::Duration::from_secs(100);
    assert_eq!(rig.done(&update), None);
    assert!(rig.gateway.poll_timeout().unwrap() <= rig.now);
    rig.pass(0);
    assert_eq!(rig.nat(), NatRequest::Remove(*update.mapping()));
}

#[test]
fn a_renewal_during_an_update_is_answered_when_the_nat_has_it() {
    let mut rig = Rig::new();
    rig.opens(client(2), &map(UDP, 4000, 4000, 60));
    rig.gateway.set_external_address(rig.now, Some(OTHER_ADDRESS));
    let update = rig.nat();
    rig.waits(client(2), &map(UDP, 4000, 4000, 90));
    assert_eq!(rig.open_ports(), [4000], "the NAT has it");
    let granted = rig.mapped(UDP, 4000, 4000, 90);
    assert_eq!(rig.done(&update), Some((client(2), granted)));
    rig.pass(90).nat_is_left_alone();
}

#[test]
fn a_deletion_during_an_update_is_done_after_it() {
    let mut rig = Rig::new();
    rig.opens(client(2), &map(UDP, 4000, 4000, 60));
    rig.gateway.set_external_address(rig.now, Some(OTHER_ADDRESS));
    let update = rig.nat();
    rig.waits(client(2), &Request::delete(UDP, 4000));
    assert_eq!(rig.done(&update), None);
    let deleted = rig.deleted(UDP, 4000);
    assert_eq!(rig.settle(), [(client(2), deleted)]);
    rig.no_trace_is_left();
}

/// G06, G19: its client believes it open.
#[test]
fn a_mapping_lost_in_an_update_is_a_loss_of_state() {
    let mut rig = Rig::new();
    rig.opens(client(2), &map(UDP, 4000, 4000, 6_000));
    rig.pass(500);
    rig.gateway.set_external_address(rig.now, Some(OTHER_ADDRESS));
    let update = rig.nat();
    assert_eq!(rig.outcome(&update, Err(NatFailure::Network)), None);
    assert_eq!(rig.epoch(), 0);
    assert!(rig.gateway.poll_transmit(rig.now).is_some());
    assert!(rig.gateway.is_empty());
}

/// Nobody was hurt.
#[test]
fn a_mapping_deleted_during_an_update_that_fails_is_no_loss_of_state() {
    let mut rig = Rig::new();
    rig.opens(client(2), &map(UDP, 4000, 4000, 6_000));
    rig.pass(500);
    rig.gateway.set_external_address(rig.now, Some(OTHER_ADDRESS));
    let update = rig.nat();
    rig.waits(client(2), &Request::delete(UDP, 4000));
    let deleted = rig.deleted(UDP, 4000);
    assert_eq!(rig.outcome(&update, Err(NatFailure::Network)), Some((client(2), deleted)));
    assert!(rig.epoch() >= 500);
}

/// What the NAT was asked for while the address was another may have been made for that one.
#[test]
fn a_mapping_that_is_being_installed_when_the_address_changes_is_brought_up_to_date_too() {
    let mut rig = Rig::new();
    rig.waits(client(2), &map(UDP, 4000, 4000, 60));
    let installation = rig.nat();
    rig.gateway.set_external_address(rig.now, Some(OTHER_ADDRESS));
    let early = rig.done(&installation);
    let update = rig.nat();
    assert_eq!(update, installation);
    let late = rig.done(&update);
    let granted = rig.mapped(UDP, 4000, 4000, 60);
    assert_eq!(early.or(late), Some((client(2), granted)));
    rig.nat_is_left_alone();
    rig.pass(60).nat_is_left_alone();
    rig.pass(1);
    assert!(matches!(rig.nat(), NatRequest::Remove(_)));
}

/// G06: also what was open before, and is brought up to date for an address that is gone by then.
#[test]
fn a_mapping_that_is_being_updated_when_the_address_changes_again_is_updated_again() {
    let mut rig = Rig::new();
    rig.opens(client(2), &map(UDP, 4000, 4000, 60));
    rig.gateway.set_external_address(rig.now, Some(OTHER_ADDRESS));
    let update = rig.nat();
    for address in [ADDRESS, OTHER_ADDRESS] {
        rig.gateway.set_external_address(rig.now, Some(address));
        rig.nat_is_left_alone();
        assert_eq!(rig.open_ports(), [4000], "the NAT has it all the time");
    }
    assert_eq!(rig.done(&update), None);
    assert_eq!(rig.nat(), update, "it may have been made for an address before");
    assert_eq!(rig.done(&update), None);
    rig.nat_is_left_alone();
    rig.pass(60).nat_is_left_alone();
    rig.pass(1);
    assert!(matches!(rig.nat(), NatRequest::Remove(_)), "its lease went on");
}
