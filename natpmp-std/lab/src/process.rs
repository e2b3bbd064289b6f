//! Programs started by a test: their output line by line, signals to them, and their end, each waited for within a bound.

use std::fmt;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::outage::wait_until;

/// A program that a test started; killed when dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
    /// Open until it is ended, if it was given one.
    input: Option<ChildStdin>,
    output: Arc<Output>,
    started: Instant,
    /// Lines of standard output before this one have been looked at.
    next: usize,
}

impl Running {
    /// Starts a command with its output captured and nothing on its standard input.
    ///
    /// # Panics
    /// If it cannot be started.
    #[must_use]
    pub fn spawn(mut command: Command) -> Self {
        command.stdin(Stdio::null());
        Self::start(command)
    }

    /// The same, with a standard input that is open until [`Running::end_input`].
    ///
    /// # Panics
    /// If it cannot be started.
    #[must_use]
    pub fn spawn_with_input(mut command: Command) -> Self {
        command.stdin(Stdio::piped());
        Self::start(command)
    }

    fn start(mut command: Command) -> Self {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let input = child.stdin.take();
        let output = Arc::new(Output::default());
        output.capture(child.stdout.take().expect("asked for"), |seen| &mut seen.stdout);
        output.capture(child.stderr.take().expect("asked for"), |seen| &mut seen.stderr);
        Self { child, input, output, started: Instant::now(), next: 0 }
    }

    /// Writes a line to its standard input, as a user who types does.
    ///
    /// # Panics
    /// If it was started without one, or does not read it any more.
    pub fn type_line(&mut self, line: &str) {
        writeln!(self.input.as_mut().expect("it has an input"), "{line}").expect("it reads its input");
    }

    /// Ends its standard input, if it has one.
    pub fn end_input(&mut self) {
        self.input = None;
    }

    /// The next line of standard output that fits; those before it are passed over for good.
    ///
    /// # Panics
    /// If none came within `limit`, with all that the program said.
    pub fn line(&mut self, limit: Duration, fits: impl Fn(&str) -> bool) -> String {
        self.find(limit, |line| fits(line).then(|| line.to_owned()))
            .unwrap_or_else(|| panic!("no such line within {limit:?}\n{}", self.output.seen()))
    }

    /// The next JSON object whose `event` is `name`; events before it are passed over for good.
    ///
    /// # Panics
    /// If none came within `limit`, with all that the program said.
    pub fn event(&mut self, limit: Duration, name: &str) -> Value {
        self.event_where(limit, name, |_| true)
    }

    /// The next JSON object whose `event` is `name` and that fits; events before it are passed over for good.
    ///
    /// # Panics
    /// If none came within `limit`, with all that the program said.
    pub fn event_where(&mut self, limit: Duration, name: &str, fits: impl Fn(&Value) -> bool) -> Value {
        self.find(limit, |line| event(line, name).filter(|value| fits(value)))
            .unwrap_or_else(|| panic!("no such event {name:?} within {limit:?}\n{}", self.output.seen()))
    }

    /// The next JSON object whose `event` is `name`, if one comes within `limit`; events before it are passed over for good.
    #[must_use]
    pub fn try_event(&mut self, limit: Duration, name: &str) -> Option<Value> {
        self.find(limit, |line| event(line, name))
    }

    /// The next line of standard output that fits, if one comes within `limit`; those before it are passed over for good.
    #[must_use]
    pub fn try_line(&mut self, limit: Duration, fits: impl Fn(&str) -> bool) -> Option<String> {
        self.find(limit, |line| fits(line).then(|| line.to_owned()))
    }

    /// The lines of standard error so far.
    #[must_use]
    pub fn complaints(&self) -> Vec<String> {
        self.output.lock().stderr.clone()
    }

    /// The last lines of all that it said, for whoever has to find out what happened.
    #[must_use]
    pub fn last_words(&self) -> String {
        let seen = self.output.lock();
        let last = |lines: &[String]| lines[lines.len().saturating_sub(LAST)..].to_vec();
        Seen { stdout: last(&seen.stdout), stderr: last(&seen.stderr), open: 0 }.to_string()
    }

    /// The number of its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How long ago it was started.
    #[must_use]
    pub fn age(&self) -> Duration {
        self.started.elapsed()
    }

