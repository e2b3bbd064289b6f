//! Mappings that the administrator made (section 3.4).

use super::*;

fn with_static() -> (Rig, NatMapping) {
    let mut rig = Rig::new();
    let mapping = nat_mapping_of(client(2), TCP, 80, 80);
    assert!(rig.gateway.add_static(&mapping));
    assert_eq!(rig.gateway.mappings().count(), 0, "not before the NAT has it");
    let asked = rig.nat();
    assert_eq!(asked, NatRequest::Install(mapping));
    assert_eq!(rig.done(&asked), None);
    (rig, mapping)
}

/// G15
#[test]
fn a_static_mapping_has_no_lease_and_is_not_deleted_by_its_client() {
    let (mut rig, mapping) = with_static();
    let refused = rig.refused(TCP, 80, Refusal::NotAuthorized);
    assert_eq!(rig.answer(client(2), &Request::delete(TCP, 80)), refused);
    assert_eq!(rig.gateway.poll_timeout(), None);
    rig.pass(10 * 365 * 86_400).nat_is_left_alone();
    let open: Vec<Mapping> = rig.gateway.mappings().collect();
    assert_eq!(open, [Mapping { mapping, expires: None }]);
}

/// G08, G15
#[test]
fn a_static_mapping_asked_for_by_its_owner_is_returned_as_it_is() {
    let (mut rig, _) = with_static();
    let granted = rig.mapped(TCP, 80, 80, 120);
    assert_eq!(rig.answer(client(2), &map(TCP, 80, 4000, 120)), granted);
    rig.nat_is_left_alone();
    rig.pass(1_000).nat_is_left_alone();
    assert_eq!(rig.open_ports(), [80], "and gets no lease by that");
}

/// G12, G15: not longer than asked for.
#[test]
fn a_static_mapping_asked_for_while_it_is_installed_is_granted_for_no_longer_than_asked() {
    let mut rig = Rig::new();
    assert!(rig.gateway.add_static(&nat_mapping_of(client(2), TCP, 80, 80)));
    let asked = rig.nat();
    rig.waits(client(2), &map(TCP, 80, 80, 120));
    let granted = rig.mapped(TCP, 80, 80, 120);
    assert_eq!(rig.done(&asked), Some((client(2), granted)));
    assert_eq!(rig.gateway.poll_timeout(), None);
}

/// G15: another client may not have it, and its companion is reserved.
#[test]
fn a_static_mappings_port_is_taken_for_all_others() {
    let mut rig = Rig::new();
    assert!(rig.gateway.add_static(&nat_mapping_of(client(2), TCP, 80, 8080)));
    assert!(rig.settle().is_empty());
    assert_ne!(rig.opens(client(3), &map(TCP, 80, 8080, 600)), 8080);
    assert_ne!(rig.opens(client(3), &map(UDP, 81, 8080, 600)), 8080);
    assert_eq!(rig.opens(client(2), &map(UDP, 81, 8080, 600)), 8080);
}

#[test]
fn what_is_taken_cannot_be_made_static() {
    let mut rig = Rig::new();
    rig.opens(client(2), &map(TCP, 4000, 4000, 600));
    assert!(!rig.gateway.add_static(&nat_mapping_of(client(2), TCP, 4000, 5000)), "its client's port");
    assert!(!rig.gateway.add_static(&nat_mapping_of(client(3), TCP, 80, 4000)), "its port");
    assert!(!rig.gateway.add_static(&nat_mapping_of(client(3), UDP, 80, 4000)), "its companion");
    assert!(rig.gateway.add_static(&nat_mapping_of(client(2), UDP, 80, 4000)));
    assert_eq!(rig.gateway.len(), 2);
}

/// Any port will do, but there must be one.
#[test]
fn port_0_is_no_port_for_the_administrator_either() {
    let mut rig = Rig::new();
    for (port, external_port) in [(80, 0), (0, 80), (0, 0)] {
        assert!(!rig.gateway.add_static(&nat_mapping_of(client(2), TCP, port, external_port)));
    }
    assert!(!rig.gateway.restore(&nat_mapping_of(client(2), TCP, 0, 4000), 60));
    rig.no_trace_is_left();
}

#[test]
fn the_administrator_removes_a_static_mapping() {
    let (mut rig, mapping) = with_static();
    assert!(rig.gateway.remove(TCP, internal(client(2), 80)));
    let removal = rig.nat();
    assert_eq!(removal, NatRequest::Remove(mapping));
    assert_eq!(rig.done(&removal), None);
    rig.no_trace_is_left();
    let deleted = rig.deleted(TCP, 80);
    assert_eq!(rig.answer(client(2), &Request::delete(TCP, 80)), deleted);
}

/// The administrator's word stands, whatever the client asks meanwhile.
#[test]
fn a_removed_static_mapping_that_its_client_asks_for_meanwhile_gets_a_lease_like_any_other() {
    for is_failing in [false, true] {
        let (mut rig, _) = with_static();
        assert!(rig.gateway.remove(TCP, internal(client(2), 80)));
        let removal = rig.nat();
        rig.waits(client(2), &map(TCP, 80, 80, 120));
        let granted = rig.mapped(TCP, 80, 80, 120);
        let outcome = if is_failing { Err(NatFailure::Network) } else { Ok(()) };
        assert_eq!(rig.outcome(&removal, outcome), None);
        assert_eq!(rig.settle(), [(client(2), granted)]);
        rig.pass(121);
        assert_eq!(rig.nat(), removal, "its lease ends");
    }
}

/// G06, G19: its client may have been told of it; nobody can have been told of one that never was.
#[test]
fn a_static_mapping_lost_in_an_update_is_a_loss_of_state_and_one_that_never_was_is_none() {
    for was_open in [false, true] {
        let mut rig = Rig::new();
        assert!(rig.gateway.add_static(&nat_mapping_of(client(2), TCP, 80, 80)));
        if was_open {
            assert!(rig.settle().is_empty());
            rig.gateway.set_external_address(rig.now, Some(OTHER_ADDRESS));
        }
        let asked = rig.nat();
        rig.pass(1);
        assert_eq!(rig.outcome(&asked, Err(NatFailure::Network)), None);
        assert_eq!(rig.epoch() == 0, was_open);
        assert!(rig.gateway.is_empty());
    }
}

/// G15: in all, the address changes and the table is cleared.
#[test]
fn a_static_mapping_stays_through_a_clearing_and_is_brought_up_to_date() {
    let (mut rig, mapping) = with_static();
    rig.gateway.clear(rig.now);
    rig.nat_is_left_alone();
    rig.gateway.set_external_address(rig.now, Some(OTHER_ADDRESS));
    let update = rig.nat();
    assert_eq!(update, NatRequest::Install(mapping));
    assert_eq!(rig.open_ports(), [80], "it is open all the time");
    assert_eq!(rig.done(&update), None);
    assert_eq!(rig.gateway.poll_timeout(), rig.gateway.next_announcement());
    let refused = rig.refused(TCP, 80, Refusal::NotAuthorized);
    assert_eq!(rig.answer(client(2), &Request::delete(TCP, 80)), refused);
}
