//! Deletions of one mapping (section 3.4).

use super::*;

/// G13
#[test]
fn a_deletion_is_answered_when_the_nat_has_done_it() {
    let mut rig = Rig::new();
    rig.opens(client(2), &map(TCP, 4000, 4001, 120));
    rig.waits(client(2), &Request::delete(TCP, 4000));
    let removal = rig.nat();
    assert_eq!(removal, NatRequest::Remove(nat_mapping_of(client(2), TCP, 4000, 4001)));
    let deleted = rig.deleted(TCP, 4000);
    assert_eq!(rig.done(&removal), Some((client(2), deleted)));
    rig.no_trace_is_left();
}

/// G13
#[test]
fn a_deletion_of_what_does_not_exist_succeeds_at_once() {
    let mut rig = Rig::new();
    rig.opens(client(2), &map(TCP, 4000, 4000, 120));
    for (from, protocol, port) in [(client(2), UDP, 4000), (client(2), TCP, 4001), (client(3), TCP, 4000)] {
        let deleted = rig.deleted(protocol, port);
        assert_eq!(rig.answer(from, &Request::delete(protocol, port)), deleted);
    }
    rig.nat_is_left_alone();
    assert_eq!(rig.open_ports(), [4000]);
}

/// G13: the suggested port of a deletion is ignored (section 3.4).
#[test]
fn a_deletion_with_an_external_port_is_a_deletion_all_the_same() {
    let mut rig = Rig::new();
    rig.opens(client(2), &map(UDP, 4000, 4000, 120));
    rig.waits(client(2), &map(UDP, 4000, 9999, 0));
    let deleted = rig.deleted(UDP, 4000);
    assert_eq!(rig.settle(), [(client(2), deleted)]);
}

/// G13
#[test]
fn a_repeated_deletion_is_not_passed_on_twice_and_gets_the_same_answer() {
    let mut rig = Rig::new();
    rig.opens(client(2), &map(UDP, 4000, 4000, 120));
    rig.waits(client(2), &Request::delete(UDP, 4000));
    let removal = rig.nat();
    rig.waits(client(2), &Request::delete(UDP, 4000));
    rig.waits(neighbour(client(2)), &Request::delete(UDP, 4000));
    rig.nat_is_left_alone();
    let deleted = rig.deleted(UDP, 4000);
    assert_eq!(rig.done(&removal), Some((neighbour(client(2)), deleted)));
    assert_eq!(rig.answer(client(2), &Request::delete(UDP, 4000)), deleted);
}

#[test]
fn a_mapping_deleted_while_it_is_installed_is_removed_as_soon_as_it_is_there() {
    let mut rig = Rig::new();
    rig.waits(client(2), &map(UDP, 4000, 4000, 120));
    let installation = rig.nat();
    rig.waits(client(2), &Request::delete(UDP, 4000));
    rig.nat_is_left_alone();
    assert_eq!(rig.done(&installation), None, "it was never granted");
    assert_eq!(rig.gateway.mappings().count(), 0);
    let removal = rig.nat();
    assert_eq!(removal, NatRequest::Remove(*installation.mapping()));
    let deleted = rig.deleted(UDP, 4000);
    assert_eq!(rig.done(&removal), Some((client(2), deleted)));
    rig.no_trace_is_left();
}

#[test]
fn a_mapping_deleted_and_wanted_again_while_it_is_installed_is_granted() {
    let mut rig = Rig::new();
    rig.waits(client(2), &map(UDP, 4000, 4000, 120));
    let installation = rig.nat();
    rig.waits(client(2), &Request::delete(UDP, 4000));
    rig.waits(client(2), &map(UDP, 4000, 4000, 60));
    let granted = rig.mapped(UDP, 4000, 4000, 60);
    assert_eq!(rig.done(&installation), Some((client(2), granted)));
    rig.nat_is_left_alone();
}

#[test]
fn a_mapping_deleted_again_after_it_was_wanted_again_goes() {
    let mut rig = Rig::new();
    rig.opens(client(2), &map(UDP, 4000, 4000, 120));
    rig.waits(client(2), &Request::delete(UDP, 4000));
    let removal = rig.nat();
    rig.waits(client(2), &map(UDP, 4000, 4000, 60));
    rig.waits(client(2), &Request::delete(UDP, 4000));
    let deleted = rig.deleted(UDP, 4000);
    assert_eq!(rig.done(&removal), Some((client(2), deleted)));
    rig.no_trace_is_left();
}

/// G18: deletions need no external address.
#[test]
fn a_mapping_can_be_deleted_without_an_external_address() {
    let mut rig = Rig::new();
    rig.opens(client(2), &map(UDP, 4000, 4000, 120));
    rig.gateway.set_external_address(rig.now, None);
    rig.waits(client(2), &Request::delete(UDP, 4000));
    let deleted = rig.deleted(UDP, 4000);
    assert_eq!(rig.settle(), [(client(2), deleted)]);
}

/// G21: what the NAT is asked is to drop the connections too; the gateway asks for it at every end.
#[test]
fn every_end_of_a_mapping_is_a_removal_by_the_nat() {
    let mut rig = Rig::new();
    let ends: [fn(&mut Rig); 5] = [
        |rig| rig.waits(client(2), &Request::delete(TCP, 4000)),
        |rig| rig.waits(client(2), &Request::delete(TCP, 0)),
        |rig| assert!(rig.gateway.remove(TCP, internal(client(2), 4000))),
        |rig| rig.gateway.clear(rig.now),
        |rig| {
            rig.pass(121);
        },
    ];
    for end in ends {
        rig.opens(client(2), &map(TCP, 4000, 4000, 120));
        end(&mut rig);
        let removal = rig.nat();
        assert_eq!(removal, NatRequest::Remove(nat_mapping_of(client(2), TCP, 4000, 4000)));
        let _ = rig.done(&removal);
        rig.no_trace_is_left();
    }
    assert!(!rig.gateway.remove(TCP, internal(client(2), 4000)), "there is none");
}
