//! What came of it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::kept::Kept;

/// What is known of the faults so far.
#[derive(Debug)]
pub(crate) struct Log {
    name: String,
    seed: u64,
    began: Instant,
    faults: BTreeMap<String, Vec<Fault>>,
}

#[derive(Debug)]
struct Fault {
    /// The longest that any of the mappings did not work.
    outage: Duration,
    /// How long it was from the end of the fault until all of them worked.
    recovery: Duration,
}

impl Log {
    pub(crate) fn new(name: &str, seed: u64) -> Self {
        Self { name: name.to_owned(), seed, began: Instant::now(), faults: BTreeMap::new() }
    }

    /// A fault that is over, as is what it did.
    pub(crate) fn fault(&mut self, what: String, from: Instant, mended: Instant, kept: &[Kept]) {
        let now = Instant::now();
        let outage = kept.iter().map(|kept| kept.longest_outage(from, now)).max().unwrap_or_default();
        let (at, lasted, recovery) = (from - self.began, mended - from, now - mended);
        println!("{}: {at:.1?} {what} for {lasted:.1?}: outage {outage:.1?}, recovery {recovery:.1?}", self.name);
        self.faults.entry(what).or_default().push(Fault { outage, recovery });
    }

    /// How many there were.
    pub(crate) fn faults(&self) -> usize {
        self.faults.values().map(Vec::len).sum()
    }

    /// The sums.
    pub(crate) fn summarize(&self, restarts: u32, kept: &[Kept]) {
        let name = &self.name;
        for (what, faults) in &self.faults {
            let (outage, longest) = spread(faults, |fault| fault.outage);
            let (recovery, slowest) = spread(faults, |fault| fault.recovery);
            println!(
                "{name}: {:4} x {what}: outage {outage:.1?}, at most {longest:.1?}; recovery {recovery:.1?}, at most {slowest:.1?}",
                faults.len()
            );
        }
        let all: Vec<_> = self.faults.values().flatten().collect();
        let (outage, longest) = spread(&all, |fault| fault.outage);
        let (recovery, slowest) = spread(&all, |fault| fault.recovery);
        let (sent, answered) = kept.iter().map(Kept::probes).fold((0, 0), |sum, each| (sum.0 + each.0, sum.1 + each.1));
        println!(
            "{name}: seed {}, {:.0?}, {} faults, {restarts} restarts; outage {outage:.1?}, at most {longest:.1?}; recovery \
             {recovery:.1?}, at most {slowest:.1?}; {sent} questions through the mappings, {} without an answer",
            self.seed,
            self.began.elapsed(),
            all.len(),
            sent - answered
        );
        kept.iter().for_each(|kept| println!("{name}: {}", kept.growth()));
    }
}

/// The median, and the longest.
fn spread<T>(faults: &[T], of: impl Fn(&T) -> Duration) -> (Duration, Duration) {
    let mut all: Vec<Duration> = faults.iter().map(of).collect();
    all.sort_unstable();
    (all.get(all.len() / 2).copied().unwrap_or_default(), all.last().copied().unwrap_or_default())
}
