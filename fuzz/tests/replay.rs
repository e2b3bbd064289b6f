//! What the fuzzer found is replayed, without a fuzzer.
#![cfg(test)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use natpmp_fuzz::TARGETS;

#[test]
fn every_committed_input_leaves_the_invariant_of_its_target_standing() {
    for (name, run) in TARGETS {
        let files: Vec<PathBuf> = ["corpus", "regressions"].iter().flat_map(|of| files(&of_target(of, name))).collect();
        assert!(!files.is_empty(), "{name} has a corpus");
        for file in files {
            let bytes = fs::read(&file).unwrap();
            let result = std::panic::catch_unwind(|| run(&bytes));
            assert!(
                result.is_ok(),
                "{} fails: cargo run -p natpmp-fuzz --bin {name} -- {}",
                file.display(),
                file.display()
            );
        }
    }
}

/// A target that is not in the list would be neither replayed nor fuzzed.
#[test]
fn every_target_has_a_program_and_every_corpus_a_target() {
    let targets: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    let stems = |directory: &str| -> BTreeSet<String> {
        let stem = |file: &PathBuf| file.file_stem().unwrap().to_string_lossy().into_owned();
        files(&here().join(directory)).iter().map(stem).collect()
    };
    assert_eq!(stems("fuzz_targets"), targets);
    assert_eq!(stems("corpus"), targets);
    assert!(stems("regressions").is_subset(&targets));
}

/// What the check of the command's JSON allows is what the README documents.
#[test]
#[cfg(target_os = "linux")]
fn the_events_and_fields_of_the_commands_json_are_in_the_readme() {
    let readme = fs::read_to_string(here().join("../README.md")).unwrap();
    let events = natpmp_fuzz::json::EVENTS.iter().map(|(name, ..)| name);
    for name in events.chain(natpmp_fuzz::json::FIELDS) {
        assert!(readme.contains(&format!("`{name}`")), "{name}");
    }
}

/// A check of what is never printed would prove nothing.
#[test]
#[cfg(target_os = "linux")]
fn the_corpus_of_the_commands_json_has_it_print_every_event() {
    let mut printed = BTreeSet::new();
    for file in files(&of_target("corpus", "json")) {
        for line in natpmp_fuzz::json::lines(&fs::read(file).unwrap()) {
            let line: serde_json::Value = serde_json::from_str(&line).unwrap();
            printed.insert(line["event"].as_str().unwrap().to_owned());
        }
    }
    let documented: BTreeSet<String> = natpmp_fuzz::json::EVENTS.iter().map(|(name, ..)| (*name).to_owned()).collect();
    assert_eq!(printed, documented);
}

fn here() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn of_target(directory: &str, target: &str) -> PathBuf {
    here().join(directory).join(target)
}

/// In the order of their names; none if there is no such directory.
fn files(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}
