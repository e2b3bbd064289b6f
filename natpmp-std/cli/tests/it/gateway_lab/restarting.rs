//! A gateway that is started again: with its state, without it, after a crash, and with a state that is damaged.

use std::path::Path;
use std::time::{Duration, Instant};

use natpmp_lab::{Protocol, echo, wait_until};

use super::SOON;
use super::peers::Peer;
use super::setup::{Nat, Setup};

with_each_nat!(
    without_its_state_the_epoch_begins_anew_and_what_is_kept_is_back_in_six_seconds,
    with_its_state_nobody_notices_that_it_was_away,
    after_a_crash_without_state_nothing_stays_open,
    after_a_crash_what_has_a_lease_stands_and_what_ended_meanwhile_does_not,
    what_was_granted_just_before_a_crash_is_back_in_six_seconds,
);

/// G06, G19.
fn without_its_state_the_epoch_begins_anew_and_what_is_kept_is_back_in_six_seconds(nat: Nat) {
    let Some(mut setup) = Setup::or_skip(nat, 1, &[]) else { return };
    let _echoes = [Protocol::Udp, Protocol::Tcp].map(|protocol| echo(setup.client(0), protocol, 4000));
    setup.grow_old();
    let (mut kept, _) = setup.keep(&["both", "4000", "--external", "5000"]);
    kept.event(SOON, "mapped");
    let open = |setup: &Setup| [Protocol::Udp, Protocol::Tcp].map(|protocol| setup.leads_to(0, protocol, 5000));
    assert_eq!(open(&setup), [true; 2]);

    setup.stop();
    assert_eq!(open(&setup), [false; 2]);
    setup.start(&[]);
    let restarted = Instant::now();
    assert!(setup.epoch() < 2, "it begins anew");
    kept.event(SOON, "gateway-restarted");
    for _ in [Protocol::Udp, Protocol::Tcp] {
        kept.event(SOON, "mapped");
    }
    // The probes that follow take their time.
    assert!(restarted.elapsed() < Duration::from_secs(6), "{:?}", restarted.elapsed());
    assert!(wait_until(SOON, || open(&setup) == [true; 2]), "on the ports they had");
}

/// G19.
fn with_its_state_nobody_notices_that_it_was_away(nat: Nat) {
    let Some(mut setup) = Setup::empty_or_skip(nat, 1, &["natpmpc"]) else { return };
    let state = setup.file("state").to_str().unwrap().to_owned();
    setup.start(&["--state", &state]);
    let _echoes = [echo(setup.client(0), Protocol::Udp, 4000), echo(setup.client(0), Protocol::Tcp, 4001)];
    setup.grow_old();
    Peer::Natpmpc.map(setup.client(0), Protocol::Tcp, 4001, 5001, 600).unwrap();
    let (mut kept, _) = setup.keep(&["udp", "4000", "--external", "5000", "--refresh-interval", "1"]);
    let before = setup.epoch();

    setup.stop();
    assert!(!setup.leads_to(0, Protocol::Udp, 5000), "nothing is open without a gateway");
    setup.start(&["--state", &state]);
    let open = || setup.leads_to(0, Protocol::Udp, 5000) && setup.leads_to(0, Protocol::Tcp, 5001);
    assert!(wait_until(SOON, open), "both stand, renewed or not");
    assert!(setup.epoch() >= before, "the epoch goes on");
    for _ in 0..2 {
        assert_eq!(kept.event(SOON, "renewed")["external_port"], 5000);
    }
    kept.interrupt();
    let finished = kept.finish(SOON);
    for event in ["gateway-restarted", "lost", "changed"] {
        assert_eq!(finished.events(event).count(), 0, "{event}\n{finished}");
    }
    assert_eq!(finished.events("mapped").count(), 1, "{finished}");
}

fn after_a_crash_without_state_nothing_stays_open(nat: Nat) {
    let Some(mut setup) = Peer::Natpmpc.setup_or_skip(nat, 1, &[]) else { return };
    let _echoes = [Protocol::Udp, Protocol::Tcp].map(|protocol| echo(setup.client(0), protocol, 4000));
    for protocol in [Protocol::Udp, Protocol::Tcp] {
        Peer::Natpmpc.map(setup.client(0), protocol, 4000, 5000, 600).unwrap();
        assert!(setup.leads_to(0, protocol, 5000));
    }
    setup.crash();
    setup.start(&[]);
    for protocol in [Protocol::Udp, Protocol::Tcp] {
        assert!(wait_until(SOON, || !setup.leads_to(0, protocol, 5000)), "{protocol:?}");
    }
}

