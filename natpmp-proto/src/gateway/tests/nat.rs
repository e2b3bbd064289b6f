//! A NAT that fails, and outcomes that come too late, twice, or for nothing.

use super::*;

const FAILURES: [(NatFailure, Refusal); 2] =
    [(NatFailure::Network, Refusal::NetworkFailure), (NatFailure::Resources, Refusal::OutOfResources)];

/// G17: result 3 or 4, and no trace.
#[test]
fn what_the_nat_does_not_take_is_refused_and_leaves_no_trace() {
    for (failure, refusal) in FAILURES {
        let mut rig: Rig<1> = Rig::with(Config::new().per_client(1));
        for _ in 0..3 {
            rig.waits(client(2), &map(TCP, 4000, 4001, 120));
            let asked = rig.nat();
            let refused = rig.refused(TCP, 4000, refusal);
            assert_eq!(rig.outcome(&asked, Err(failure)), Some((client(2), refused)));
            rig.no_trace_is_left();
        }
        assert_eq!(rig.opens(client(3), &map(UDP, 5000, 4001, 120)), 4001, "port, table and limit are free again");
    }
}

#[test]
fn a_failed_installation_that_was_deleted_meanwhile_is_answered_as_deleted() {
    let mut rig = Rig::new();
    rig.waits(client(2), &map(UDP, 4000, 4000, 120));
    let asked = rig.nat();
    rig.waits(client(2), &Request::delete(UDP, 4000));
    let deleted = rig.deleted(UDP, 4000);
    assert_eq!(rig.outcome(&asked, Err(NatFailure::Network)), Some((client(2), deleted)));
    rig.no_trace_is_left();
}

/// A removal that fails is told, and tried again.
#[test]
fn what_the_nat_cannot_remove_stays_is_told_as_result_3_and_tried_again() {
    let mut rig = Rig::new();
    rig.opens(client(2), &map(UDP, 4000, 4000, 120));
    rig.waits(client(2), &Request::delete(UDP, 4000));
    let removal = rig.nat();
    let refused = rig.refused(UDP, 4000, Refusal::NetworkFailure);
    assert_eq!(rig.outcome(&removal, Err(NatFailure::Network)), Some((client(2), refused)));
    assert_eq!(rig.open_ports(), [4000]);
    rig.nat_is_left_alone();
    assert_eq!(rig.gateway.poll_timeout(), Some(Instant::from_secs(rig.now.as_micros() / 1_000_000 + 10)));
    for _ in 0..3 {
        rig.pass(9).nat_is_left_alone();
        rig.pass(1);
        assert_eq!(rig.nat(), removal);
        assert_eq!(rig.outcome(&removal, Err(NatFailure::Network)), None, "nobody waits any more");
    }
    rig.pass(10);
    assert_eq!(rig.nat(), removal);
    assert_eq!(rig.done(&removal), None);
    rig.no_trace_is_left();
}

#[test]
fn a_failed_removal_that_is_asked_for_again_is_tried_at_once() {
    let mut rig = Rig::new();
    rig.opens(client(2), &map(UDP, 4000, 4000, 120));
    rig.waits(client(2), &Request::delete(UDP, 4000));
    let removal = rig.nat();
    assert!(rig.outcome(&removal, Err(NatFailure::Network)).is_some());
    rig.waits(client(2), &Request::delete(UDP, 4000));
    let deleted = rig.deleted(UDP, 4000);
    assert_eq!(rig.settle(), [(client(2), deleted)]);
    rig.no_trace_is_left();
}

/// A mapping that could not be removed and is wanted again is brought up to date, whatever happened meanwhile.
#[test]
fn a_failed_removal_of_what_is_wanted_again_has_it_installed_as_it_is() {
    let mut rig = Rig::new();
    rig.opens(client(2), &map(UDP, 4000, 4000, 120));
    rig.waits(client(2), &Request::delete(UDP, 4000));
    let removal = rig.nat();
    rig.waits(client(2), &map(UDP, 4000, 4000, 600));
    assert_eq!(rig.outcome(&removal, Err(NatFailure::Network)), None);
    assert_eq!(rig.open_ports(), [4000], "the NAT has it all the time");
    let granted = rig.mapped(UDP, 4000, 4000, 600);
    assert_eq!(rig.settle(), [(client(2), granted)]);
    rig.pass(599).nat_is_left_alone();
    assert_eq!(rig.open_ports(), [4000]);
}

