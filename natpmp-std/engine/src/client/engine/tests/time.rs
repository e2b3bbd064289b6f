//! Time that the machine sleeps, and time that is bounded.

use super::*;

#[test]
fn what_fell_due_while_the_machine_slept_is_done_as_soon_as_it_wakes() {
    let (mut rig, kept) = Rig::keeping(ClientOptions::new());
    assert_eq!(rig.serve(), []);
    rig.sleep(Duration::from_secs(3_590));
    assert_eq!(rig.serve(), [], "it is not due yet");
    rig.sleep(Duration::from_secs(20));
    assert_eq!(rig.serve(), [(HOME, renewal())]);
    assert!(kept.state().mapping.is_some());
}

#[test]
fn a_lease_that_ended_in_the_sleep_is_told_as_lost_and_asked_for() {
    let (mut rig, kept) = Rig::keeping(ClientOptions::new());
    let mut events = Events::new(&rig);
    rig.sleep(Duration::from_secs(100_000));
    assert_eq!(rig.serve(), [(HOME, renewal())]);
    assert!(matches!(events.next(), Some(Event::Lost { cause: LossCause::Expired, .. })));
    assert!(matches!(events.next(), Some(Event::Mapped(_))));
    assert!(kept.state().mapping.is_some());
}

#[test]
fn a_socket_that_was_not_used_for_long_is_opened_anew_and_so_is_one_in_a_long_silence() {
    let (mut rig, _kept) = Rig::keeping(ClientOptions::new());
    let before = rig.around().sockets;
    rig.sleep(Duration::from_secs(3_601));
    rig.turn();
    assert_eq!(rig.around().sockets, before + 1);
    // Nobody answers: 250 ms, 500 ms, 1 s and 2 s later it is sent again.
    for wait in [250, 500, 1_000] {
        rig.sleep(Duration::from_millis(wait));
        rig.turn();
        assert_eq!(rig.around().sockets, before + 1);
    }
    rig.sleep(Duration::from_secs(2));
    rig.turn();
    assert_eq!(rig.around().sockets, before + 2);
}

#[test]
fn an_answer_after_a_silence_makes_the_goodbye_a_patient_one_again() {
    let (mut rig, kept) = Rig::keeping(ClientOptions::new());
    let other = rig.handle.keep(&MapRequest::new(Protocol::Tcp, 5_000), None).unwrap();
    rig.serve();
    // Nobody answers this one within its bound.
    drop(kept.stop());
    rig.engine.shared().with(|state, _| state.is_gateway_silent = true);
    let _answered = other.refresh();
    rig.serve();
    assert!(!rig.engine.shared().with(|state, _| state.is_gateway_silent));
}

#[test]
fn a_goodbye_goes_on_for_as_long_as_answers_come() {
    let mut rig = Rig::new(ClientOptions { goodbye: Duration::from_secs(2), ..ClientOptions::new() }, |_| {});
    let request = |port| MapRequest::new(Protocol::Udp, port);
    let kept: Vec<_> = (4_000..4_010).map(|port| rig.handle.keep(&request(port), None).unwrap()).collect();
    rig.serve();
    rig.forget();
    drop(kept);
    let Rig { around, mut engine, handle, .. } = rig;
    drop(handle);
    let mut answered = 0;
    // Each answer comes after 1 s, half of the bound: ten of them are five times as long as it.
    while answered < 10 {
        receive_all(&mut engine);
        assert!(matches!(engine.drain(), Wait::For(_)), "after {answered}");
        engine.shared().sleep(Duration::from_millis(900));
        let mut around = around.lock().unwrap();
        let (socket, _, request) = around.sent.last().copied().unwrap();
        around.arriving.push_back((socket, answer(engine.shared().now(), &request).encode().to_vec()));
        answered += 1;
    }
    receive_all(&mut engine);
    assert_eq!(engine.drain(), Wait::End);
}

/// The timer that wakes the adapter is of the clock that counts suspend, and set to the next renewal.
#[test]
#[cfg(target_os = "linux")]
fn the_kernel_wakes_it_on_boot_time() {
    let (mut rig, _kept) = Rig::keeping(ClientOptions::new());
    assert_eq!(rig.turn(), Wait::For(None), "the timer is all there is to wait for");
    let timer = rig.engine.timer.information().unwrap();
    assert!(timer.lines().any(|line| line == "clockid: 7"), "{timer}");
    let left = timer.lines().find_map(|line| line.strip_prefix("it_value: (")?.split(',').next()?.parse::<u64>().ok());
    assert!(left.is_some_and(|left| (3_500..=3_600).contains(&left)), "{timer}");
}
