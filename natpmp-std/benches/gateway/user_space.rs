//! The gateway with a NAT that has nothing to do, beside the echo loop, over the loopback interface.

use std::time::Duration;

use natpmp_proto::wire::{Encoded, Request};

use super::load::{Latency, Load, Rate, mappings};
use super::process::{self, Process};

/// What one server did with so many live mappings.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    pub(crate) who: &'static str,
    pub(crate) size: usize,
    pub(crate) external: Rate,
    pub(crate) renewal: Rate,
    /// Of the rate of the first server, in the same round.
    pub(crate) parts: [f64; 2],
    pub(crate) latency: Latency,
    /// In KiB.
    pub(crate) memory: u64,
}

/// One of those that are compared.
pub(crate) struct Subject {
    pub(crate) who: &'static str,
    /// Its process.
    pub(crate) id: u32,
    pub(crate) load: Load,
}

pub(crate) fn measure() -> Vec<Row> {
    SIZES.into_iter().flat_map(measure_with).collect()
}

fn measure_with(size: usize) -> Vec<Row> {
    let file = std::env::temp_dir().join(format!("natpmp-bench-{}", std::process::id()));
    let file = file.to_str().unwrap();
    let any = "127.0.0.1:0";
    let roles: [(_, &[&str]); 4] = [
        (ECHO, &["echo"]),
        ("echo loop, many by one call", &["echo-many"]),
        (OURS, &["yes", any]),
        ("natpmp-std with a state file", &["yes", any, file]),
    ];
    let servers = roles.map(|(who, role)| (who, Process::start(None, role)));
    let mut subjects: Vec<_> = servers
        .iter()
        .map(|(who, server)| Subject { who, id: server.id(), load: Load::new(server.id(), server.address) })
        .collect();
    for subject in &mut subjects[2..] {
        let (count, _) = subject.load.fill(&mappings(size), Duration::from_secs(60));
        assert_eq!(count, size);
    }
    let rows = compare(&mut subjects, size, ROUNDS, SLICE);
    drop(servers);
    let _ = std::fs::remove_file(file);
    rows
}

/// In turns, so that what others do on this machine meets all of them alike.
pub(crate) fn compare(subjects: &mut [Subject], size: usize, rounds: usize, slice: Duration) -> Vec<Row> {
    let (external, renewals) = ([Request::ExternalAddress.encode()], mappings(size));
    let mut rates = |requests: &[Encoded]| -> Vec<Vec<Rate>> {
        let mut all = vec![Vec::new(); subjects.len()];
        for round in 0..=rounds {
            for (subject, rates) in subjects.iter_mut().zip(&mut all) {
                let rate = subject.load.rate(requests, slice);
                subject.load.settle();
                // The first round only warms up.
                if round > 0 {
                    rates.push(rate);
                }
            }
        }
        all
    };
    let (external, renewal) = (rates(&external), rates(&renewals));
    let row = |(number, subject): (usize, &mut Subject)| Row {
        who: subject.who,
        size,
        external: middle(&external[number]),
        renewal: middle(&renewal[number]),
        parts: [part(&external, number), part(&renewal, number)],
        latency: subject.load.latency_within(&renewals, PINGS),
        memory: process::memory_of(subject.id),
    };
    subjects.iter_mut().enumerate().map(row).collect()
}

fn middle(rates: &[Rate]) -> Rate {
    let of = |rate: fn(&Rate) -> f64| median(rates.iter().map(rate).collect());
    Rate { by_clock: of(|rate| rate.by_clock), by_processor: of(|rate| rate.by_processor) }
}

fn part(all: &[Vec<Rate>], number: usize) -> f64 {
    let of = |(rate, limit): (&Rate, &Rate)| rate.by_processor / limit.by_processor;
    median(all[number].iter().zip(&all[0]).map(of).collect())
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

pub(crate) const ECHO: &str = "echo loop";
pub(crate) const OURS: &str = "natpmp-std";
const SIZES: [usize; 4] = [10, 1_000, 10_000, 60_000];
const ROUNDS: usize = 7;
const SLICE: Duration = Duration::from_millis(120);
const PINGS: Duration = Duration::from_millis(500);
