//! `natpmp demo`: the whole of it on one machine, with no router, root or network.

use std::process::{Command, Output};

use super::NATPMP;

fn demo(arguments: &[&str]) -> (Output, String) {
    let output = Command::new(NATPMP).arg("demo").args(arguments).output().unwrap();
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    (output, text)
}

#[test]
fn it_shows_every_step_and_succeeds() {
    let (output, text) = demo(&[]);
    assert!(output.status.success(), "{text}\n{output:?}");
    let mut rest = text.as_str();
    for step in [
        "what is the external address?",
        "it is 127.0.0.2",
        "map tcp port",
        "map udp port",
        "got \"hello from outside\" back",
        "refused",
        "my external address is 127.0.0.2 (up for 0 s)",
        "has lost my mappings",
        "is open at 127.0.0.2:",
        "got \"hello from outside\" back",
        "delete my mapping",
        "is not mapped any more",
        "refused",
        "Every step held.",
    ] {
        let (_, after) =
            rest.split_once(step).unwrap_or_else(|| panic!("\"{step}\" is missing, or out of order:\n{text}"));
        rest = after;
    }
}

#[test]
fn it_tells_the_same_to_a_program() {
    let (output, text) = demo(&["--json"]);
    assert!(output.status.success(), "{text}\n{output:?}");
    for line in text.lines() {
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(value["event"], "demo", "{line}");
        assert!(value["who"].is_string() && value["text"].is_string(), "{line}");
    }
}
