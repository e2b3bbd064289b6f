//! A `natpmp keep` with all its outputs watched.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use natpmp_lab::{Lab, Running, Value};

use super::story::Story;
use super::{NATPMP, SOON};

/// A running `natpmp keep ARGUMENTS --json` on the first client, with a hook and a port file.
#[derive(Debug)]
pub(crate) struct Keep {
    pub(crate) program: Running,
    hook_log: PathBuf,
    ports: Ports,
}

impl Keep {
    /// Starts it.
    pub(crate) fn start(lab: &Lab, arguments: &str) -> Self {
        let file = |name: &str| lab.directory().join(name);
        let (hook_log, port_file) = (file("hook.log"), file("port"));
        // One after the other in the same lab begin with nothing.
        let _ = std::fs::remove_file(&hook_log);
        let hook = format!("{HOOK} >> {}", hook_log.display());
        let all = ["keep"].into_iter().chain(arguments.split(' '));
        let all = all.chain(["--json", "--on-change", &hook, "--port-file", port_file.to_str().unwrap()]);
        let program = lab.client().spawn(NATPMP, &all.collect::<Vec<_>>());
        Self { program, hook_log, ports: Ports::watch(port_file) }
    }

    /// Starts it and waits for its first mapping.
    pub(crate) fn open(lab: &Lab, arguments: &str) -> Self {
        let mut kept = Self::start(lab, arguments);
        kept.event("mapped");
        kept
    }

    /// Waits for the next event of this name.
    pub(crate) fn event(&mut self, name: &str) -> Value {
        self.program.event(SOON, name)
    }

    /// What the port file holds now.
    pub(crate) fn port(&self) -> String {
        read(&self.ports.path)
    }

    /// Ends it as a user does. It says all there was, and has told the same to everybody.
    pub(crate) fn end(self) -> Story {
        self.program.interrupt();
        let finished = self.program.finish(SOON);
        let (hook, ports) = (read(&self.hook_log).lines().map(str::to_owned).collect(), self.ports.end());
        assert_eq!(finished.code, Some(0), "{finished}");
        let story = Story::new(finished);
        story.is_what_the_hook_was_told(hook);
        story.is_what_the_port_file_had(&ports);
        story
    }
}

/// A thread that reads the port file again and again.
#[derive(Debug)]
struct Ports {
    path: PathBuf,
    stop: Arc<AtomicBool>,
    /// Each content that was seen, without what was the same as before.
    seen: Arc<Mutex<Vec<String>>>,
    thread: JoinHandle<()>,
}

impl Ports {
    fn watch(path: PathBuf) -> Self {
        let (stop, seen) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(vec![String::new()])));
        let (stopped, contents, watched) = (Arc::clone(&stop), Arc::clone(&seen), path.clone());
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                let content = read(&watched);
                let mut contents = contents.lock().unwrap();
                if contents.last() != Some(&content) {
                    contents.push(content);
                }
                drop(contents);
                std::thread::sleep(Duration::from_millis(2));
            }
        });
        Self { path, stop, seen, thread }
    }

    fn end(self) -> Vec<String> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap();
        let mut seen = std::mem::take(&mut *self.seen.lock().unwrap());
        // It may have changed since it was last read.
        seen.push(read(&self.path));
        seen.dedup();
        seen
    }
}

/// Without the end of the line; nothing if there is no such file.
fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

/// Runs `natpmp ARGUMENTS` on a host of a lab, and expects success.
pub(crate) fn succeed(command: Command, arguments: &str) {
    let mut command = command;
    let output = command.args(arguments.split(' ')).output().unwrap();
    assert!(output.status.success(), "natpmp {arguments}: {output:?}");
}

const HOOK: &str = "echo $NATPMP_EVENT $NATPMP_EXTERNAL_PORT $NATPMP_EXTERNAL_ADDRESS";
