//! Completions and the manual page, made from the definition of the command itself.

use std::io::{self, Write};

use clap::CommandFactory;
use clap_complete::Shell;

use crate::args::Args;
use crate::failure::Failure;

pub(crate) fn completions(shell: Shell) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), "natpmp", &mut script);
    print(&script)
}

pub(crate) fn man() -> Result<(), Failure> {
    let mut page = Vec::new();
    let command = Args::command().flatten_help(true);
    clap_mangen::Man::new(command)
        .render(&mut page)
        .map_err(|error| Failure::other("cannot make the manual page", error, ""))?;
    print(&page)
}

fn print(text: &[u8]) -> Result<(), Failure> {
    io::stdout().write_all(text).map_err(|error| Failure::other("cannot write to standard output", error, ""))
}
