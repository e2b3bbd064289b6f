//! The `natpmp` command: port mappings from the shell, as a library. [`main`] is the whole of it.
#![allow(missing_docs)]
#![cfg_attr(test, allow(clippy::arithmetic_side_effects, reason = "a test whose numbers overflow has failed"))]

pub mod args;
mod demo;
pub mod failure;
pub mod gateways;
mod hook;
pub mod keep;
mod logger;
mod notify;
pub mod once;
mod pages;
mod port_file;
pub mod report;
mod serve;
mod signals;
pub mod watch;

use std::process::ExitCode;

use clap::Parser;

use args::{Args, Command};
use failure::Failure;
use report::Report;

/// Runs the command with the arguments and streams of this process, and says its exit code.
#[must_use]
pub fn main() -> ExitCode {
    // Clap itself ends the program with exit code 2 on bad usage.
    let args = Args::parse();
    logger::init(args.global.verbose);
    let mut report = Report::new(args.global.json, Box::new(std::io::stdout()));
    // What lasts does its work whether its words can be written or not.
    report.is_lasting = matches!(args.command, Command::Keep(_) | Command::Serve(_) | Command::Watch);
    match run(&args, &mut report).and_then(|()| report.written()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            report.failed(&failure);
            ExitCode::from(failure.code)
        }
    }
}

fn run(args: &Args, report: &mut Report) -> Result<(), Failure> {
    let global = &args.global;
    match &args.command {
        Command::Gateway { all: false } => once::gateway(global, report),
        Command::Gateway { all: true } => gateways::gateways(global, report),
        Command::ExternalAddress => once::external_address(global, report),
        Command::Map { mapping } => once::map(global, mapping, report),
        Command::Keep(keep) => keep::keep(global, keep, report),
        Command::Unmap { protocol, internal_port } => once::unmap(global, *protocol, *internal_port, report),
        Command::UnmapAll { protocol } => once::unmap_all(global, *protocol, report),
        Command::Serve(serve) => serve::serve(global, serve, report),
        Command::Demo => demo::demo(report),
        Command::Watch => watch::watch(global, report),
        Command::Completions { shell } => pages::completions(*shell),
        Command::Man => pages::man(),
    }
}
