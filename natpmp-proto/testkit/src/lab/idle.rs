//! What wakes a program that has nothing to do.

use std::fs;
use std::path::Path;
use std::time::Duration;

use super::process::Running;
use super::wait::wait_until;

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

const SETTLING: Duration = Duration::from_secs(10);
