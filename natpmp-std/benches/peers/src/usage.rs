//! What processes cost, as Linux tells it.

use std::fs;
use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;

/// Processor time and wake-ups: voluntary context switches.
pub struct Usage {
    pub running: Duration,
    pub wake_ups: u64,
}

impl Usage {
    /// Of all threads of a process.
    pub fn of_process(process: u32) -> Self {
        let mut sum = Self { running: Duration::ZERO, wake_ups: 0 };
        for task in fs::read_dir(format!("/proc/{process}/task")).expect("it runs").flatten() {
            let read = |file: &str| fs::read_to_string(task.path().join(file)).unwrap_or_default();
            // In nanoseconds, where `stat` counts hundredths of a second.
            let nanoseconds = read("schedstat").split_whitespace().next().and_then(|word| word.parse().ok());
            sum.running += Duration::from_nanos(nanoseconds.unwrap_or(0));
            sum.wake_ups += field(&read("status"), "voluntary_ctxt_switches:");
        }
        sum
    }

    /// Of all children of this process that have ended, and of their children.
    pub fn of_ended_children() -> Self {
        let usage = getrusage(UsageWho::RUSAGE_CHILDREN).expect("the system tells");
        let microseconds = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
        Self {
            running: Duration::from_micros(microseconds.unsigned_abs()),
            wake_ups: usage.voluntary_context_switches().unsigned_abs(),
        }
    }
}

/// Memory and threads. What processes share counts for each in part.
#[derive(Default)]
pub struct Memory {
    pub kib: u64,
    pub threads: u64,
}

impl Memory {
    /// Of all processes that this one has started, and that these have started.
    pub fn of_descendants() -> Self {
        let mut sum = Self::default();
        let mut parents = vec![std::process::id()];
        let all: Vec<(u32, u32)> = processes();
        while let Some(parent) = parents.pop() {
            for (process, _) in all.iter().filter(|(_, its_parent)| *its_parent == parent) {
                let memory = Self::of_process(*process);
                sum = Self { kib: sum.kib + memory.kib, threads: sum.threads + memory.threads };
                parents.push(*process);
            }
        }
        sum
    }

    /// Zero for one that is gone.
    pub fn of_process(process: u32) -> Self {
        let read = |file: &str| fs::read_to_string(format!("/proc/{process}/{file}")).unwrap_or_default();
        Self { kib: field(&read("smaps_rollup"), "Pss:"), threads: field(&read("status"), "Threads:") }
    }
}

/// Every process and its parent.
fn processes() -> Vec<(u32, u32)> {
    let entries = fs::read_dir("/proc").expect("Linux").flatten();
    let numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let with_parent = |process: u32| {
        let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
        Some((process, field(&status, "PPid:") as u32))
    };
    numbers.filter_map(with_parent).collect()
}

fn field(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}
