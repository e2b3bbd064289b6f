//! Whole networks in virtual time, from seed to seed: `cargo run --release -p natpmp-testkit --example chaos -- --help`.

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use natpmp_testkit::chaos::{Setup, Statistics, run};

const HELP: &str = "\
usage: chaos [--seed N] [--runs N] [--days N] [--hosts N] [--minutes N]
  --seed N     the first seed (1)
  --runs N     how many seeds (1; without a bound if there are minutes)
  --days N     virtual days in each (7)
  --hosts N    hosts in each, at most (300)
  --minutes N  begin no run after so many minutes of real time
The same seed, days and hosts are the same run.";

fn main() -> ExitCode {
    let Some(args) = Args::read() else {
        eprintln!("{HELP}");
        return ExitCode::from(2);
    };
    match runs(&args) {
        Ok(code) => code,
        // Whoever read it has enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cannot write to standard output: {error}");
            ExitCode::FAILURE
        }
    }
}

fn runs(args: &Args) -> io::Result<ExitCode> {
    let mut stdout = io::stdout();
    let mut held = 0_u64;
    let began = Instant::now();
    let mut sum = Statistics::default();
    for seed in args.seed..args.seed.saturating_add(args.runs) {
        if args.time.is_some_and(|time| began.elapsed() >= time) {
            break;
        }
        let setup = Setup { seed, days: args.days, most_hosts: args.hosts };
        // The message of the panic has been printed.
        let Ok(statistics) = std::panic::catch_unwind(|| run(setup)) else {
            // That it failed counts, whether anybody reads it or not.
            let again = format!("--seed {seed} --days {} --hosts {}", args.days, args.hosts);
            let _ = writeln!(stdout, "FAILED; again with: {again}");
            return Ok(ExitCode::FAILURE);
        };
        sum += statistics;
        held += 1;
        writeln!(stdout, "seed {seed}: {statistics}")?;
    }
    let seconds = began.elapsed().as_secs_f64();
    match held {
        0 => writeln!(stdout, "nothing was run")?,
        1 => writeln!(stdout, "all held, in {seconds:.0} s")?,
        _ => writeln!(stdout, "all held, {held} seeds in {seconds:.0} s: {sum}")?,
    }
    Ok(ExitCode::SUCCESS)
}

struct Args {
    seed: u64,
    runs: u64,
    days: u32,
    hosts: u16,
    time: Option<Duration>,
}

impl Args {
    fn read() -> Option<Self> {
        let mut args = Self { seed: 1, runs: 1, days: 7, hosts: 300, time: None };
        let mut words = std::env::args().skip(1);
        let (mut runs, mut minutes) = (None, None);
        while let Some(word) = words.next() {
            let value = words.next()?;
            match word.as_str() {
                "--seed" => args.seed = value.parse().ok()?,
                "--runs" => runs = Some(value.parse().ok()?),
                "--days" => args.days = value.parse().ok()?,
                "--hosts" => args.hosts = value.parse().ok().filter(|hosts| (2..=10_000).contains(hosts))?,
                "--minutes" => minutes = Some(value.parse().ok()?),
                _ => return None,
            }
        }
        args.time = minutes.map(|minutes: u64| Duration::from_secs(minutes.saturating_mul(60)));
        args.runs = runs.unwrap_or(if minutes.is_some() { u64::MAX } else { 1 });
        Some(args)
    }
}
