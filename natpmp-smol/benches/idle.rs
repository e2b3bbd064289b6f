//! What kept mappings cost while nothing happens, and while they are renewed: threads, memory, wake-ups and processor time, for
//! the blocking client and for the async one on two runtimes. Takes three minutes, on Linux.
//!
//! `cargo bench -p natpmp-smol --bench idle`
//!
//! Each configuration is a process of its own, against a gateway in this one. What it costs is read from outside, under
//! `/proc`, so that the measurement wakes nobody up.

#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a benchmark whose assumptions fail should end"
)]

use std::fs;
use std::future::pending;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddrV4;
use std::process::{Child, Command, Stdio};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use natpmp_smol::{MapRequest, Protocol};
use natpmp_testkit::gateway::{Faults, Gateway, Served};
use smol::LocalExecutor;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["keep", program, gateway, count, first_port, lifetime] => {
            let number = |argument: &str| argument.parse().unwrap();
            let (count, first_port) = (number(count), number(first_port));
            let job = Job { gateway: gateway.parse().unwrap(), count, first_port, lifetime: lifetime.parse().unwrap() };
            let (_, keep) = PROGRAMS.into_iter().find(|(name, _)| *name == program).unwrap();
            keep(&job);
        }
        // `cargo test --benches` only wants to see it start.
        _ if !arguments.iter().any(|argument| argument == "--bench") => {}
        _ if !cfg!(target_os = "linux") => println!("skipped: what a process costs is read from Linux's /proc"),
        _ => measure(),
    }
}

/// What a process is to do until it is killed. All figures are for this.
struct Job {
    gateway: SocketAddrV4,
    count: u16,
    first_port: u16,
    lifetime: u32,
}

type Program = (&'static str, fn(&Job));

const PROGRAMS: [Program; 4] =
    [(EMPTY, keep_nothing), ("natpmp-std", on_std), ("natpmp-smol, smol", on_smol), ("natpmp-smol, tokio", on_tokio)];

fn keep_nothing(_: &Job) {
    all_are_open();
    park();
}

fn on_std(job: &Job) {
    let client = natpmp_std::Client::builder().gateway(job.gateway).build().unwrap();
    let kept: Vec<_> = job.requests().map(|request| client.keep(&request).unwrap()).collect();
    assert!(kept.iter().all(|kept| kept.wait_open(PATIENCE).is_ok()));
    all_are_open();
    park();
}

fn on_smol(job: &Job) {
    let executor = LocalExecutor::new();
    smol::block_on(executor.run(async {
        let (client, driver) = natpmp_smol::Client::builder().gateway(job.gateway).build().unwrap();
        executor.spawn(driver).detach();
        keep(&client, job).await;
    }));
}

fn on_tokio(job: &Job) {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
        let (client, driver) = natpmp_smol::Client::builder().gateway(job.gateway).build().unwrap();
        tokio::spawn(driver);
        keep(&client, job).await;
    });
}

async fn keep(client: &natpmp_smol::Client, job: &Job) {
    let all_kept: Vec<_> = job.requests().map(|request| client.keep(&request).unwrap()).collect();
    for kept in &all_kept {
        kept.wait_open(PATIENCE).await.unwrap();
    }
    all_are_open();
    pending::<()>().await;
}

impl Job {
    fn requests(&self) -> impl Iterator<Item = MapRequest> {
        let request = |port| MapRequest::new(Protocol::Udp, port).lifetime(self.lifetime);
        (self.first_port..self.first_port + self.count).map(request)
    }
}

fn all_are_open() {
    println!("{OPEN}");
    std::io::stdout().flush().unwrap();
}

fn park() -> ! {
    loop {
        thread::park();
    }
}

