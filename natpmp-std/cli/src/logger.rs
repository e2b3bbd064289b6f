//! The library's log on standard error.

use std::io::{self, Write};

use log::{Level, LevelFilter, Log, Metadata, Record};

use crate::report::{NOTE, printable};

/// Warnings always, all of it if `is_verbose`.
pub(crate) fn init(is_verbose: bool) {
    let level = if is_verbose { LevelFilter::Debug } else { LevelFilter::Warn };
    // It is set once, at the start.
    if log::set_logger(&Stderr).is_ok() {
        log::set_max_level(level);
    }
}

struct Stderr;

impl Log for Stderr {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("natpmp")
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let is_warning = record.target() != NOTE && record.level() <= Level::Warn;
        let text = format!("{}{}", if is_warning { "warning: " } else { "" }, record.args());
        // That nobody reads it is no reason to stop.
        let _ = writeln!(io::stderr(), "{}", printable(&text));
    }

    fn flush(&self) {}
}