/// G16, G19: the file was written when the mapping was made, not at an end that never came.
fn after_a_crash_what_has_a_lease_stands_and_what_ended_meanwhile_does_not(nat: Nat) {
    let Some(mut setup) = Setup::empty_or_skip(nat, 1, &["natpmpc"]) else { return };
    let state = setup.file("state").to_str().unwrap().to_owned();
    setup.start(&["--state", &state]);
    let _echoes = [echo(setup.client(0), Protocol::Tcp, 4000), echo(setup.client(0), Protocol::Udp, 4001)];
    Peer::Natpmpc.map(setup.client(0), Protocol::Tcp, 4000, 5000, 600).unwrap();
    Peer::Natpmpc.map(setup.client(0), Protocol::Udp, 4001, 5001, 2).unwrap();
    let mapped = Instant::now();
    let open = |setup: &Setup| (setup.leads_to(0, Protocol::Tcp, 5000), setup.leads_to(0, Protocol::Udp, 5001));
    assert_eq!(open(&setup), (true, true));
    let is_written =
        || std::fs::read_to_string(&state).is_ok_and(|text| text.contains(" 5000 ") && text.contains(" 5001 "));
    assert!(wait_until(SOON, is_written), "{:?}", std::fs::read_to_string(&state));
    setup.crash();
    assert!(wait_until(SOON, || mapped.elapsed() > Duration::from_secs(3)));
    let started = Instant::now();
    setup.start(&["--state", &state]);
    assert!(wait_until(SOON, || open(&setup) == (true, false)), "{:?}", open(&setup));
    // The probes took their time.
    assert!(u64::from(setup.epoch()) <= started.elapsed().as_secs(), "it begins anew");
}

/// G06, G19: it did not come to the file, and since the epoch begins anew its client learns of that at once. What did come stands before
/// anybody asks.
fn what_was_granted_just_before_a_crash_is_back_in_six_seconds(nat: Nat) {
    let Some(mut setup) = Setup::empty_or_skip(nat, 1, &["natpmpc"]) else { return };
    let path = setup.file("state");
    let state = path.to_str().unwrap().to_owned();
    setup.start(&["--state", &state]);
    let _echoes = [echo(setup.client(0), Protocol::Tcp, 4000), echo(setup.client(0), Protocol::Udp, 4001)];
    setup.grow_old();
    Peer::Natpmpc.map(setup.client(0), Protocol::Tcp, 4000, 5000, 600).unwrap();
    let text = || std::fs::read_to_string(&path).unwrap();
    assert!(wait_until(SOON, || text().contains(" 5000 ")), "{}", text());
    let before = text();
    let (mut kept, _) = setup.keep(&["udp", "4001", "--external", "5001"]);
    setup.crash();
    // However long it took to kill it: what is in the file when that comes before the save.
    std::fs::write(&path, before).unwrap();

    setup.start(&["--state", &state]);
    let restarted = Instant::now();
    assert!(setup.epoch() < 2, "it begins anew");
    kept.event(SOON, "gateway-restarted");
    assert_eq!(kept.event(SOON, "mapped")["external_port"], 5001);
    // The probes that follow take their time.
    assert!(restarted.elapsed() < Duration::from_secs(6), "{:?}", restarted.elapsed());
    let open = || setup.leads_to(0, Protocol::Udp, 5001) && setup.leads_to(0, Protocol::Tcp, 5000);
    assert!(wait_until(SOON, open), "both");
}

#[test]
fn a_damaged_state_is_refused_and_kept_aside_and_the_next_start_goes_on_without() {
    let Some(mut setup) = Setup::empty_or_skip(Nat::Relay, 1, &["natpmpc"]) else { return };
    let path = setup.file("state");
    let state = path.to_str().unwrap().to_owned();
    setup.start(&["--state", &state]);
    let _echo = echo(setup.client(0), Protocol::Udp, 4000);
    Peer::Natpmpc.map(setup.client(0), Protocol::Udp, 4000, 5000, 600).unwrap();
    setup.stop();
    let whole = std::fs::read_to_string(&path).unwrap();
    let damaged = whole.replace(" 5000 ", " 5001 ");
    assert_ne!(whole, damaged);
    std::fs::write(&path, &damaged).unwrap();

    let refused = setup.start_in_vain(&["--state", &state]);
    assert_eq!(refused.code, Some(1), "{refused}");
    let aside = format!("{state}.damaged");
    let complaint = refused.stderr.join("\n");
    assert!(complaint.contains("damaged") && complaint.contains(&aside), "{refused}");
    assert!(refused.event("failed")["error"].as_str().is_some_and(|error| error.contains("damaged")), "{refused}");
    assert_eq!(std::fs::read_to_string(Path::new(&aside)).unwrap(), damaged);

    setup.start(&["--state", &state]);
    assert!(setup.epoch() < 2, "it begins anew");
    assert!(!setup.leads_to(0, Protocol::Udp, 5000) && !setup.leads_to(0, Protocol::Udp, 5001));
    assert!(Peer::Natpmpc.map(setup.client(0), Protocol::Udp, 4000, 5000, 600).is_ok());
}