    /// How much memory it has at present, in KiB; nothing if it has ended.
    #[must_use]
    pub fn resident_kib(&self) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        line.split_whitespace().next()?.parse().ok()
    }

    /// How many files and sockets it has open at present.
    #[must_use]
    pub fn open_files(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.child.id())).map_or(0, Iterator::count)
    }

    /// Interrupts it, as Ctrl-C does.
    pub fn interrupt(&self) {
        self.signal(Signal::INT);
    }

    /// Asks it to end, as `kill` does.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Stops it where it is, as Ctrl-Z does, until [`Running::resume`].
    pub fn suspend(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on.
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// Whether it has not ended yet.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// If it has not ended within `limit`, with all that it said.
    #[must_use]
    pub fn finish(mut self, limit: Duration) -> Finished {
        let mut status = None;
        let ended = wait_until(limit, || {
            status = self.child.try_wait().expect("it is our child");
            status.is_some()
        });
        assert!(ended, "still running after {limit:?}\n{}", self.output.seen());
        let took = self.started.elapsed();
        // A child that it left behind may keep the pipes open: that must not hold the test up.
        let _ = wait_until(Duration::from_secs(1), || self.output.lock().open == 0);
        let seen = std::mem::take(&mut *self.output.lock());
        Finished { code: status.and_then(|status| status.code()), took, stdout: seen.stdout, stderr: seen.stderr }
    }

    fn find<T>(&mut self, limit: Duration, fits: impl Fn(&str) -> Option<T>) -> Option<T> {
        let deadline = Instant::now() + limit;
        let output = Arc::clone(&self.output);
        let mut seen = output.lock();
        loop {
            while let Some(line) = seen.stdout.get(self.next) {
                self.next += 1;
                if let Some(found) = fits(line) {
                    return Some(found);
                }
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || seen.open == 0 {
                return None;
            }
            seen = output.more.wait_timeout(seen, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn signal(&self, signal: Signal) {
        let _ = kill_process(Pid::from_child(&self.child), signal);
    }
}

impl Running {
    /// In how many seconds the next of its timers of the kernel on boot time is due: of those that count the time while the machine sleeps.
    #[must_use]
    pub fn next_boot_time_alarm(&self) -> Option<u64> {
        let read = |entry: fs::DirEntry| fs::read_to_string(entry.path()).ok();
        let descriptors = fs::read_dir(self.directory("fdinfo")).into_iter().flatten().flatten().filter_map(read);
        let alarms = descriptors.filter(|text| text.lines().any(|line| line == "clockid: 7"));
        alarms.filter_map(|text| time_left(&text)).min()
    }

    /// How often its threads have waited for something.
    #[must_use]
    pub fn wake_ups(&self) -> u64 {
        let tasks = fs::read_dir(self.directory("task")).into_iter().flatten().flatten();
        let status = tasks.filter_map(|task| fs::read_to_string(task.path().join("status")).ok());
        let count = |text: String| {
            let count = text.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?;
            count.trim().parse::<u64>().ok()
        };
        status.filter_map(count).sum()
    }

    /// How often its threads wait for something in this time, once the start is over.
    ///
    /// # Panics
    /// If it never comes to rest.
    #[must_use]
    pub fn wake_ups_in(&self, time: Duration) -> u64 {
        let mut last = 0;
        let is_at_rest = wait_until(SETTLING, || {
            let before = std::mem::replace(&mut last, self.wake_ups());
            std::thread::sleep(time / 10);
            before == last
        });
        assert!(is_at_rest, "it never comes to rest");
        std::thread::sleep(time);
        self.wake_ups() - last
    }

    fn directory(&self, name: &str) -> impl AsRef<Path> + use<> {
        format!("/proc/{}/{name}", self.pid())
    }
}

/// In seconds, if it is set.
fn time_left(timer: &str) -> Option<u64> {
    let seconds = timer.lines().find_map(|line| line.strip_prefix("it_value: (")?.split(',').next());
    seconds?.parse().ok().filter(|&left| left > 0)
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a program left behind.
#[derive(Debug, Clone)]
pub struct Finished {
    /// Its exit code, if no signal ended it.
    pub code: Option<i32>,
    /// How long it ran.
    pub took: Duration,
    /// The lines of its standard output.
    pub stdout: Vec<String>,
    /// The lines of its standard error.
    pub stderr: Vec<String>,
}

impl Finished {
    /// The first JSON object on its standard output whose `event` is `name`.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    pub fn event(&self, name: &str) -> Value {
        self.events(name).next().unwrap_or_else(|| panic!("no event {name:?}\n{self}"))
    }

    /// All of them.
    pub fn events<'a>(&'a self, name: &'a str) -> impl Iterator<Item = Value> + 'a {
        self.stdout.iter().filter_map(move |line| event(line, name))
    }
}

impl fmt::Display for Finished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "exit code {:?} after {:?}", self.code, self.took)?;
        transcript(f, &self.stdout, &self.stderr)
    }
}

fn event(line: &str, name: &str) -> Option<Value> {
    let value: Value = serde_json::from_str(line).ok()?;
    (value.get("event")?.as_str()? == name).then_some(value)
}

/// What a program has said so far, filled by one thread for each stream.
#[derive(Debug, Default)]
struct Output {
    seen: Mutex<Seen>,
    more: Condvar,
}

impl Output {
    fn capture(self: &Arc<Self>, stream: impl Read + Send + 'static, which: fn(&mut Seen) -> &mut Vec<String>) {
        self.lock().open += 1;
        let output = Arc::clone(self);
        std::thread::spawn(move || {
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                which(&mut output.lock()).push(line);
                output.more.notify_all();
            }
            output.lock().open -= 1;
            output.more.notify_all();
        });
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn seen(&self) -> String {
        self.lock().to_string()
    }
}

#[derive(Debug, Default)]
struct Seen {
    stdout: Vec<String>,
    stderr: Vec<String>,
    /// How many streams may still say something.
    open: usize,
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        transcript(f, &self.stdout, &self.stderr)
    }
}

fn transcript(f: &mut fmt::Formatter<'_>, stdout: &[String], stderr: &[String]) -> fmt::Result {
    for (name, lines) in [("standard output", stdout), ("standard error", stderr)] {
        writeln!(f, "--- {name}")?;
        lines.iter().try_for_each(|line| writeln!(f, "{line}"))?;
    }
    Ok(())
}

const LAST: usize = 40;
const SETTLING: Duration = Duration::from_secs(10);
