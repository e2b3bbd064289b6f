//! Whole networks in virtual time: anything happens for days, and nothing is lost, leaked, or sent where it does not belong.

use natpmp_testkit::chaos::{Setup, Statistics, run};

/// C02, C07, C10, C12, C16, C18, C19, C25, C27, G06, G09, G16, G19, G20, G23, G24
#[test]
fn networks_live_through_loss_reboots_sleep_clock_jumps_and_attacks() {
    let sum = each(1..=3, 1, 12);
    assert!(sum.peaces > 6 && sum.forged > 1_000, "there was little to live through: {sum}");
}

/// G10, G23, C25
#[test]
fn a_table_that_is_too_small_for_all_serves_as_many_as_it_can() {
    // A seed whose network has more to map than its gateway has room for.
    let _ = each(CROWDED..=CROWDED, 1, 40);
}

fn each(seeds: std::ops::RangeInclusive<u64>, days: u32, most_hosts: u16) -> Statistics {
    let mut sum = Statistics::default();
    for seed in seeds {
        println!(
            "again: cargo run --release -p natpmp-testkit --example chaos -- --seed {seed} --days {days} --hosts {most_hosts}"
        );
        sum += run(Setup { seed, days, most_hosts });
    }
    println!("{sum}");
    sum
}

const CROWDED: u64 = 2;
