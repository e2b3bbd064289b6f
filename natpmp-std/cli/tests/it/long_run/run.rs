//! One fault after the other.

use std::time::{Duration, Instant};

use natpmp_lab::wait_until;
use natpmp_testkit::Random;

use super::BOUND;
use super::kept::Kept;
use super::log::Log;

/// Where things go wrong.
pub(crate) trait World {
    /// Something goes wrong. When this returns it is mended, and this is what it was.
    fn inject_fault(&mut self, kept: &[Kept], random: &mut Random) -> String;

    /// Whether the gateway has the mappings that are kept, and no other.
    fn is_right(&self) -> bool;

    /// How long after the end of a fault all must work again.
    fn bound(&self) -> Duration {
        BOUND
    }

    /// How often a gateway was killed, stopped or made to forget.
    fn restarts(&self) -> u32;
}

/// Has it go wrong until the time is over, and no fewer than [`LEAST_FAULTS`] times: on a slow machine the time may be over at the first
/// one, and each of them is over within the bound.
///
/// # Panics
/// If what is kept does not work again within the bound after a fault's end, or has grown.
pub(crate) fn endure(name: &str, world: &mut impl World, kept: &mut [Kept]) {
    let (seed, length) = (seed(), number("NATPMP_LONG_RUN_SECONDS", 4));
    println!("{name}: NATPMP_LONG_RUN_SEED={seed} NATPMP_LONG_RUN_SECONDS={length}");
    let length = Duration::from_secs(length);
    let mut random = Random::new(seed);
    let mut log = Log::new(name, seed);
    recover(world, kept, Instant::now(), "the start");
    kept.iter_mut().for_each(Kept::measure);
    let began = Instant::now();
    while began.elapsed() < length || log.faults() < LEAST_FAULTS {
        std::thread::sleep(random.between(Duration::ZERO, Duration::from_secs(1)));
        let from = Instant::now();
        let what = world.inject_fault(kept, &mut random);
        let mended = Instant::now();
        recover(world, kept, mended, &what);
        log.fault(what, from, mended, kept);
    }
    assert!(log.faults() >= LEAST_FAULTS, "{name}: too little went wrong to show anything");
    kept.iter().for_each(Kept::has_not_grown);
    log.summarize(world.restarts(), kept);
}

/// What decides what happens.
pub(crate) fn seed() -> u64 {
    number("NATPMP_LONG_RUN_SEED", 1)
}

fn recover(world: &impl World, kept: &mut [Kept], since: Instant, what: &str) {
    let bound = world.bound();
    let is_back = wait_until(bound, || kept.iter_mut().all(|kept| kept.works_since(since)) && world.is_right());
    let is_right = world.is_right();
    let words = || kept.iter().map(Kept::last_words).collect::<String>();
    assert!(is_back, "after {what}: not back within {bound:?}; the gateway is right: {is_right}\n{}", words());
}

fn number(variable: &str, default: u64) -> u64 {
    match std::env::var(variable) {
        Ok(text) => text.parse().unwrap_or_else(|error| panic!("{variable}={text}: {error}")),
        Err(_) => default,
    }
}

const LEAST_FAULTS: usize = 2;