/// Runs them all, and prints the table.
fn measure() {
    // As on a network, an answer is not there yet when the client looks for it.
    let served = Served::start(Gateway::with(Faults { delay: Duration::from_millis(1), ..Faults::default() }));
    let mut free_port = 1_024;
    let mut start = |program: &str, count: u16, lifetime: u32| {
        let job = Job { gateway: served.address(), count, first_port: free_port, lifetime };
        free_port += count;
        Process::start(program, &job)
    };
    let empty = start(EMPTY, 0, 0);
    let idle: Vec<_> = rows().map(|(count, program)| start(program, count, NEVER_DUE).measure(SETTLED)).collect();
    let renewing = rows().map(|(count, program)| {
        let process = start(program, count, DUE_ONCE).measure(BEFORE_THE_RENEWAL);
        // The next one's renewals are not to disturb these.
        thread::sleep(Duration::from_secs(2));
        process
    });
    let renewing: Vec<_> = renewing.collect();
    eprintln!("measuring for {} s", (BEFORE_THE_RENEWAL + WINDOW).as_secs());

    println!("| kept | | threads | memory | wake-ups, idle | CPU, idle | wake-ups, renewing | CPU, renewing |");
    println!("| --- | --- | --- | --- | --- | --- | --- | --- |");
    let empty = Reading::of(empty.id()).memory_kib;
    let mut last_count = 0;
    for (((count, program), idle), renewing) in rows().zip(idle).zip(renewing) {
        let (idle, renewing) = (idle.join().unwrap(), renewing.join().unwrap());
        if count != last_count {
            println!("| {0} | ideal | | | 0 | 0 | {1} | |", thousands(count.into()), thousands(u64::from(count) + 1));
        }
        last_count = count;
        println!(
            "| {} | {program} | {} | {} KiB | {} | {} | {} | {} |",
            thousands(count.into()),
            idle.threads,
            thousands(idle.memory_kib.saturating_sub(empty)),
            thousands(idle.wake_ups),
            milliseconds(idle.running),
            thousands(renewing.wake_ups),
            milliseconds(renewing.running),
        );
    }
}

fn rows() -> impl Iterator<Item = (u16, &'static str)> {
    let keepers = PROGRAMS.into_iter().map(|(name, _)| name).filter(|name| *name != EMPTY);
    COUNTS.into_iter().flat_map(move |count| keepers.clone().map(move |name| (count, name)))
}

/// A process that has all of its mappings, or measures how that goes; ended when dropped.
struct Process(Child);

impl Process {
    /// Returns when all mappings are open.
    fn start(program: &str, job: &Job) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["keep", program, &job.gateway.to_string()])
            .args([job.count.to_string(), job.first_port.to_string(), job.lifetime.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line.trim(), OPEN, "{program} with {} mappings", job.count);
        Self(child)
    }

    fn id(&self) -> u32 {
        self.0.id()
    }

    /// What the window costs that begins after this time.
    fn measure(self, after: Duration) -> JoinHandle<Reading> {
        thread::spawn(move || {
            thread::sleep(after);
            let before = Reading::of(self.id());
            thread::sleep(WINDOW);
            Reading::of(self.id()).since(&before)
        })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What a process has cost so far, all of its threads together.
struct Reading {
    threads: usize,
    memory_kib: u64,
    /// How often a thread slept and was woken.
    wake_ups: u64,
    running: Duration,
}

impl Reading {
    fn of(process: u32) -> Self {
        // Without the pages of the program's file: how many of these are read in differs from run to run.
        let memory = fs::read_to_string(format!("/proc/{process}/smaps_rollup")).unwrap();
        let mut reading =
            Self { threads: 0, memory_kib: field(&memory, "Anonymous:"), wake_ups: 0, running: Duration::ZERO };
        for task in fs::read_dir(format!("/proc/{process}/task")).unwrap() {
            let read = |file: &str| fs::read_to_string(task.as_ref().unwrap().path().join(file)).unwrap();
            let status = read("status");
            reading.threads += 1;
            reading.wake_ups += field(&status, "voluntary_ctxt_switches:");
            // In nanoseconds, where `stat` counts hundredths of a second.
            let nanoseconds = read("schedstat").split_whitespace().next().unwrap().parse().unwrap();
            reading.running += Duration::from_nanos(nanoseconds);
        }
        reading
    }

    fn since(self, before: &Self) -> Self {
        Self { wake_ups: self.wake_ups - before.wake_ups, running: self.running - before.running, ..self }
    }
}

fn field(status: &str, name: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

fn milliseconds(time: Duration) -> String {
    if time.is_zero() { "0".into() } else { format!("{:.1} ms", time.as_secs_f64() * 1_000.0) }
}

fn thousands(number: u64) -> String {
    if number < 1_000 { number.to_string() } else { format!("{},{:03}", number / 1_000, number % 1_000) }
}

const EMPTY: &str = "empty";
const OPEN: &str = "all are open";
const COUNTS: [u16; 3] = [1, 100, 1_000];
/// Renewed after an hour.
const NEVER_DUE: u32 = 7_200;
/// Renewed after 60 s, in the middle of the window, and again after its end.
const DUE_ONCE: u32 = 120;
const BEFORE_THE_RENEWAL: Duration = Duration::from_secs(30);
const SETTLED: Duration = Duration::from_secs(5);
const WINDOW: Duration = Duration::from_secs(60);
const PATIENCE: Duration = Duration::from_secs(60);
