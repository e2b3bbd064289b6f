//! Mappings that are kept for a while.

use std::io::{BufRead, BufReader, Read};
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::{ChildStdout, Stdio};
use std::time::{Duration, Instant};

use crate::answering::Gateway;
use crate::peers::{CRAB_NAT, NATPMPC_LOOP, Peers, Running, SMOL, STD, this_program};
use crate::plot::{Panel, Series, svg};
use crate::report::{Cell, Table, thousands};
use crate::usage::{Memory, Usage};
use crate::{Scale, source};

/// What so many mappings have cost a client.
pub struct Held {
    name: &'static str,
    count: u16,
    usage: Usage,
    memory: Memory,
    /// Calls that failed, of those that are not made again by the client itself.
    failures: u64,
}

/// Copies this program for each configuration, since no other process is to bear a part of its pages. While they are
/// written no process may be started, or it holds them open.
pub fn prepare(scale: &Scale, peers: &Peers) {
    for number in 0..scale.kept.len() * keepers(peers).len() {
        std::fs::copy(this_program(), keeper(number)).expect("the program is copied");
    }
}

fn keeper(number: usize) -> PathBuf {
    source().join(format!("target/keeper-{number}"))
}

fn keepers(peers: &Peers) -> Vec<&'static str> {
    peers.of(&[STD, SMOL, CRAB_NAT, NATPMPC_LOOP]).collect()
}

/// All configurations at the same time, each with its own process and gateway.
pub fn measure(scale: &Scale, peers: &Peers) -> Vec<Held> {
    let names = keepers(peers);
    let all = scale.kept.iter().flat_map(|&count| names.iter().map(move |&name| (name, count)));
    let end = Instant::now() + window(scale);
    let started: Vec<_> = all.enumerate().map(|(number, each)| Keeper::start(scale, peers, number, each)).collect();
    eprintln!("keeping mappings for {} s", window(scale).as_secs());
    std::thread::sleep(end.saturating_duration_since(Instant::now()));
    started.into_iter().map(Keeper::end).collect()
}

pub fn tables(scale: &Scale, held: &[Held]) -> Vec<Table> {
    let note = format!(
        "For {} s, each mapping renewed every {} s: {} times. CPU and wake-ups (voluntary context switches) are those of all of the \
         client's processes, their start included; memory is the proportional set size, in which shared pages count in part. \
         `crab_nat`: one process with a task for each mapping, on tokio. `natpmpc`: a shell loop for each mapping, of which \
         threads counts the processes at one time.",
        window(scale).as_secs(),
        scale.lifetime.as_secs() / 2,
        scale.renewals
    );
    let table = |&count: &u16| {
        let (title, note) = match count {
            1 => ("Keeping one mapping".into(), note.clone()),
            _ => (format!("Keeping {} mappings", thousands(count.into())), "As before.".into()),
        };
        let mut table = Table::new(title, &["CPU", "wake-ups", "memory", "threads"], note);
        for held in held.iter().filter(|held| held.count == count) {
            let cpu = Cell::time(held.usage.running);
            let memory = Cell::kib(held.memory.kib * 1_024);
            let name = match held.failures {
                0 => held.name.into(),
                failures => format!("{} ({} calls failed)", held.name, thousands(failures)),
            };
            table.row(name, vec![cpu, Cell::count(held.usage.wake_ups), memory, Cell::count(held.memory.threads)]);
        }
        table
    };
    scale.kept.iter().map(table).collect()
}

/// What the number of mappings costs, one line for each client.
pub fn plot(scale: &Scale, held: &[Held]) -> String {
    let panel = |title: String, unit, value: fn(&Held) -> f64| {
        let mut series: Vec<Series> = Vec::new();
        for each in held {
            let point = (f64::from(each.count), value(each));
            match series.iter_mut().find(|series| series.name == each.name) {
                Some(series) => series.points.push(point),
                None => series.push(Series { name: each.name, points: vec![point] }),
            }
        }
        Panel { title, unit, series }
    };
    let window = window(scale).as_secs();
    svg(&[
        panel(format!("CPU time in {window} s"), "s", |held| held.usage.running.as_secs_f64()),
        panel(format!("wake-ups in {window} s"), "", |held| held.usage.wake_ups as f64),
        panel("memory".into(), "MiB", |held| held.memory.kib as f64 / 1_024.0),
    ])
}

/// The last renewal is half an interval before its end.
fn window(scale: &Scale) -> Duration {
    (scale.lifetime / 2).mul_f64(f64::from(scale.renewals) + 0.5)
}

struct Keeper {
    name: &'static str,
    count: u16,
    child: Running,
    output: BufReader<ChildStdout>,
    program: PathBuf,
    _gateway: Gateway,
}

impl Keeper {
    /// Does not wait until its mappings are open.
    fn start(scale: &Scale, peers: &Peers, number: usize, (name, count): (&'static str, u16)) -> Self {
        let address = Ipv4Addr::new(127, 75, 0, number as u8 + 1);
        let gateway = Gateway::start(address);
        let program = keeper(number);
        let mut command = peers.command_of(&program, name, "keep", address);
        command.args(
            [count.into(), scale.lifetime.as_secs(), scale.renewals.into()].map(|number: u64| number.to_string()),
        );
        let mut child = Running::start(command.stdin(Stdio::null()).stdout(Stdio::piped()));
        let output = BufReader::new(child.0.stdout.take().expect("it is piped"));
        Self { name, count, child, output, program, _gateway: gateway }
    }

    fn end(mut self) -> Held {
        self.output.read_line(&mut String::new()).expect("all are open");
        let (usage, memory, failures) = if self.name == NATPMPC_LOOP {
            self.measured_by_itself()
        } else {
            let process = self.child.0.id();
            (Usage::of_process(process), Memory::of_process(process), 0)
        };
        let _ = std::fs::remove_file(&self.program);
        Held { name: self.name, count: self.count, usage, memory, failures }
    }

    fn measured_by_itself(&mut self) -> (Usage, Memory, u64) {
        let mut text = String::new();
        self.output.read_to_string(&mut text).expect("it says what it has cost");
        let numbers: Vec<u64> = text.split_whitespace().map(|word| word.parse().expect("a number")).collect();
        let [microseconds, wake_ups, kib, threads, failures] = numbers[..] else {
            panic!("{} with {} mappings says what it has cost", self.name, self.count)
        };
        (Usage { running: Duration::from_micros(microseconds), wake_ups }, Memory { kib, threads }, failures)
    }
}
