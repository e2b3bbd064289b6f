//! Where the words of the command go: results, as text or as one JSON object a line, and beside them notes for a person.
//!
//! What the results say is in [`lines`](crate::lines).

use std::fmt;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use log::{Level, LevelFilter, Log, Metadata, Record};
use serde::Serialize;

use crate::failure::Failure;

/// Writes what the command finds, and what happens while it runs.
///
/// Results go to the one sink, in a [`Format`]; notes and warnings, which are for the person at the terminal, go to the other one. The program
/// has standard output and standard error there; a program that embeds the command has what it likes.
///
/// A sink that cannot be written to ends nothing by itself: see [`run`](crate::run).
pub struct Report {
    results: Results,
    notes: Notes,
    purpose: Purpose,
    delivery: Delivery,
}

/// In what form results are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Sentences for a person.
    Text,
    /// One JSON object a line.
    Json,
}

/// What the results are to the command, which decides what it means that they cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// All that the command is for: it fails without them.
    Answer,
    /// Words that go with work that lasts: it goes on without them, and warns.
    Commentary,
}

/// Whether results reach whoever reads them.
#[derive(Debug)]
enum Delivery {
    /// All of them did so far.
    Working,
    /// Whoever read them has closed the pipe.
    Closed,
    /// One could not be written: the first error.
    Failed(io::Error),
}

impl Report {
    /// A report whose results go to `results` in this format, and whose notes go to `notes`.
    #[must_use]
    pub fn new(format: Format, results: impl Write + Send + 'static, notes: impl Write + Send + 'static) -> Self {
        Self {
            results: Results { sink: Sink::new(results), format },
            notes: Notes(Sink::new(notes)),
            purpose: Purpose::Answer,
            delivery: Delivery::Working,
        }
    }

    pub(crate) fn with_purpose(self, purpose: Purpose) -> Self {
        Self { purpose, ..self }
    }

    /// In what form results are written.
    #[must_use]
    pub const fn format(&self) -> Format {
        self.results.format
    }

    /// Whether nobody reads the results any more.
    pub(crate) const fn is_closed(&self) -> bool {
        matches!(self.delivery, Delivery::Closed)
    }

    /// For those who write results from threads of their own.
    pub(crate) fn results(&self) -> Results {
        self.results.clone()
    }

    /// For those who have notes, and no results.
    pub(crate) fn notes(&self) -> Notes {
        self.notes.clone()
    }

    /// A result: the JSON object, or `text`.
    pub(crate) fn result(&mut self, line: &impl Serialize, text: &str) {
        let written = self.results.write(line, text);
        self.record_delivery(written);
    }

    /// What is a result in JSON, and a note for a person.
    pub(crate) fn event(&mut self, line: &impl Serialize, text: &str) {
        match self.format() {
            Format::Json => self.result(line, ""),
            Format::Text => self.note(text),
        }
    }

    /// A result that is a document, and the same in each format.
    pub(crate) fn document(&mut self, document: &[u8]) {
        let written = self.results.sink.write(document);
        self.record_delivery(written);
    }

    /// For the person who reads the notes.
    pub(crate) fn note(&self, text: &str) {
        self.notes.note(text);
    }

    fn record_delivery(&mut self, written: io::Result<()>) {
        let Err(error) = written else { return };
        match (&self.delivery, self.purpose) {
            // The first failure is what an answer fails for, whatever follows.
            (Delivery::Failed(_), Purpose::Answer) => {}
            _ if error.kind() == io::ErrorKind::BrokenPipe => self.delivery = Delivery::Closed,
            (Delivery::Working, purpose) => {
                if purpose == Purpose::Commentary {
                    self.notes.warn(&format!("{CANNOT_WRITE}: {error}; going on without"));
                }
                self.delivery = Delivery::Failed(error);
            }
            (Delivery::Closed | Delivery::Failed(_), _) => {}
        }
    }

    /// Whether all results could be written, if they are what the command is for. That nobody reads them is no failure.
    pub(crate) fn delivered(&mut self) -> Result<(), Failure> {
        match (std::mem::replace(&mut self.delivery, Delivery::Working), self.purpose) {
            (Delivery::Failed(error), Purpose::Answer) => Err(Failure::other(CANNOT_WRITE, error, "")),
            _ => Ok(()),
        }
    }
}

