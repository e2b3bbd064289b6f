//! `SECURITY.md` claims nothing that no test proves.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

#[test]
fn every_claim_names_tests_that_exist() {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut tests = BTreeSet::new();
    for member in ["natpmp-proto", "natpmp-std", "natpmp-smol"] {
        collect(&workspace.join(member), &mut tests);
    }
    let page = fs::read_to_string(workspace.join("natpmp-proto/SECURITY.md")).unwrap();
    let (mut claims, mut named) = (0, 0);
    for row in
        page.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| claim") && !line.starts_with("| ---"))
    {
        let (claim, proof) = row.trim_end_matches(" |").rsplit_once(" | ").unwrap();
        claims += 1;
        assert!(!tests_of(proof).is_empty(), "no test proves: {claim}");
    }
    for test in tests_of(&page) {
        named += 1;
        assert!(tests.contains(test), "SECURITY.md names the test `{test}`, which does not exist");
    }
    assert!(claims > 30 && named > claims, "{claims} claims, {named} tests");
}

#[test]
fn tests_are_told_from_other_words_and_from_what_only_looks_like_one() {
    assert_eq!(
        tests_of("`rp_filter=0`, `a_test_that_is_there` and `nft`, not a_word_without_marks"),
        ["a_test_that_is_there"]
    );
    let text = "\
#[test]
#[cfg(unix)]
fn one() {
fn a_helper() {}
with_each_nat!(two, three);
    on_each_adapter!(
        four,
        #[cfg(unix)]
        four_too,
    );
fn four(nat: Nat) {}
/// #[test]
fn not_one() {}
    proptest! {
        #[test]
        fn five(value in any::<u8>()) {}
    }
";
    assert_eq!(tests_in(text), ["one", "five", "two", "three", "four", "four_too"]);
}

/// The names between backquotes that have the form of a test's: a sentence.
fn tests_of(text: &str) -> Vec<&str> {
    let quoted = text.split('`').skip(1).step_by(2);
    let is_sentence = |word: &&str| {
        word.matches('_').count() >= 3
            && word.bytes().all(|b| b == b'_' || b.is_ascii_lowercase() || b.is_ascii_digit())
    };
    quoted.filter(is_sentence).filter(|word| *word != "ip_local_port_range").collect()
}

fn collect(directory: &Path, tests: &mut BTreeSet<String>) {
    for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() && path.file_name().unwrap() != "target" {
            collect(&path, tests);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            tests.extend(tests_in(&fs::read_to_string(path).unwrap()).into_iter().map(str::to_owned));
        }
    }
}

/// Functions after `#[test]`, and those that a macro makes tests of.
fn tests_in(text: &str) -> Vec<&str> {
    let mut tests = Vec::new();
    let mut is_test = false;
    for line in text.lines().map(str::trim) {
        if line == "#[test]" {
            is_test = true;
        } else if let Some(rest) = line.strip_prefix("fn ") {
            if std::mem::take(&mut is_test) {
                tests.push(rest.split('(').next().unwrap());
            }
        } else if !line.starts_with("#[") && !line.starts_with("//") {
            is_test = false;
        }
    }
    for list in ["with_each_nat!(", "on_each_adapter!("].iter().flat_map(|name| text.split(name).skip(1)) {
        let names = list.split(");").next().unwrap();
        // An attribute may come before a name.
        tests.extend(names.split(',').filter_map(|name| name.split_whitespace().last()));
    }
    tests
}
