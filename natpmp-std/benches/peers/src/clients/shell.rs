//! What many a container does: a shell loop around `natpmpc` for each mapping.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::{Keep, say_open};
use crate::usage::{Memory, Usage};

/// The loops begin one after the other, within the time that is left over, and end by themselves after the last renewal: only
/// of those that have ended does the system tell what they and their children have cost. It is printed then.
pub(super) fn keep(job: &Keep) {
    let pause = f64::from(job.lifetime) / 2.0;
    let start = |(number, port): (u16, u16)| {
        let offset = pause / 2.0 * f64::from(number) / f64::from(job.count);
        let mut shell = Command::new("sh");
        shell.args(["-c", LOOP, "loop"]).args([offset.to_string(), pause.to_string(), job.renewals.to_string()]);
        shell.args([job.gateway.to_string(), port.to_string(), job.lifetime.to_string()]);
        shell.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("a shell")
    };
    let mut loops: Vec<_> = (0..job.count).zip(job.ports()).map(start).collect();
    say_open();
    // While they sleep.
    std::thread::sleep(Duration::from_secs_f64(pause * (f64::from(job.renewals) - 0.25)));
    let memory = Memory::of_descendants();
    let failures = |each: &mut Child| each.wait().expect("it ends").code().expect("by itself");
    let failures: i32 = loops.iter_mut().map(failures).sum();
    let usage = Usage::of_ended_children();
    println!("{} {} {} {} {failures}", usage.running.as_micros(), usage.wake_ups, memory.kib, memory.threads);
}

/// Its exit status is the number of calls that failed: on a machine under load, `natpmpc` may give `select` a negative time.
const LOOP: &str = r#"
failures=0
calls=$3
sleep "$1"
while :; do
    natpmpc -g "$4" -a "$5" "$5" udp "$6" || failures=$((failures + 1))
    [ "$calls" -gt 0 ] || exit "$failures"
    calls=$((calls - 1))
    sleep "$2"
done
"#;