impl fmt::Debug for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Report")
            .field("format", &self.format())
            .field("delivery", &self.delivery)
            .finish_non_exhaustive()
    }
}

/// Results by themselves. Clones write to the same place.
#[derive(Clone)]
pub(crate) struct Results {
    sink: Sink,
    format: Format,
}

impl Results {
    /// Writes the JSON object, or `text`.
    pub(crate) fn write(&self, line: &impl Serialize, text: &str) -> io::Result<()> {
        match self.format {
            Format::Json => self.sink.write_line(&serde_json::to_string(line).unwrap_or_default()),
            Format::Text => self.sink.write_line(text),
        }
    }
}

/// Words for a person. Clones write to the same place. That nobody reads them is no reason to stop.
#[derive(Clone, Debug)]
pub(crate) struct Notes(Sink);

impl Notes {
    pub(crate) fn note(&self, text: &str) {
        let _ = self.0.write_line(text);
    }

    pub(crate) fn warn(&self, text: &str) {
        self.note(&format!("warning: {text}"));
    }
}

/// Something to write to, one line at a time, whichever thread writes it.
#[derive(Clone)]
struct Sink(Arc<Mutex<dyn Write + Send>>);

impl Sink {
    fn new(to: impl Write + Send + 'static) -> Self {
        Self(Arc::new(Mutex::new(to)))
    }

    fn write_line(&self, text: &str) -> io::Result<()> {
        self.write(format!("{}\n", printable(text)).as_bytes())
    }

    fn write(&self, bytes: &[u8]) -> io::Result<()> {
        let mut sink = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sink.write_all(bytes).and_then(|()| sink.flush())
    }
}

impl fmt::Debug for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sink").finish_non_exhaustive()
    }
}

/// Wherever a text comes from, an interface that somebody named or a program that complains: it is no command to the terminal.
fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() && c != '\n' && c != '\t' { char::REPLACEMENT_CHARACTER } else { c })
        .collect()
}

/// Has standard error show what the libraries log: warnings always, all of it if `is_verbose`.
pub(crate) fn log_to_stderr(is_verbose: bool) {
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
        let notes = Notes(Sink::new(io::stderr()));
        match record.level() {
            Level::Error | Level::Warn => notes.warn(&record.args().to_string()),
            _ => notes.note(&record.args().to_string()),
        }
    }

    fn flush(&self) {}
}

const CANNOT_WRITE: &str = "cannot write to standard output";

/// A sink whose lines a test reads. Clones are the same sink.
#[cfg(test)]
#[derive(Clone, Default)]
pub(crate) struct Buffer(Arc<Mutex<Vec<u8>>>);

#[cfg(test)]
impl Buffer {
    pub(crate) fn lines(&self) -> Vec<String> {
        let bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&bytes).lines().map(str::to_owned).collect()
    }
}

#[cfg(test)]
impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_command_a_terminal_is_not_printed() {
        assert_eq!(printable("eth0\x1b[2J\u{9b}31m\x7f\r\x07"), "eth0\u{fffd}[2J\u{fffd}31m\u{fffd}\u{fffd}\u{fffd}");
        assert_eq!(printable("two lines,\nand a\ttab: ü"), "two lines,\nand a\ttab: ü");
    }

    #[test]
    fn an_answer_that_cannot_be_written_fails_and_one_that_nobody_reads_does_not() {
        for (error, fails) in [(io::ErrorKind::StorageFull, true), (io::ErrorKind::BrokenPipe, false)] {
            let mut report = Report::new(Format::Text, Broken(error), io::sink());
            report.document(b"1\n");
            report.document(b"2\n");
            assert_eq!((report.is_closed(), report.delivered().is_err()), (!fails, fails), "{error}");
        }
    }

    #[test]
    fn work_that_lasts_goes_on_without_its_words_and_warns_once() {
        let notes = Buffer::default();
        let full = Broken(io::ErrorKind::StorageFull);
        let mut report = Report::new(Format::Text, full, notes.clone()).with_purpose(Purpose::Commentary);
        report.document(b"1\n");
        report.document(b"2\n");
        report.note("a note");
        assert!(!report.is_closed() && report.delivered().is_ok());
        let lines = notes.lines();
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(lines[0].starts_with("warning: cannot write to standard output: "), "{lines:?}");
        assert_eq!(lines[1], "a note");
    }

    /// What cannot be written to.
    struct Broken(io::ErrorKind);

    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
}
