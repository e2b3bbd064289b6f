//! A `natpmp keep` that has nothing to do.

use std::time::Duration;

use natpmp_lab::{Lab, wait_until};

use super::{Keep, OPENED, SOON};

/// A timer on boot time wakes it, so that a laptop that slept renews at once what is overdue.
#[test]
fn the_next_renewal_is_a_timer_on_boot_time_and_nothing_wakes_it_before() {
    let Some(lab) = Lab::or_skip() else { return };
    let _gateway = lab.miniupnpd().start();
    let kept = Keep::open(&lab, "udp 4000 --lifetime 200");
    // At half of the lease; the external address is asked for after 300 s.
    let is_set = || kept.program.next_boot_time_alarm().is_some_and(|left| (80..=100).contains(&left));
    assert!(wait_until(SOON, is_set), "{:?}", kept.program.next_boot_time_alarm());
    assert_eq!(kept.program.wake_ups_in(Duration::from_secs(3)), 0, "nothing was to be done");
    kept.end().is(&[&OPENED]);
}
