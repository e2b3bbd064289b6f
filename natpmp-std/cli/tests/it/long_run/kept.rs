//! One `natpmp keep`, and whether what it keeps works.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use natpmp_lab::{Meter, Protocol, Running, wait_until};

use super::SOON;

/// A running `natpmp keep ARGUMENTS --json`, with a port file.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) program: Running,
    pub(crate) port_file: PathBuf,
    arguments: String,
    meters: Vec<Meter>,
    before: Usage,
}

#[derive(Clone, Copy, Debug, Default)]
struct Usage {
    kib: u64,
    files: usize,
}

impl Kept {
    /// Starts it. `command` is `natpmp` where it is to run.
    pub(crate) fn start(mut command: Command, arguments: &str, port_file: PathBuf) -> Self {
        let all = ["keep"].into_iter().chain(arguments.split(' ')).chain(["--json", "--timeout", "2", "--port-file"]);
        command.args(all).arg(&port_file);
        let (arguments, program) = (arguments.to_owned(), Running::spawn(command));
        Self { program, port_file, arguments, meters: Vec::new(), before: Usage::default() }
    }

    /// One that tells whether a mapping of it works.
    pub(crate) fn watch(&mut self, meter: Meter) {
        self.meters.push(meter);
    }

    /// Whether it says that all is open, and that was so whenever it was asked lately.
    pub(crate) fn works_since(&mut self, time: Instant) -> bool {
        assert!(self.program.is_running(), "it has ended\n{}", self.last_words());
        is_open(&self.port_file) && self.meters.iter().all(|meter| meter.is_steady_since(time))
    }

    pub(crate) fn longest_outage(&self, from: Instant, to: Instant) -> Duration {
        self.meters.iter().map(|meter| meter.longest_outage(from, to)).max().unwrap_or_default()
    }

    /// How many questions were asked, and how many had an answer.
    pub(crate) fn probes(&self) -> (usize, usize) {
        let all = self.meters.iter().map(Meter::probes);
        all.fold((0, 0), |(sent, answered), probes| {
            (sent + probes.len(), answered + probes.iter().filter(|probe| probe.is_answered).count())
        })
    }

    pub(crate) fn last_words(&self) -> String {
        let port = std::fs::read_to_string(&self.port_file);
        format!("keep {}, port file {port:?}\n{}", self.arguments, self.program.last_words())
    }

    /// It may not take more than it takes now.
    pub(crate) fn measure(&mut self) {
        self.before = self.usage();
    }

    /// # Panics
    /// If it has more files open than in the beginning, or more than [`GROWTH`] more memory.
    pub(crate) fn has_not_grown(&self) {
        let is_back = wait_until(SOON, || self.usage().files <= self.before.files);
        assert!(is_back && self.usage().kib <= self.before.kib + GROWTH, "{}", self.growth());
    }

    pub(crate) fn growth(&self) -> String {
        let (before, now) = (self.before, self.usage());
        let [kib, files] = [[before.kib, now.kib], [before.files as u64, now.files as u64]];
        format!("keep {}: from {} to {} KiB, from {} to {} files", self.arguments, kib[0], kib[1], files[0], files[1])
    }

    /// Ends it as a user does, and expects success.
    pub(crate) fn end(self) {
        self.program.interrupt();
        let finished = self.program.finish(SOON);
        assert_eq!(finished.code, Some(0), "keep {}\n{finished}", self.arguments);
        assert!(!is_open(&self.port_file));
    }

    fn usage(&self) -> Usage {
        Usage { kib: self.program.resident_kib().unwrap_or(0), files: self.program.open_files() }
    }
}

/// The port that such a file has for this protocol, as a user's script reads it.
pub(crate) fn port(file: &Path, protocol: Protocol) -> Option<u16> {
    let text = std::fs::read_to_string(file).ok()?;
    let mut lines = text.lines();
    let line = match protocol {
        Protocol::Udp => lines.next(),
        Protocol::Tcp => lines.next_back(),
    };
    line?.parse().ok()
}

fn is_open(file: &Path) -> bool {
    port(file, Protocol::Udp).is_some()
}

/// In KiB: what an allocator takes for itself.
const GROWTH: u64 = 1_024;
