//! Who is measured, and how one is told to do something.

use std::io::Read;
use std::net::Ipv4Addr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::clients::OPEN;

/// The clients that are here. What is not installed is left out, and said so.
pub struct Peers {
    libnatpmp: Option<PathBuf>,
    has_natpmpc: bool,
}

/// How a client fared with its first mapping.
#[derive(Clone)]
pub enum Outcome {
    Open(Duration),
    Failed(Duration, String),
    /// It was still at it after this time.
    Waits(Duration),
}

impl Peers {
    pub fn find() -> Self {
        let has_natpmpc = runs(Command::new("natpmpc").arg("-h"));
        let target = crate::source().join("target");
        // Cargo's own may be elsewhere.
        std::fs::create_dir_all(&target).expect("a place for what is built");
        let libnatpmp = target.join("libnatpmp");
        let source = crate::source().join("programs/libnatpmp.c");
        let is_built = runs(Command::new("cc").args(["-O2", "-o"]).arg(&libnatpmp).arg(source).arg("-lnatpmp"));
        for (is_here, what) in [(has_natpmpc, "natpmpc"), (is_built, "libnatpmp (with a C compiler and libnatpmp-dev)")]
        {
            if !is_here {
                eprintln!("not measured, since it is not installed: {what}");
            }
        }
        assert!(
            has_natpmpc && is_built || std::env::var_os("NATPMP_REQUIRE_LAB").is_none(),
            "NATPMP_REQUIRE_LAB is set, and peers are missing"
        );
        Self { libnatpmp: is_built.then_some(libnatpmp), has_natpmpc }
    }

    /// Those of `names` that are here.
    pub fn of<'a>(&'a self, names: &'a [&'static str]) -> impl Iterator<Item = &'static str> + 'a {
        names.iter().copied().filter(|&name| match name {
            LIBNATPMP => self.libnatpmp.is_some(),
            NATPMPC | NATPMPC_LOOP => self.has_natpmpc,
            _ => true,
        })
    }

    /// The command that does a job.
    pub fn command(&self, name: &str, job: &str, gateway: Ipv4Addr) -> Command {
        self.command_of(&this_program(), name, job, gateway)
    }

    /// The same, where `program` stands for this one.
    pub fn command_of(&self, program: &Path, name: &str, job: &str, gateway: Ipv4Addr) -> Command {
        let mut command = match (name, &self.libnatpmp) {
            (LIBNATPMP, Some(libnatpmp)) => Command::new(libnatpmp),
            _ => {
                let mut command = Command::new(program);
                command.args(["client", name]);
                command
            }
        };
        command.args([job, &gateway.to_string()]);
        command
    }

    /// Makes a client and its first mapping.
    pub fn first(&self, name: &str, gateway: Ipv4Addr, patience: Duration) -> Outcome {
        if name == NATPMPC {
            return first_by_natpmpc(gateway, patience);
        }
        let Some((output, _)) = run(&mut self.command(name, "first", gateway), patience) else {
            return Outcome::Waits(patience);
        };
        let (nanoseconds, ending) = output.trim().split_once(' ').expect("two words");
        let time = Duration::from_nanos(nanoseconds.parse().expect("a number"));
        if ending == OPEN { Outcome::Open(time) } else { Outcome::Failed(time, ending.into()) }
    }
}

/// What there is to measure is the whole process, which asks for the external address first.
fn first_by_natpmpc(gateway: Ipv4Addr, patience: Duration) -> Outcome {
    let begun = Instant::now();
    let mut command = Command::new(NATPMPC);
    command.args(["-g", &gateway.to_string(), "-a", "10000", "10000", "udp", "7200"]).stderr(Stdio::null());
    match run(&mut command, patience) {
        None => Outcome::Waits(patience),
        Some((_, true)) => Outcome::Open(begun.elapsed()),
        Some((output, false)) => {
            Outcome::Failed(begun.elapsed(), output.trim().lines().last().unwrap_or_default().into())
        }
    }
}

/// What it prints, and whether it ends well; `None` if it is still at it after `patience`, and killed.
pub fn run(command: &mut Command, patience: Duration) -> Option<(String, bool)> {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("a process");
    let mut pipe = child.stdout.take().expect("it is piped");
    let (sender, receiver) = mpsc::channel();
    let reader = std::thread::spawn(move || {
        let mut output = String::new();
        let _ = pipe.read_to_string(&mut output);
        let _ = sender.send(output);
    });
    let output = receiver.recv_timeout(patience).ok();
    if output.is_none() {
        let _ = child.kill();
    }
    let is_good = child.wait().expect("it ends").success();
    let _ = reader.join();
    output.map(|output| (output, is_good))
}

/// A child that is killed when it is dropped, with all that it has started.
pub struct Running(pub Child);

impl Running {
    pub fn start(command: &mut Command) -> Self {
        Self(command.process_group(0).spawn().expect("a process"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Ok(None) = self.0.try_wait() {
            let _ = killpg(Pid::from_raw(self.0.id() as i32), Signal::SIGKILL);
        }
        let _ = self.0.wait();
    }
}

pub fn this_program() -> PathBuf {
    std::env::current_exe().expect("the path of this program")
}

fn runs(command: &mut Command) -> bool {
    command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

pub const STD: &str = "natpmp-std";
pub const STD_QUICK: &str = "natpmp-std, quick";
pub const SMOL: &str = "natpmp-smol";
pub const CRAB_NAT: &str = "crab_nat";
pub const NATPMP_ASYNC: &str = "natpmp, async";
pub const NATPMP_BLOCKING: &str = "natpmp, blocking";
pub const LIBNATPMP: &str = "libnatpmp";
pub const NATPMPC: &str = "natpmpc";
pub const NATPMPC_LOOP: &str = "natpmpc loop";

/// Whether it is this implementation.
pub fn is_ours(name: &str) -> bool {
    ["natpmp-std", "natpmp-smol", "natpmp-proto"].iter().any(|ours| name.starts_with(ours))
}
