//! A program that has nothing to do.

use std::time::Duration;

use natpmp_lab::{Lab, wait_until};

use super::{Programs, SOON};

/// A timer on boot time wakes it, so that a laptop that slept renews at once what is overdue.
#[test]
fn the_next_question_is_a_timer_on_boot_time_and_nothing_wakes_the_program_before() {
    let Some(lab) = Lab::or_skip() else { return };
    let _gateway = lab.miniupnpd().start();
    let programs = Programs::open(&lab);
    for (program, _) in &programs.0 {
        // The external address is asked for after 300 s, and the lease is renewed after an hour.
        let is_set = || program.next_boot_time_alarm().is_some_and(|left| (280..=300).contains(&left));
        assert!(wait_until(SOON, is_set), "{:?}", program.next_boot_time_alarm());
        assert_eq!(program.wake_ups_in(Duration::from_secs(2)), 0, "nothing was to be done");
    }
    programs.end_after(&["is open at 11.22.33.44:PORT"]);
}
