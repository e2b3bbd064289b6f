//! What is told.

use super::*;

#[test]
fn the_life_of_a_mapping_is_told() {
    let mut rig = Rig::new();
    rig.at(Instant::from_secs(1_000));
    rig.waits(client(2), &map(UDP, 4000, 4000, 100));
    assert_eq!(rig.events(), [], "not before the NAT has it");
    assert_eq!(rig.settle().len(), 1);
    assert!(!rig.gateway.is_empty());
    let mapping = nat_mapping_of(client(2), UDP, 4000, 4000);
    let until = |seconds| Mapping { mapping, expires: Some(Instant::from_secs(seconds)) };
    assert_eq!(rig.events(), [Event::Opened(until(1_101))]);
    rig.pass(50);
    let _ = rig.answer(client(2), &map(UDP, 4000, 4000, 100));
    assert_eq!(rig.events(), [Event::Renewed(until(1_151))]);
    assert_eq!(rig.gateway.mappings().collect::<Vec<_>>(), [until(1_151)]);
    rig.pass(101);
    assert_eq!(rig.events(), [], "not before the NAT has removed it");
    assert!(rig.settle().is_empty());
    assert_eq!(rig.events(), [Event::Closed { mapping: until(1_151), cause: CloseCause::Removed }]);
}

#[test]
fn a_refusal_is_told_with_its_reason() {
    let mut rig = Rig::new();
    rig.gateway.allow_mapping(false);
    let _ = rig.answer(client(2), &map(TCP, 4000, 4000, 100));
    let refused =
        |internal_port, refusal| Event::Refused { client: *client(2).ip(), protocol: TCP, internal_port, refusal };
    assert_eq!(rig.events(), [refused(4000, Refusal::NotAuthorized)]);
    rig.gateway.allow_mapping(true);
    rig.waits(client(2), &map(TCP, 4001, 4000, 100));
    let asked = rig.nat();
    assert!(rig.outcome(&asked, Err(NatFailure::Resources)).is_some());
    let reported = rig.events();
    assert!(reported.contains(&refused(4001, Refusal::OutOfResources)), "{reported:?}");
}

#[test]
fn a_mapping_that_the_nat_lost_is_told_as_such() {
    let mut rig = Rig::new();
    rig.opens(client(2), &map(UDP, 4000, 4000, 100));
    rig.gateway.set_external_address(rig.now, Some(OTHER_ADDRESS));
    let update = rig.nat();
    let _ = rig.events();
    let _ = rig.outcome(&update, Err(NatFailure::Network));
    assert!(matches!(rig.events()[..], [Event::Closed { cause: CloseCause::NatFailed, .. }]));
}

#[test]
fn events_that_nobody_polls_are_missed_from_the_oldest_on_and_that_is_told() {
    let mut rig: Rig<64> = Rig::with(Config::new().per_client(64));
    let ports = |rig: &mut Rig<64>| -> Vec<Option<u16>> {
        let port = |event| match event {
            Event::Opened(open) => Some(open.mapping.external_port),
            Event::Missed => None,
            other => panic!("{other:?}"),
        };
        rig.events().into_iter().map(port).collect()
    };
    for port in 4000..4008 {
        rig.opens(client(2), &map(UDP, port, port, 100));
    }
    assert_eq!(ports(&mut rig), (4000..4008).map(Some).collect::<Vec<_>>(), "eight wait");
    for port in 5000..5009 {
        rig.opens(client(2), &map(UDP, port, port, 100));
    }
    let kept: Vec<_> = [None].into_iter().chain((5002..5009).map(Some)).collect();
    assert_eq!(ports(&mut rig), kept);
    for port in 6000..6030 {
        rig.opens(client(2), &map(UDP, port, port, 100));
    }
    let kept: Vec<_> = [None].into_iter().chain((6023..6030).map(Some)).collect();
    assert_eq!(ports(&mut rig), kept, "told once, however many were missed");
    assert_eq!(rig.events(), []);
}

#[test]
fn failures_of_the_nat_have_a_text() {
    use std::string::ToString;
    assert!(NatFailure::Network.to_string().contains("does not work"));
    assert!(NatFailure::Resources.to_string().contains("no room"));
    assert!(TooManyRanges.to_string().contains('8'));
}
