//! Says what happens as it happens.

use std::sync::Arc;
use std::time::Instant;

use crate::report::{Line, Report};

/// May be cloned; all clones tell the same story.
#[derive(Clone, Debug)]
pub(super) struct Timeline {
    start: Arc<Instant>,
    is_json: bool,
}

impl Timeline {
    pub(super) fn new(report: &Report) -> Self {
        Self { start: Arc::new(Instant::now()), is_json: report.is_json() }
    }

    /// What is to come.
    pub(super) fn chapter(&self, text: &str) {
        self.tell("demo", text, || format!("\n{text}"));
    }

    /// What somebody did or sent.
    pub(super) fn says(&self, who: &str, text: &str) {
        self.tell(who, text, || format!("{:7.3} s  {who:<17} {text}", self.start.elapsed().as_secs_f64()));
    }

    fn tell(&self, who: &str, text: &str, line: impl FnOnce() -> String) {
        let json = Line { event: "demo", who: Some(who.to_owned()), text: Some(text.to_owned()), ..Line::default() };
        // Whoever read it is gone: the demonstration goes on for its exit code.
        Report::new(self.is_json, Box::new(std::io::stdout())).result(&json, &line());
    }
}
