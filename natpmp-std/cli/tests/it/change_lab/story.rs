//! What a `natpmp keep` reported.

use natpmp_lab::{Finished, Value};

/// Its events and notes.
#[derive(Debug)]
pub(crate) struct Story {
    finished: Finished,
    events: Vec<Value>,
}

impl Story {
    pub(crate) fn new(finished: Finished) -> Self {
        let events = finished.stdout.iter().map(|line| serde_json::from_str(line).expect(line)).collect();
        Self { finished, events }
    }

    /// Its changes, in the words of a test: `mapped 4000 11.22.33.44`. Renewals and failures are no changes.
    pub(crate) fn changes(&self) -> Vec<String> {
        let reported = self.events.iter().filter(|event| !["renewed", "retrying"].contains(&name(event)));
        let fields = |event| match name(event) {
            "gateway" => &["event", "gateway"][..],
            "lost" => &["event"],
            _ => &["event", "external_port", "external_address"],
        };
        reported.map(|event| text(event, fields(event))).collect()
    }

    /// Whether these are its changes from its beginning to its end, at which all is unmapped.
    pub(crate) fn is(&self, expected: &[&[&str]]) {
        let expected: Vec<&str> = expected.iter().flat_map(|part| part.iter().copied()).chain(["unmapped"]).collect();
        assert_eq!(self.changes(), expected, "{}", self.finished);
    }

    /// How often it reported this event.
    pub(crate) fn count(&self, event: &str) -> usize {
        self.events.iter().filter(|reported| name(reported) == event).count()
    }

    /// The first of them.
    pub(crate) fn first(&self, event: &str) -> &Value {
        self.events
            .iter()
            .find(|reported| name(reported) == event)
            .unwrap_or_else(|| panic!("no {event}\n{}", self.finished))
    }

    /// The notes for a person.
    pub(crate) fn notes(&self, with: &str) -> usize {
        self.finished.stderr.iter().filter(|line| line.contains(with)).count()
    }

    /// The hook runs once for each change of a mapping, and for a change of the address of one that is open.
    pub(crate) fn is_what_the_hook_was_told(&self, runs: Vec<String>) {
        let mut expected = Vec::new();
        let (mut open, mut address) = (None, None);
        for event in &self.events {
            match name(event) {
                "mapped" | "changed" => {
                    open = event["external_port"].as_u64();
                    expected.push(hook(name(event), open, address));
                }
                kind @ ("lost" | "unmapped") => {
                    // What was not open is no change when it is unmapped.
                    expected.extend(open.take().map(|_| hook(kind, None, address)));
                }
                "gateway" => address = None,
                "external-address" if event.get("external_address").is_some() => {
                    let new = event["external_address"].as_str();
                    if std::mem::replace(&mut address, new) != new && open.is_some() {
                        expected.push(hook("changed", open, address));
                    }
                }
                _ => {}
            }
        }
        assert_eq!(runs, expected, "{}", self.finished);
    }

    /// The port file had each port for as long as it was told to be open, and was empty otherwise. What it had only for a moment may have
    /// been missed.
    pub(crate) fn is_what_the_port_file_had(&self, seen: &[String]) {
        let mut expected = vec![String::new()];
        for event in &self.events {
            match name(event) {
                "mapped" | "changed" => expected.push(event["external_port"].to_string()),
                "lost" | "unmapped" => expected.push(String::new()),
                _ => {}
            }
        }
        let mut rest = expected.iter();
        let is_true = seen.iter().all(|content| rest.any(|port| port == content));
        assert!(is_true, "the file had {seen:?}, and was to have {expected:?}\n{}", self.finished);
        assert_eq!(seen.last(), expected.last(), "{}", self.finished);
    }
}

fn name(event: &Value) -> &str {
    event["event"].as_str().unwrap_or_default()
}

/// These fields of an event, those that it has.
fn text(event: &Value, fields: &[&str]) -> String {
    let values = fields.iter().filter_map(|field| event.get(field));
    let words = values.map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned));
    words.collect::<Vec<_>>().join(" ")
}

fn hook(event: &str, port: Option<u64>, address: Option<&str>) -> String {
    let port = port.map(|port| port.to_string());
    let words = [Some(event), port.as_deref(), address];
    words.into_iter().flatten().collect::<Vec<_>>().join(" ")
}
