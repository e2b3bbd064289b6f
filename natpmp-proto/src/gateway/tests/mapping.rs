//! Requests for mappings, new and repeated.

use super::*;

/// G07
#[test]
fn a_mapping_leads_to_the_address_its_request_came_from() {
    let mut rig = Rig::new();
    rig.waits(client(9), &map(TCP, 80, 8080, 600));
    assert_eq!(rig.nat(), NatRequest::Install(nat_mapping_of(client(9), TCP, 80, 8080)));
}

/// The NAT comes first.
#[test]
fn nothing_is_granted_before_the_nat_has_it() {
    let mut rig = Rig::new();
    rig.waits(client(2), &map(UDP, 4000, 4000, 120));
    assert_eq!(rig.gateway.mappings().count(), 0);
    assert_eq!(rig.gateway.poll_timeout(), None);
    let asked = rig.nat();
    rig.pass(3);
    let granted = rig.mapped(UDP, 4000, 4000, 120);
    assert_eq!(rig.done(&asked), Some((client(2), granted)));
    assert_eq!(rig.open_ports(), [4000]);
    rig.nat_is_left_alone();
}

/// G08
#[test]
fn a_request_repeated_while_the_nat_is_asked_is_not_passed_on_twice() {
    let mut rig = Rig::new();
    let request = map(UDP, 4000, 4000, 120);
    rig.waits(client(2), &request);
    rig.waits(client(2), &request);
    let asked = rig.nat();
    rig.waits(client(2), &request);
    rig.nat_is_left_alone();
    assert!(rig.done(&asked).is_some());
    assert_eq!(rig.done(&asked), None, "one outcome, one answer");
    rig.nat_is_left_alone();
    assert_eq!(rig.gateway.len(), 1);
}

#[test]
fn the_answer_goes_to_where_the_request_came_from_last_with_the_lifetime_asked_last() {
    let mut rig = Rig::new();
    rig.waits(client(2), &map(UDP, 4000, 4000, 120));
    let asked = rig.nat();
    rig.waits(neighbour(client(2)), &map(UDP, 4000, 5000, 240));
    let granted = rig.mapped(UDP, 4000, 4000, 240);
    assert_eq!(rig.done(&asked), Some((neighbour(client(2)), granted)));
}

/// G08
#[test]
fn a_mapped_port_asked_for_again_is_granted_at_once_on_the_port_it_has() {
    let mut rig = Rig::new();
    rig.opens(client(2), &map(UDP, 4000, 4001, 120));
    for suggested in [0, 4001, 4000, 9999, 80] {
        rig.pass(1);
        let granted = rig.mapped(UDP, 4000, 4001, 600);
        assert_eq!(rig.answer(client(2), &map(UDP, 4000, suggested, 600)), granted);
    }
    rig.nat_is_left_alone();
    assert_eq!(rig.gateway.len(), 1);
}

/// G08, G18
#[test]
fn mapping_switched_off_refuses_renewals_as_well_but_not_deletions() {
    let mut rig = Rig::new();
    rig.opens(client(2), &map(UDP, 4000, 4000, 120));
    rig.gateway.allow_mapping(false);
    for port in [4000, 4001] {
        let refused = rig.refused(UDP, port, Refusal::NotAuthorized);
        assert_eq!(rig.answer(client(2), &map(UDP, port, 0, 600)), refused);
    }
    assert_eq!(rig.open_ports(), [4000], "what there is stays until its lease ends");
    rig.waits(client(2), &Request::delete(UDP, 4000));
    let deleted = rig.deleted(UDP, 4000);
    assert_eq!(rig.settle(), [(client(2), deleted)]);
    rig.gateway.allow_mapping(true);
    rig.opens(client(2), &map(UDP, 4000, 4000, 120));
}

#[test]
fn internal_port_0_cannot_be_mapped() {
    let mut rig = Rig::new();
    let refused = rig.refused(UDP, 0, Refusal::NotAuthorized);
    assert_eq!(rig.answer(client(2), &map(UDP, 0, 4000, 120)), refused);
    rig.no_trace_is_left();
}

/// G07: the same internal port of two clients is two mappings.
#[test]
fn two_clients_at_once_get_each_their_own() {
    let mut rig = Rig::new();
    rig.waits(client(2), &map(UDP, 4000, 4000, 120));
    rig.waits(client(3), &map(UDP, 4000, 4000, 240));
    let (first, second) = (rig.nat(), rig.nat());
    assert_ne!(first.mapping().external_port, second.mapping().external_port);
    let granted = rig.mapped(UDP, 4000, second.mapping().external_port, 240);
    assert_eq!(rig.done(&second), Some((client(3), granted)), "outcomes come in any order");
    let granted = rig.mapped(UDP, 4000, 4000, 120);
    assert_eq!(rig.done(&first), Some((client(2), granted)));
}

/// G05
#[test]
fn many_at_once_are_each_answered_with_the_epoch_of_the_moment() {
    let mut rig: Rig<64> = Rig::with(Config::new().per_client(64));
    for port in 0..40 {
        rig.waits(client(2 + u8::try_from(port % 4).unwrap()), &map(UDP, 2000 + port, 0, 600));
    }
    let mut asked: Vec<NatRequest> = (0..40).map(|_| rig.nat()).collect();
    rig.nat_is_left_alone();
    asked.reverse();
    for request in asked {
        rig.pass(1);
        let mapping = *request.mapping();
        let granted = rig.mapped(UDP, mapping.internal.port(), mapping.external_port, 600);
        let (to, answer) = rig.done(&request).unwrap();
        assert_eq!((to.ip(), answer), (mapping.internal.ip(), granted));
    }
    assert_eq!(rig.gateway.mappings().count(), 40);
}

/// Wanted again on its way out.
#[test]
fn a_request_while_the_nat_removes_it_has_it_installed_again_on_the_same_port() {
    let mut rig = Rig::new();
    rig.opens(client(2), &map(UDP, 4000, 4001, 120));
    rig.waits(client(2), &Request::delete(UDP, 4000));
    let removal = rig.nat();
    rig.waits(client(2), &map(UDP, 4000, 0, 60));
    rig.nat_is_left_alone();
    assert_eq!(rig.done(&removal), None);
    let installation = rig.nat();
    assert_eq!(installation, NatRequest::Install(nat_mapping_of(client(2), UDP, 4000, 4001)));
    let granted = rig.mapped(UDP, 4000, 4001, 60);
    assert_eq!(rig.done(&installation), Some((client(2), granted)));
    rig.pass(61);
    assert!(matches!(rig.nat(), NatRequest::Remove(_)), "a lease like any other");
}

/// Wanted again before the NAT was told of its end.
#[test]
fn a_request_before_the_nat_was_asked_to_remove_it_keeps_it_open_in_the_end() {
    let mut rig = Rig::new();
    rig.opens(client(2), &map(UDP, 4000, 4001, 120));
    rig.waits(client(2), &Request::delete(UDP, 4000));
    rig.waits(client(2), &map(UDP, 4000, 4001, 120));
    let granted = rig.mapped(UDP, 4000, 4001, 120);
    assert_eq!(rig.settle(), [(client(2), granted)]);
    assert_eq!(rig.open_ports(), [4001]);
}
