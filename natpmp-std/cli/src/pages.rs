//! Completions and the manual page, made from the definition of the command itself.

use std::io::{self, Write};

use clap::CommandFactory;
use clap_complete::Shell;
use clap_mangen::Man;

use crate::args::Args;
use crate::failure::Failure;
use crate::report::CANNOT_WRITE;

pub(crate) fn completions(shell: Shell) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), "natpmp", &mut script);
    print(&script)
}

pub(crate) fn man() -> Result<(), Failure> {
    let page = page().map_err(|error| Failure::other("cannot make the manual page", error, ""))?;
    print(&page)
}

/// One page for the command and all subcommands, each with its own arguments.
fn page() -> io::Result<Vec<u8>> {
    let command = Args::command();
    let main = Man::new(command.clone());
    let mut page = Vec::new();
    main.render_title(&mut page)?;
    main.render_name_section(&mut page)?;
    main.render_synopsis_section(&mut page)?;
    main.render_description_section(&mut page)?;
    main.render_options_section(&mut page)?;
    for subcommand in command.get_subcommands() {
        let name = subcommand.get_name();
        let man = Man::new(subcommand.clone().disable_help_flag(true).bin_name(format!("natpmp {name}")));
        let mut section = Vec::new();
        man.render_synopsis_section(&mut section)?;
        man.render_description_section(&mut section)?;
        man.render_options_section(&mut section)?;
        writeln!(page, ".SH NATPMP {}", name.to_uppercase())?;
        page.extend(String::from_utf8_lossy(&section).replace(".SH ", ".SS ").bytes());
    }
    main.render_extra_section(&mut page)?;
    main.render_version_section(&mut page)?;
    Ok(page)
}

fn print(text: &[u8]) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text).and_then(|()| stdout.flush()) {
        // Whoever read it has enough.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::other(CANNOT_WRITE, error, "")),
        _ => Ok(()),
    }
}
