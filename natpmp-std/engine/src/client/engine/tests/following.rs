//! What a client does when the routes change.

use super::*;

#[test]
fn a_client_whose_way_out_changes_renews_what_it_keeps_once_it_has_settled() {
    let (mut rig, _kept) = Rig::keeping(ClientOptions::new());
    rig.around().path = Some(path(3, [127, 0, 0, 2]));
    rig.around().has_changed = true;
    let before = rig.around().sockets;
    assert_eq!(rig.serve(), [], "addresses, routes and rules come one after the other");
    rig.sleep(Duration::from_millis(200));
    assert_eq!(rig.serve(), [(HOME, renewal())]);
    assert_eq!(rig.around().sockets, before + 1);
    rig.forget();
    rig.change(|_| {});
    assert_eq!(rig.serve(), [], "reports that change nothing cost nothing");
}

#[test]
fn a_way_out_that_is_gone_is_waited_for_and_used_as_soon_as_it_is_back() {
    let (mut rig, _kept) = Rig::keeping(ClientOptions::new());
    rig.change(|around| around.path = None);
    assert_eq!(rig.serve(), []);
    rig.change(|around| around.path = Some(path(2, [127, 0, 0, 2])));
    assert_eq!(rig.serve(), [(HOME, renewal())]);
}

#[test]
fn a_route_that_flaps_causes_one_round_of_requests_in_two_seconds() {
    let (mut rig, _kept) = Rig::keeping(ClientOptions::new());
    for index in 0..20 {
        rig.change(|around| around.path = Some(path(index + 10, [127, 0, 0, 2])));
        rig.serve();
    }
    // 20 changes in 10 s.
    assert_eq!(rig.sent().len(), 5, "{:?}", rig.sent());
    rig.sleep(Duration::from_secs(2));
    rig.serve();
    assert_eq!(rig.sent().len(), 6, "the last change is not forgotten");
}

/// Neither the gateway's change nor the loss of the one mapping is the moment to report what the other's address is.
#[test]
fn callbacks_are_told_of_each_loss_and_each_return_and_of_nothing_between() {
    let mut rig = Rig::new(ClientOptions::new(), |_| {});
    let calls = Arc::new(Mutex::new(Vec::new()));
    let kept = [4_000, 4_001].map(|port| {
        let calls = Arc::clone(&calls);
        let callback = move |change: &crate::client::Change| calls.lock().unwrap().push(*change);
        rig.handle.keep(&MapRequest::new(Protocol::Udp, port), Some(Box::new(callback))).unwrap()
    });
    rig.serve();
    rig.handle.watch_external_address(true);
    rig.serve();
    rig.callbacks.run_waiting();
    calls.lock().unwrap().clear();
    rig.change(|around| {
        around.discovered = Some(AWAY);
        around.path = Some(path(3, [127, 0, 0, 3]));
    });
    rig.serve();
    rig.callbacks.run_waiting();
    let is_open: Vec<_> = calls.lock().unwrap().iter().map(|change| change.mapping.is_some()).collect();
    assert_eq!(is_open, [false, false, true, true]);
    drop(kept);
}

#[test]
fn no_gateway_any_more_leaves_the_one_there_was() {
    let (mut rig, _kept) = Rig::keeping(ClientOptions::new());
    rig.change(|around| (around.discovered, around.path) = (None, None));
    rig.serve();
    assert_eq!(*rig.handle.gateway().ip(), HOME);
    rig.change(|around| (around.discovered, around.path) = (Some(HOME), Some(path(2, [127, 0, 0, 2]))));
    assert_eq!(rig.serve(), [(HOME, renewal())]);
}

#[test]
fn a_gateway_that_was_set_by_hand_stays() {
    let (mut rig, _kept) = Rig::keeping(ClientOptions::new());
    rig.handle.set_gateway(SocketAddrV4::new(THIRD, 5351));
    rig.serve();
    rig.forget();
    rig.change(|around| around.discovered = Some(AWAY));
    assert_eq!(rig.serve(), []);
    assert_eq!(*rig.handle.gateway().ip(), THIRD);
}

/// C22
#[test]
fn what_an_earlier_holder_of_the_address_left_is_deleted_only_if_that_was_asked_for() {
    for does_clear in [false, true] {
        let (mut rig, _kept) =
            Rig::keeping(ClientOptions { clears_on_new_address: does_clear, ..ClientOptions::new() });
        rig.change(|around| around.path = Some(path(2, [127, 0, 0, 9])));
        let sent = rig.serve();
        let deletions = [Protocol::Udp, Protocol::Tcp].map(|protocol| (HOME, Request::delete(protocol, 0)));
        assert_eq!(deletions.iter().all(|deletion| sent.contains(deletion)), does_clear, "{sent:?}");
        assert_eq!(sent.last(), Some(&(HOME, renewal())), "what is kept is made after that: {sent:?}");
        rig.forget();
        rig.sleep(Duration::from_secs(2));
        rig.change(|around| around.path = Some(path(7, [127, 0, 0, 9])));
        assert_eq!(rig.serve(), [(HOME, renewal())], "it is the same address");
    }
}

