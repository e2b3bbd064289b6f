//! Deletions of all mappings of a client and protocol (section 3.4).

use super::*;

const ALL_UDP: Request = Request::delete(UDP, 0);
const ALL_TCP: Request = Request::delete(TCP, 0);

fn with_ports(ports: core::ops::Range<u16>) -> Rig<64> {
    let mut rig: Rig<64> = Rig::with(Config::new().per_client(64));
    for port in ports {
        rig.opens(client(2), &map(UDP, port, port, 600));
    }
    rig
}

/// G14
#[test]
fn all_of_none_are_deleted_at_once() {
    let mut rig = Rig::new();
    let deleted = rig.deleted(UDP, 0);
    assert_eq!(rig.answer(client(2), &ALL_UDP), deleted);
}

/// G14
#[test]
fn all_of_one_or_many_are_deleted_with_one_answer_after_the_last() {
    for count in [1, 2, 9, 40] {
        let mut rig = with_ports(4000..4000 + count);
        rig.waits(client(2), &ALL_UDP);
        let mut removals: Vec<_> = std::iter::from_fn(|| rig.gateway.poll_nat()).collect();
        assert_eq!(removals.len(), usize::from(count));
        let last = removals.swap_remove(0);
        for removal in removals {
            assert_eq!(rig.done(&removal), None);
        }
        let deleted = rig.deleted(UDP, 0);
        assert_eq!(rig.done(&last), Some((client(2), deleted)));
        rig.no_trace_is_left();
    }
}

/// G14: of that client and of that protocol.
#[test]
fn only_that_clients_mappings_of_that_protocol_go() {
    let mut rig = with_ports(4000..4003);
    rig.opens(client(2), &map(TCP, 4000, 4000, 600));
    rig.opens(client(3), &map(UDP, 4000, 5000, 600));
    rig.opens(client(3), &map(TCP, 4000, 5000, 600));
    rig.waits(client(2), &ALL_UDP);
    assert_eq!(rig.settle().len(), 1);
    assert_eq!(rig.open_ports(), [4000, 5000, 5000]);
    rig.waits(client(3), &ALL_TCP);
    let deleted = rig.deleted(TCP, 0);
    assert_eq!(rig.settle(), [(client(3), deleted)]);
    assert_eq!(rig.open_ports(), [4000, 5000]);
}

/// G15
#[test]
fn a_static_one_stays_and_the_others_go_and_the_result_is_2() {
    let mut rig = with_ports(4000..4003);
    assert!(rig.gateway.add_static(&nat_mapping_of(client(2), UDP, 80, 80)));
    assert!(rig.settle().is_empty());
    rig.waits(client(2), &ALL_UDP);
    let refused = rig.refused(UDP, 0, Refusal::NotAuthorized);
    assert_eq!(rig.settle(), [(client(2), refused)]);
    assert_eq!(rig.open_ports(), [80]);
    assert_eq!(rig.answer(client(2), &ALL_UDP), refused, "and when there is nothing else");
    let deleted = rig.deleted(TCP, 0);
    assert_eq!(rig.answer(client(2), &ALL_TCP), deleted, "the other protocol has no static one");
}

/// G14: as a lost answer has it repeated.
#[test]
fn a_repeated_deletion_of_all_is_not_passed_on_twice_and_answered_to_the_last_asker() {
    let mut rig = with_ports(4000..4003);
    rig.waits(client(2), &ALL_UDP);
    let removals = [rig.nat(), rig.nat(), rig.nat()];
    assert_eq!(rig.done(&removals[1]), None);
    rig.waits(neighbour(client(2)), &ALL_UDP);
    rig.nat_is_left_alone();
    assert_eq!(rig.done(&removals[0]), None);
    let deleted = rig.deleted(UDP, 0);
    assert_eq!(rig.done(&removals[2]), Some((neighbour(client(2)), deleted)));
    assert_eq!(rig.answer(client(2), &ALL_UDP), deleted);
}

#[test]
fn a_mapping_made_during_a_deletion_of_all_stays() {
    let mut rig = with_ports(4000..4002);
    rig.waits(client(2), &ALL_UDP);
    let removals = [rig.nat(), rig.nat()];
    rig.waits(client(2), &map(UDP, 4002, 4002, 600));
    let installation = rig.nat();
    assert_eq!(rig.done(&removals[0]), None);
    assert!(rig.done(&installation).is_some());
    let deleted = rig.deleted(UDP, 0);
    assert_eq!(rig.done(&removals[1]), Some((client(2), deleted)));
    assert_eq!(rig.open_ports(), [4002]);
}

