//! Systems that report no changes of their routes.

use super::*;

#[test]
fn where_the_system_reports_no_changes_a_gateway_is_looked_for_while_there_is_none() {
    let none = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 5351);
    let mut rig = Rig::new(ClientOptions::new(), |around| around.path = None);
    rig.handle.set_gateway(none);
    rig.turn();
    rig.engine.network =
        Network::new(Box::new(NoRouteEvents(Arc::clone(&rig.around))), none, GatewayOrigin::Discovered);
    rig.around().discovered = None;
    rig.turn();
    (rig.around().discovered, rig.around().path) = (Some(HOME), Some(path(2, [127, 0, 0, 2])));
    rig.turn();
    rig.sleep(Duration::from_secs(30));
    rig.turn();
    assert_eq!(*rig.handle.gateway().ip(), HOME, "nobody has asked for anything");
}

#[test]
fn where_the_system_reports_no_changes_a_call_that_fails_hastens_the_look() {
    let none = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 5351);
    let mut rig = Rig::new(ClientOptions::new(), |around| around.path = None);
    rig.handle.set_gateway(none);
    rig.turn();
    rig.engine.network =
        Network::new(Box::new(NoRouteEvents(Arc::clone(&rig.around))), none, GatewayOrigin::Discovered);
    rig.around().discovered = None;
    rig.turn();
    rig.turn();
    (rig.around().discovered, rig.around().path) = (Some(HOME), Some(path(2, [127, 0, 0, 2])));
    rig.sleep(Duration::from_secs(1));
    let _address = rig.handle.external_address();
    rig.turn();
    rig.turn();
    rig.sleep(Duration::from_millis(200));
    rig.turn();
    assert_eq!(*rig.handle.gateway().ip(), HOME);
}

#[test]
fn where_the_system_reports_no_changes_a_failure_is_the_reason_to_look() {
    let (mut rig, _kept) = Rig::keeping(ClientOptions::new());
    rig.engine.network =
        Network::new(Box::new(NoRouteEvents(Arc::clone(&rig.around))), rig.handle.gateway(), GatewayOrigin::Discovered);
    // The first look.
    rig.turn();
    rig.around().discovered = Some(AWAY);
    rig.sleep(Duration::from_secs(60));
    assert_eq!(rig.serve(), [], "there was no reason yet");
    rig.sleep(Duration::from_secs(3_600));
    rig.turn();
    assert_eq!(rig.sent(), [(HOME, renewal())]);
    // Nobody answers.
    rig.sleep(Duration::from_secs(3_600));
    rig.turn();
    rig.turn();
    rig.sleep(Duration::from_millis(200));
    rig.forget();
    assert_eq!(rig.serve(), [(AWAY, renewal())]);
}

#[test]
fn where_the_system_reports_no_changes_a_mapping_that_cannot_be_made_is_a_reason_to_look() {
    let mut rig = Rig::new(ClientOptions::new(), |_| {});
    rig.engine.network =
        Network::new(Box::new(NoRouteEvents(Arc::clone(&rig.around))), rig.handle.gateway(), GatewayOrigin::Discovered);
    rig.turn();
    rig.around().discovered = Some(AWAY);
    let _map = rig.handle.map(&MapRequest::new(Protocol::Udp, 4_000));
    rig.turn();
    // Nobody answers, to the end of the schedule.
    for _ in 0..130 {
        rig.sleep(Duration::from_secs(1));
        rig.turn();
    }
    rig.sleep(Duration::from_secs(1));
    rig.turn();
    assert_eq!(*rig.handle.gateway().ip(), AWAY);
}
