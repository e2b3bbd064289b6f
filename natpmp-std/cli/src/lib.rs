//! The `natpmp` command as a library: port mappings by NAT-PMP (RFC 6886) from the shell, and a gateway for Linux boxes.
//!
//! [`main`] is the whole program. A program that embeds the command reads [`Args`] and hands them to [`run`], with sinks of its own for results
//! and notes:
//!
//! ```
//! use clap::Parser;
//!
//! let args = natpmp_cli::Args::try_parse_from(["natpmp", "gateway", "--gateway", "192.168.1.1", "--json"])?;
//! natpmp_cli::run(&args, std::io::stdout(), std::io::stderr())?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! One that talks to gateways by itself, with `natpmp-std`, and wants to say the same as the command takes a [`Report`]: it has a method for
//! each event of the command's JSON. [`KeepReporter`] says what `natpmp keep` says, and [`Failure`] has the exit codes.
//!
//! | module | what it is about |
//! | --- | --- |
//! | [`args`] | the arguments |
//! | `once`, `pages` | subcommands that end by themselves |
//! | `keep` with `keep_report`, `watch`, `serve`, `demo` | subcommands that go on |
//! | `report`, `lines`, `failure` | what is said, where and in which form |
//! | `hook`, `port_file`, `notify`, `signals` | how the system is spoken to |
#![cfg_attr(test, allow(clippy::arithmetic_side_effects, reason = "a test whose numbers overflow has failed"))]

pub mod args;
mod demo;
mod failure;
mod hook;
mod keep;
mod keep_report;
mod lines;
mod notify;
mod once;
mod pages;
mod port_file;
mod report;
mod serve;
mod signals;
mod watch;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;

use args::Command;
use report::Purpose;

pub use args::Args;
pub use failure::Failure;
pub use keep_report::KeepReporter;
pub use report::{Format, Report};

/// Runs the command with the arguments and streams of this process, and returns its exit code.
///
/// Arguments that make no sense, `--help` and `--version` end the process.
#[must_use]
pub fn main() -> ExitCode {
    // Clap itself ends the program with exit code 2 on bad usage.
    let args = Args::parse();
    report::log_to_stderr(args.global.verbose);
    match run(&args, io::stdout(), io::stderr()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => ExitCode::from(failure.exit_code()),
    }
}

/// Runs the command with these arguments. Results go to the first sink, and notes, warnings and the failure to the second one.
///
/// `keep`, `serve` and `watch` go on until a signal asks them to end, or the sink of the results reports a broken pipe; they catch these
/// signals for the whole process, and a second signal to `keep` ends it. What the libraries log goes where the program's logger puts it, and the
/// hook of `keep` writes to standard error.
///
/// # Errors
/// If the command fails, or its results could not be written where they are what it is for. The failure has been reported by then.
pub fn run(
    args: &Args,
    results: impl Write + Send + 'static,
    notes: impl Write + Send + 'static,
) -> Result<(), Failure> {
    let format = if args.global.json { Format::Json } else { Format::Text };
    let mut report = Report::new(format, results, notes).with_purpose(purpose(&args.command));
    let result = dispatch(args, &mut report).and_then(|()| report.delivered());
    if let Err(failure) = &result {
        report.failure(failure);
    }
    result
}

fn dispatch(args: &Args, report: &mut Report) -> Result<(), Failure> {
    let global = &args.global;
    match &args.command {
        Command::Gateway { all: false } => once::gateway(global, report),
        Command::Gateway { all: true } => once::all_gateways(global, report),
        Command::ExternalAddress => once::external_address(global, report),
        Command::Map { mapping } => once::map(global, mapping, report),
        Command::Keep(keep) => keep::keep(global, keep, report),
        Command::Unmap { protocol, internal_port } => once::unmap(global, *protocol, *internal_port, report),
        Command::UnmapAll { protocol } => once::unmap_all(global, *protocol, report),
        Command::Serve(serve) => serve::serve(global, serve, report),
        Command::Demo => demo::demo(report),
        Command::Watch => watch::watch(global, report),
        Command::Completions { shell } => {
            pages::completions(*shell, report);
            Ok(())
        }
        Command::Man => pages::man(report),
    }
}

/// What lasts does its work whether its words can be written or not.
const fn purpose(command: &Command) -> Purpose {
    match command {
        Command::Keep(_) | Command::Serve(_) | Command::Watch => Purpose::Commentary,
        _ => Purpose::Answer,
    }
}