/// Wanted again on its way out: it has had its part in the deletion.
#[test]
fn a_mapping_wanted_again_during_a_deletion_of_all_does_not_hold_up_the_answer() {
    let mut rig = with_ports(4000..4002);
    rig.waits(client(2), &ALL_UDP);
    let removals = [rig.nat(), rig.nat()];
    let (again, other) = (removals[0], removals[1]);
    let port = again.mapping().internal.port();
    rig.waits(client(2), &map(UDP, port, port, 600));
    let deleted = rig.deleted(UDP, 0);
    assert_eq!(rig.done(&other), Some((client(2), deleted)));
    assert_eq!(rig.done(&again), None);
    let granted = rig.mapped(UDP, port, port, 600);
    assert_eq!(rig.settle(), [(client(2), granted)]);
    assert_eq!(rig.open_ports(), [port]);
}

#[test]
fn mappings_on_their_way_in_are_deleted_with_all() {
    let mut rig = with_ports(4000..4001);
    rig.waits(client(2), &map(UDP, 4001, 4001, 600));
    let installation = rig.nat();
    rig.waits(client(2), &map(UDP, 4002, 4002, 600));
    rig.waits(client(2), &ALL_UDP);
    assert_eq!(rig.done(&installation), None);
    let deleted = rig.deleted(UDP, 0);
    assert_eq!(rig.settle(), [(client(2), deleted)]);
    rig.no_trace_is_left();
}

#[test]
fn a_deletion_of_one_joins_a_deletion_of_all_under_way() {
    let mut rig = with_ports(4000..4002);
    rig.waits(client(2), &ALL_UDP);
    rig.waits(client(2), &Request::delete(UDP, 4000));
    let deleted = rig.deleted(UDP, 0);
    assert_eq!(rig.settle(), [(client(2), deleted)]);
    let deleted = rig.deleted(UDP, 4000);
    assert_eq!(rig.answer(client(2), &Request::delete(UDP, 4000)), deleted);
}

#[test]
fn a_deletion_of_all_after_one_of_one_answers_for_it_too() {
    let mut rig = with_ports(4000..4002);
    rig.waits(client(2), &Request::delete(UDP, 4000));
    rig.waits(client(2), &ALL_UDP);
    let deleted = rig.deleted(UDP, 0);
    assert_eq!(rig.settle(), [(client(2), deleted)]);
    rig.no_trace_is_left();
}

/// No answer says success while something is still open.
#[test]
fn a_removal_that_fails_makes_the_result_3_whichever_it_is() {
    for failing in 0..3 {
        let mut rig = with_ports(4000..4003);
        rig.waits(client(2), &ALL_UDP);
        let removals: Vec<_> = std::iter::from_fn(|| rig.gateway.poll_nat()).collect();
        let mut answers = Vec::new();
        for (number, removal) in removals.iter().enumerate() {
            let outcome = if number == failing { Err(NatFailure::Network) } else { Ok(()) };
            answers.extend(rig.outcome(removal, outcome));
        }
        let refused = rig.refused(UDP, 0, Refusal::NetworkFailure);
        assert_eq!(answers, [(client(2), refused)], "number {failing} of 3 failed");
        assert_eq!(rig.gateway.len(), 1);
        rig.waits(client(2), &ALL_UDP);
        let deleted = rig.deleted(UDP, 0);
        assert_eq!(rig.settle(), [(client(2), deleted)], "the next one has it removed");
    }
}

#[test]
fn eight_deletions_of_all_wait_at_a_time_and_the_ninth_client_asks_again() {
    let mut rig = Rig::new();
    for number in 1..=9 {
        rig.opens(client(number), &map(UDP, 4000, 0, 600));
    }
    for number in 1..=8 {
        rig.waits(client(number), &ALL_UDP);
    }
    let bytes = ALL_UDP.encode();
    assert_eq!(rig.ask(client(9), &bytes), Err(Discard::Busy));
    rig.waits(client(8), &ALL_UDP);
    assert_eq!(rig.settle().len(), 8);
    assert_eq!(rig.gateway.len(), 1);
    rig.waits(client(9), &ALL_UDP);
    assert_eq!(rig.settle().len(), 1);
    rig.no_trace_is_left();
}

#[test]
fn both_protocols_can_be_deleted_at_once() {
    let mut rig = with_ports(4000..4002);
    rig.opens(client(2), &map(TCP, 4000, 4000, 600));
    rig.waits(client(2), &ALL_UDP);
    rig.waits(client(2), &ALL_TCP);
    let (udp, tcp) = (rig.deleted(UDP, 0), rig.deleted(TCP, 0));
    assert_eq!(rig.settle(), [(client(2), udp), (client(2), tcp)]);
}

/// G14: internal port 0 with an external port may not have meant *all*.
#[test]
fn internal_port_0_with_an_external_port_deletes_nothing() {
    let mut rig = with_ports(4000..4002);
    let refused = rig.refused(UDP, 0, Refusal::NotAuthorized);
    assert_eq!(rig.answer(client(2), &map(UDP, 0, 4000, 0)), refused);
    rig.nat_is_left_alone();
    assert_eq!(rig.open_ports(), [4000, 4001]);
}
