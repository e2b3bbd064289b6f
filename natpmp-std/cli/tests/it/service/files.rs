//! The files that are tested, as their readers have them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A file of the folder `service`.
pub(crate) fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("service").join(name)
}

pub(crate) fn read(name: &str) -> String {
    std::fs::read_to_string(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// What a unit says, for one instance of it. A setting that is given several times has several values.
pub(crate) struct Unit(BTreeMap<String, Vec<String>>);

impl Unit {
    pub(crate) fn read(name: &str, instance: &str) -> Self {
        let mut settings: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for line in read(name).lines().filter(|line| !line.starts_with(['#', '[']) && !line.is_empty()) {
            let (key, value) = line.split_once('=').unwrap_or_else(|| panic!("{name}: {line}"));
            let value = value.replace("%t", "/run").replace("%S", "/var/lib").replace("%i", instance);
            assert!(!value.contains('%'), "{name}: {line}");
            settings.entry(key.to_owned()).or_default().push(value);
        }
        Self(settings)
    }

    /// The only value of a setting.
    #[track_caller]
    pub(crate) fn get(&self, key: &str) -> &str {
        let [value] = &self.0[key][..] else { panic!("{key} has several values") };
        value
    }

    /// The program and its arguments, with these in the place of `$ARGS`.
    pub(crate) fn command_line(&self, arguments: &[&str]) -> Vec<String> {
        let words = self.get("ExecStart").split(' ');
        words
            .flat_map(|word| if word == "$ARGS" { arguments } else { std::slice::from_ref(&word) }.to_vec())
            .map(str::to_owned)
            .collect()
    }
}

/// The blocks of code of the README beside the units, by their language.
pub(crate) fn blocks(language: &str) -> Vec<String> {
    let text = read("README.md");
    let mut blocks = Vec::new();
    let mut open: Option<(bool, String)> = None;
    for line in text.lines() {
        if let Some(opened) = line.strip_prefix("```") {
            match open.take() {
                Some((true, block)) => blocks.push(block),
                Some(_) => {}
                None => open = Some((opened == language, String::new())),
            }
        } else if let Some((_, block)) = &mut open {
            *block += line;
            block.push('\n');
        }
    }
    blocks
}

pub(crate) const KEEP: &str = "natpmp-keep@.service";
pub(crate) const SERVE: &str = "natpmp-serve@.service";
