//! The core alone runs every scenario of the testkit, in virtual time.

use std::panic::{AssertUnwindSafe, catch_unwind};

use natpmp_testkit::world::{VirtualWorld, scenarios};

/// C02, C03, C04, C05, C06, C07, C08, C10, C11, C12, C13, C14, C15, C16, C17, C18, C19, C20, C23, C24, C25, C26
#[test]
fn every_scenario_holds_in_virtual_time_whatever_the_seed() {
    let mut failed = Vec::new();
    for (name, run) in scenarios::all::<VirtualWorld>() {
        for seed in 0..5 {
            if catch_unwind(AssertUnwindSafe(|| run(&mut VirtualWorld::new(seed)))).is_err() {
                failed.push((name, seed));
            }
        }
    }
    assert!(failed.is_empty(), "failed, with their seeds: {failed:#?}");
}
