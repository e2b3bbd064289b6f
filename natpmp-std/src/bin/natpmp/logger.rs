//! The library's log on standard error.

use log::{Level, LevelFilter, Log, Metadata, Record};

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
        match record.level() {
            Level::Error | Level::Warn => crate::report::note(&format!("warning: {}", record.args())),
            _ => crate::report::note(&record.args().to_string()),
        }
    }

    fn flush(&self) {}
}
