//! The subcommands `completions` and `man`: what they print is made from the definition of the command itself.

use std::io::{self, Write};

use clap::CommandFactory;
use clap_complete::Shell;
use clap_mangen::Man;

use crate::args::Args;
use crate::failure::Failure;
use crate::report::Report;

/// The completion script for this shell.
pub(crate) fn completions(shell: Shell, report: &mut Report) {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), "natpmp", &mut script);
    report.document(&script);
}

/// The manual page.
pub(crate) fn man(report: &mut Report) -> Result<(), Failure> {
    let page = page().map_err(|error| Failure::other("cannot make the manual page", error, ""))?;
    report.document(&page);
    Ok(())
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