/// C22: it is the same address as before, with the same gateway.
#[test]
fn a_vpn_that_comes_and_goes_makes_no_address_at_home_a_new_one() {
    let (mut rig, _kept) = Rig::keeping(ClientOptions { clears_on_new_address: true, ..ClientOptions::new() });
    rig.change(|around| (around.discovered, around.path) = (Some(AWAY), Some(path(3, [10, 2, 0, 2]))));
    rig.serve();
    rig.sleep(Duration::from_secs(2));
    rig.forget();
    rig.change(|around| (around.discovered, around.path) = (Some(HOME), Some(path(2, [127, 0, 0, 2]))));
    assert_eq!(rig.serve(), [(HOME, renewal())]);
}

#[test]
fn a_caller_who_knows_that_the_network_changed_is_taken_at_his_word_at_once() {
    let (mut rig, _kept) = Rig::keeping(ClientOptions::new());
    (rig.around().discovered, rig.around().path) = (Some(AWAY), Some(path(3, [127, 0, 0, 3])));
    rig.handle.network_changed();
    assert_eq!(rig.serve(), [(AWAY, renewal())]);
}

#[test]
fn a_client_without_a_gateway_sends_nothing_until_there_is_one() {
    let mut rig = Rig::new(ClientOptions::new(), |around| around.path = None);
    rig.handle.set_gateway(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 5351));
    rig.turn();
    rig.engine.network.origin = GatewayOrigin::Discovered;
    let kept = rig.handle.keep(&MapRequest::new(Protocol::Udp, 4_000), None).unwrap();
    for _ in 0..10 {
        assert_eq!(rig.serve(), []);
        rig.sleep(Duration::from_secs(30));
    }
    rig.change(|around| (around.discovered, around.path) = (Some(HOME), Some(path(2, [127, 0, 0, 2]))));
    rig.serve();
    assert!(kept.state().mapping.is_some());
}

/// C22: an earlier holder of the first address is nobody that this host knows of.
#[test]
fn the_first_address_that_a_client_has_is_no_new_one() {
    let none = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 5351);
    let mut rig = Rig::new(ClientOptions { clears_on_new_address: true, ..ClientOptions::new() }, |_| {});
    rig.handle.set_gateway(none);
    rig.turn();
    // To 0.0.0.0 there is always a way, by the loopback interface.
    rig.around().path = Some(path(1, [127, 0, 0, 1]));
    rig.around().discovered = None;
    rig.engine.network = Network::new(Box::new(Fake(Arc::clone(&rig.around))), none, GatewayOrigin::Discovered);
    let _kept = rig.handle.keep(&MapRequest::new(Protocol::Udp, 4_000), None).unwrap();
    rig.serve();
    // An interface that has no address yet.
    rig.change(|around| (around.discovered, around.path) = (Some(HOME), Some(path(2, [0, 0, 0, 0]))));
    rig.serve();
    rig.sleep(Duration::from_secs(2));
    rig.change(|around| around.path = Some(path(2, [127, 0, 0, 2])));
    let sent = rig.serve();
    assert!(sent.contains(&(HOME, renewal())), "{sent:?}");
    assert!(sent.iter().all(|(_, request)| !matches!(request, Request::Map { lifetime: 0, .. })), "{sent:?}");
}

#[test]
fn what_changed_before_the_first_report_is_seen_at_the_start() {
    let mut rig = Rig::new(ClientOptions::new(), |around| around.discovered = Some(AWAY));
    let _kept = rig.handle.keep(&MapRequest::new(Protocol::Udp, 4_000), None).unwrap();
    assert_eq!(rig.serve(), [(AWAY, renewal())]);
}

#[test]
fn reports_that_change_nothing_are_looked_at_twice_a_second_and_no_more() {
    let (mut rig, _kept) = Rig::keeping(ClientOptions::new());
    rig.around().looks = 0;
    for _ in 0..100 {
        rig.around().has_changed = true;
        rig.turn();
        rig.sleep(Duration::from_millis(100));
    }
    let looks = rig.around().looks;
    assert!((18..=20).contains(&looks), "{looks} in 10 s");
}

/// C22: the way to the gateway that was set is no change of the way to the one before.
#[test]
fn a_gateway_that_was_set_by_hand_has_its_own_way() {
    let (mut rig, _kept) = Rig::keeping(ClientOptions { clears_on_new_address: true, ..ClientOptions::new() });
    rig.around().path = Some(path(3, [10, 2, 0, 2]));
    rig.handle.set_gateway(SocketAddrV4::new(THIRD, 5351));
    rig.serve();
    rig.forget();
    rig.change(|_| {});
    assert_eq!(rig.serve(), []);
}

#[test]
fn the_external_address_is_asked_for_only_while_somebody_is_to_hear_of_it() {
    let mut rig = Rig::new(ClientOptions::new(), |_| {});
    let kept = rig.handle.keep(&MapRequest::new(Protocol::Udp, 4_000), Some(Box::new(|_| {}))).unwrap();
    let asked = |rig: &mut Rig| rig.serve().iter().filter(|(_, request)| *request == Request::ExternalAddress).count();
    assert_eq!(asked(&mut rig), 1);
    drop(kept);
    rig.serve();
    rig.forget();
    rig.sleep(Duration::from_secs(3_000));
    assert_eq!(asked(&mut rig), 0);
}
