//! Where the command's words go: results to standard output, notes to standard error.

use std::io::{self, Write};

/// A line of results.
pub(crate) fn result(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{text}").and_then(|()| stdout.flush())
}

/// For the person who reads standard error. That nobody reads it is no reason to stop.
pub(crate) fn note(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}
