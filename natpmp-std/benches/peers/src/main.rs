//! This implementation and its peers, measured in one go on one machine: see `natpmp-std/benches/README.md`.
//!
//! Every client runs in a process of its own, against a gateway on a loopback address in this one, since some peers know
//! port 5351 only.

#![forbid(unsafe_code)]

mod answering;
mod building;
mod calling;
mod clients;
mod codec;
mod giving_up;
mod holding;
mod instructions;
mod link;
mod peers;
mod plot;
mod recovery;
mod report;
mod usage;

use std::path::PathBuf;
use std::time::Duration;

use peers::Peers;
use report::Report;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["client", name, job, ref arguments @ ..] => clients::run(name, job, arguments),
        ["in-memory", name, count] => codec::run(name, count.parse().expect("a number")),
        ["--quick", ref parts @ ..] if are_parts(parts) => measure(&Scale::quick(parts)),
        ref parts if are_parts(parts) => measure(&Scale::full(parts)),
        _ => {
            eprintln!("usage: natpmp-peers [--quick] [PART…], where PART is one of {}", PARTS.join(", "));
            std::process::exit(2);
        }
    }
}

fn are_parts(arguments: &[&str]) -> bool {
    arguments.iter().all(|argument| PARTS.contains(argument))
}

/// What can be measured by itself, in this order.
const PARTS: [&str; 7] = [READING, INSTRUCTIONS, CALLING, FIRST_MAPPING, BUILDING, FAILING, KEEPING];
const READING: &str = "reading";
const INSTRUCTIONS: &str = "instructions";
const CALLING: &str = "calling";
const FIRST_MAPPING: &str = "first-mapping";
const BUILDING: &str = "building";
const FAILING: &str = "failing";
const KEEPING: &str = "keeping";

/// How much is measured.
pub struct Scale {
    is_quick: bool,
    /// All, if there are none.
    parts: Vec<String>,
    /// Of which the median is taken.
    repeats: usize,
    calls: usize,
    /// Time to the first mapping.
    delayed: u8,
    lossy: u8,
    loss_patience: Duration,
    silence_patience: Duration,
    /// Of a kept mapping; it is renewed at half of this.
    lifetime: Duration,
    renewals: u32,
    kept: &'static [u16],
    restarts: u8,
    builds: usize,
    /// Where the tables and the plot go.
    output: PathBuf,
}

impl Scale {
    fn full(parts: &[&str]) -> Self {
        // Ten renewals, in ten minutes unless another time is asked for.
        let seconds = std::env::var("NATPMP_HOLD_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(600);
        Self {
            is_quick: false,
            parts: owned(parts),
            repeats: 5,
            calls: 10_000,
            delayed: 15,
            lossy: 31,
            loss_patience: Duration::from_secs(30),
            silence_patience: Duration::from_secs(140),
            lifetime: Duration::from_secs((seconds / 10).max(1) * 2),
            renewals: 10,
            kept: &[1, 100, 1_000],
            restarts: 7,
            builds: 3,
            // Only all of it replaces what is committed.
            output: source().join(if parts.is_empty() { ".." } else { "target/parts" }),
        }
    }

    /// To see that it works; the figures are worth little.
    fn quick(parts: &[&str]) -> Self {
        Self {
            is_quick: true,
            parts: owned(parts),
            repeats: 1,
            calls: 500,
            delayed: 1,
            lossy: 3,
            loss_patience: Duration::from_secs(4),
            silence_patience: Duration::from_secs(5),
            lifetime: Duration::from_secs(4),
            renewals: 2,
            kept: &[1, 20],
            restarts: 1,
            builds: 0,
            output: source().join("target/quick"),
        }
    }
}

fn measure(scale: &Scale) {
    let peers = &Peers::find();
    let heading = if scale.is_quick { "Quick run: worth little.\n\n" } else { "" };
    print!("{heading}");
    let mut report = Report::default();
    // What loads the processor comes first and alone; what waits for time to pass goes on side by side.
    for (part, measure) in [
        (READING, codec::measure as fn(&Scale, &Peers, &mut Report)),
        (INSTRUCTIONS, instructions::measure),
        (CALLING, calling::measure),
        (FIRST_MAPPING, link::measure),
        (BUILDING, building::measure),
    ] {
        if scale.wants(part) {
            eprintln!("measuring: {part}");
            measure(scale, peers, &mut report);
        }
    }
    std::fs::create_dir_all(&scale.output).expect("a directory for the tables");
    if scale.wants(KEEPING) {
        holding::prepare(scale, peers);
    }
    std::thread::scope(|threads| {
        let failing = scale.wants(FAILING).then(|| {
            eprintln!("measuring: {FAILING}");
            [giving_up::measure, recovery::measure].map(|measure| threads.spawn(move || measure(scale, peers)))
        });
        let held = scale.wants(KEEPING).then(|| holding::measure(scale, peers));
        for tables in failing.into_iter().flatten() {
            report.extend(tables.join().expect("it was measured"));
        }
        if let Some(held) = held {
            report.extend(holding::tables(scale, &held));
            std::fs::write(scale.output.join("keeping.svg"), holding::plot(scale, &held)).expect("a plot is written");
        }
    });
    report.write(&scale.output.join("README.md"), heading);
}

impl Scale {
    fn wants(&self, part: &str) -> bool {
        self.parts.is_empty() || self.parts.iter().any(|wanted| wanted == part)
    }
}

fn owned(parts: &[&str]) -> Vec<String> {
    parts.iter().map(|part| (*part).to_owned()).collect()
}

/// The directory of this workspace.
fn source() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}