#[test]
fn a_mapping_asked_for_after_its_removal_failed_is_installed_again_and_stays() {
    let mut rig = Rig::new();
    rig.opens(client(2), &map(UDP, 4000, 4000, 120));
    rig.waits(client(2), &Request::delete(UDP, 4000));
    let removal = rig.nat();
    rig.gateway.set_external_address(rig.now, Some(OTHER_ADDRESS));
    assert!(rig.outcome(&removal, Err(NatFailure::Network)).is_some());
    rig.waits(client(2), &map(UDP, 4000, 4000, 600));
    let granted = rig.mapped(UDP, 4000, 4000, 600);
    let update = rig.nat();
    assert_eq!(update, NatRequest::Install(*removal.mapping()), "it was made for another address");
    assert_eq!(rig.done(&update), Some((client(2), granted)));
    rig.pass(20).nat_is_left_alone();
    rig.gateway.set_external_address(rig.now, Some(ADDRESS));
    assert!(rig.settle().is_empty());
    assert_eq!(rig.open_ports(), [4000], "its client holds a lease on it");
}

#[test]
fn an_outcome_that_nobody_asked_for_changes_nothing() {
    let mut rig = Rig::new();
    rig.opens(client(2), &map(UDP, 4000, 4000, 120));
    rig.waits(client(3), &map(UDP, 5000, 5000, 120));
    let pending = *rig.nat().mapping();
    let open = nat_mapping_of(client(2), UDP, 4000, 4000);
    let elsewhere = NatMapping { external_port: 4444, ..pending };
    let unknown = nat_mapping_of(client(9), UDP, 1, 1);
    for outcome in [Ok(()), Err(NatFailure::Network), Err(NatFailure::Resources)] {
        for mapping in [open, elsewhere, unknown] {
            assert_eq!(rig.outcome(&NatRequest::Install(mapping), outcome), None);
            assert_eq!(rig.outcome(&NatRequest::Remove(mapping), outcome), None);
        }
        assert_eq!(rig.outcome(&NatRequest::Remove(pending), outcome), None, "it was asked to install it");
    }
    assert_eq!(rig.open_ports(), [4000]);
    assert_eq!(rig.gateway.len(), 2);
    assert!(rig.done(&NatRequest::Install(pending)).is_some());
}

/// Before the NAT was asked, its word is not about this request.
#[test]
fn an_outcome_before_the_nat_was_asked_is_ignored() {
    let mut rig = Rig::new();
    rig.waits(client(2), &map(UDP, 4000, 4000, 120));
    let install = NatRequest::Install(nat_mapping_of(client(2), UDP, 4000, 4000));
    assert_eq!(rig.done(&install), None);
    assert_eq!(rig.nat(), install);
    assert!(rig.done(&install).is_some());
}

#[test]
fn outcomes_of_many_come_back_in_any_order() {
    let mut rig: Rig<32> = Rig::with(Config::new().per_client(32));
    for port in 0..20 {
        rig.waits(client(2), &map(UDP, 2000 + port, 0, 600));
    }
    let mut asked: Vec<_> = std::iter::from_fn(|| rig.gateway.poll_nat()).collect();
    assert_eq!(asked.len(), 20);
    asked.rotate_left(7);
    asked.reverse();
    for (number, request) in asked.iter().enumerate() {
        let outcome = if number % 3 == 0 { Err(NatFailure::Resources) } else { Ok(()) };
        let (_, answer) = rig.outcome(request, outcome).unwrap();
        assert_eq!(matches!(answer, Response::Map { .. }), outcome.is_ok());
    }
    assert_eq!(rig.gateway.mappings().count(), 13);
    assert_eq!(rig.gateway.len(), 13);
}
