//! Every requirement of RFC 6886 is named by a test, and `RFC6886.md` leads from the requirement to the test.
//!
//! A test names the requirements that it proves by their ids, in its doc comment, in its name or in a comment of its body.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

#[test]
fn every_requirement_is_named_by_a_test_and_every_named_one_exists() {
    let workspace = workspace();
    let named = named(&workspace);
    let missing: Vec<_> = ROWS.iter().map(|row| row.id).filter(|id| !named.contains_key(*id)).collect();
    assert!(
        missing.is_empty(),
        "no test names {missing:?}: name them in the doc comments of the tests that prove them"
    );
    let unknown: Vec<_> = named.iter().filter(|(id, _)| ROWS.iter().all(|row| row.id != *id)).collect();
    assert!(unknown.is_empty(), "these are no requirements: {unknown:?}");
}

#[test]
fn the_table_leads_from_every_requirement_to_its_tests() {
    let workspace = workspace();
    let expected = table(&named(&workspace));
    let path = workspace.join("natpmp-proto/RFC6886.md");
    if std::env::var_os(WRITE).is_some() {
        fs::write(&path, &expected).unwrap();
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    let difference = found.lines().zip(expected.lines()).find(|(found, expected)| found != expected);
    assert!(found == expected, "RFC6886.md is not up to date, at {difference:?}: write it with\n  {COMMAND}");
}

#[test]
fn ids_are_found_where_tests_name_them_and_nowhere_else() {
    let text = "\
/// C01, and C02: not C3, C004 or 0xC05.
#[test]
#[cfg(unix)]
fn by_its_comment() {
    let _ = \"C10\"; // C06
    // C07
    if true {
    }
}
/// C08
fn helper() {}

/// C09
struct Other;
mod tests {
    #[test]
    fn c11_by_its_name() {
        // nothing
    }
    proptest! {
        /// C12
        #[test]
        fn by_property(value in any::<u8>()) {
            prop_assert!(true);
        }
    }
}
";
    let expected = [("by_its_comment", "C01 C02 C06 C07"), ("c11_by_its_name", "C11"), ("by_property", "C12")];
    let found: Vec<_> = tests_in(text).into_iter().map(|(name, ids)| (name, joined(&ids, " "))).collect();
    assert_eq!(found, expected.map(|(name, ids)| (name.to_owned(), ids.to_owned())));

    let scenarios = "\
        (\"it is so\", first),
        (
            \"it is otherwise, and at some length\",
            second,
        ),
/// C01
fn first<W: World>(world: &mut W) {
    // C02
}

/// C03
fn second<W: World>(world: &mut W) {
}

/// C04
fn third<W: World>(world: &mut W) {
}
";
    let expected = [("it is so", "C01 C02"), ("it is otherwise, and at some length", "C03")];
    let found: Vec<_> = tests_in(scenarios).into_iter().map(|(name, ids)| (name, joined(&ids, " "))).collect();
    assert_eq!(found, expected.map(|(name, ids)| (name.to_owned(), ids.to_owned())));

    let behaviours = "\
on_each_adapter!(
    first,
    #[cfg(unix)]
    second,
);

/// C01
fn first<A: Adapter>() {
    // C02
}

/// C03
#[cfg(unix)]
fn second<A: Adapter>() {
}

/// C04
fn helper<A: Adapter>() {
}
";
    let expected = [("first", "C01 C02"), ("second", "C03")];
    let found: Vec<_> = tests_in(behaviours).into_iter().map(|(name, ids)| (name, joined(&ids, " "))).collect();
    assert_eq!(found, expected.map(|(name, ids)| (name.to_owned(), ids.to_owned())));
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// The tests that name each id, by their file.
type Named = BTreeMap<String, BTreeMap<String, Vec<String>>>;

fn named(workspace: &Path) -> Named {
    let mut files = Vec::new();
    collect(workspace, &mut files);
    files.sort();
    let mut named = Named::new();
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let path = file.strip_prefix(workspace).unwrap().to_str().unwrap().replace('\\', "/");
        // Examples of this file are no tests.
        if path.ends_with(file!().rsplit(['/', '\\']).next().unwrap()) {
            continue;
        }
        for (name, ids) in tests_in(&text) {
            for id in ids.into_iter().filter(|id| is_covered(id)) {
                named.entry(id).or_default().entry(path.clone()).or_default().push(name.clone());
            }
        }
    }
    named
}

/// Whether the table has rows of this kind at all.
fn is_covered(id: &str) -> bool {
    ROWS.iter().any(|row| row.id[..1] == id[..1])
}

/// All Rust files, but for those that are built or hidden.
fn collect(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            if name != "target" && !name.starts_with('.') {
                collect(&path, files);
            }
        } else if name.ends_with(".rs") {
            files.push(path);
        }
    }
}

/// The tests, behaviours and scenarios of a file that name ids. The file is formatted as rustfmt does it: a function ends with a
/// brace on the level on which it began.
fn tests_in(text: &str) -> Vec<(String, BTreeSet<String>)> {
    let lines: Vec<&str> = text.lines().collect();
    let behaviours = behaviours(text);
    let mut found = Vec::new();
    let (mut ids, mut is_test) = (BTreeSet::new(), false);
    for (index, line) in lines.iter().enumerate() {
        let trimmed = line.trim_start();
        if let Some(comment) = trimmed.strip_prefix("///") {
            ids.extend(ids_in(comment));
        } else if trimmed.starts_with("#[") {
            is_test |= trimmed == "#[test]";
        } else {
            let (mut ids, is_test) = (std::mem::take(&mut ids), std::mem::take(&mut is_test));
            let Some(function) = function_name(trimmed) else { continue };
            let sentence = scenario(trimmed, function, text);
            if !is_test && !behaviours.contains(function) && sentence.is_none() {
                continue;
            }
            ids.extend(ids_in(&function.replace('_', " ").to_uppercase()));
            let end = format!("{}}}", &line[..line.len() - trimmed.len()]);
            let body = lines[index + 1..].iter().take_while(|line| **line != end && !trimmed.ends_with('}'));
            ids.extend(body.filter_map(|line| line.split_once("//")).flat_map(|(_, comment)| ids_in(comment)));
            if !ids.is_empty() {
                found.push((sentence.unwrap_or_else(|| function.to_owned()), ids));
            }
        }
    }
    found
}

fn function_name(line: &str) -> Option<&str> {
    let mut words = line.split_inclusive("fn ");
    let before = words.next()?.strip_suffix("fn ")?;
    let is_signature =
        before.split_whitespace().all(|word| word.starts_with("pub") || word == "async" || word == "const");
    let name = words.next()?.split(['(', '<']).next()?;
    is_signature.then_some(name)
}

/// The functions that are made tests of for each adapter.
fn behaviours(text: &str) -> BTreeSet<&str> {
    let lists = text.split("on_each_adapter!(").skip(1).filter_map(|list| list.split(");").next());
    // An attribute may come before a name.
    lists.flat_map(|list| list.split(',')).filter_map(|name| name.split_whitespace().last()).collect()
}

/// The sentence that a scenario of the testkit is listed with; `None` for any other function.
fn scenario(signature: &str, function: &str, text: &str) -> Option<String> {
    if !signature.contains("<W: World>(world: &mut W)") {
        return None;
    }
    text.match_indices('"').find_map(|(start, _)| {
        let (sentence, rest) = text[start + 1..].split_once('"')?;
        let is_its = rest.strip_prefix(',')?.trim_start().strip_prefix(function)?.starts_with([',', ')']);
        is_its.then(|| sentence.to_owned())
    })
}

/// The words that are ids: a letter and two digits.
fn ids_in(text: &str) -> impl Iterator<Item = String> {
    text.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| is_id(word)).map(str::to_owned)
}

fn is_id(word: &str) -> bool {
    matches!(word.as_bytes(), [b'C' | b'G', tens, ones] if tens.is_ascii_digit() && ones.is_ascii_digit())
}

fn table(named: &Named) -> String {
    let mut page = format!(
        "# RFC 6886, requirement by requirement\n\n\
         What RFC 6886 asks of a NAT-PMP client (C) and of a gateway (G) in short, some lessons of the field (§ \"field\"), and the tests that prove \
         each.\nThis page is made from the comments of the tests. To write it anew:\n\n\
         ```sh\n{COMMAND}\n```\n\n| id | § | requirement | tests |\n| --- | --- | --- | --- |\n"
    );
    let nothing = BTreeMap::new();
    for Row { id, section, requirement } in ROWS {
        let count: usize = named.get(*id).unwrap_or(&nothing).values().map(Vec::len).sum();
        let anchor = id.to_lowercase();
        writeln!(page, "| [{id}](#{anchor}) | {section} | {requirement} | {count} |").unwrap();
    }
    for Row { id, .. } in ROWS {
        write!(page, "\n## {id}\n").unwrap();
        for (path, names) in named.get(*id).unwrap_or(&nothing) {
            let link = path.strip_prefix("natpmp-proto/").map_or_else(|| format!("../{path}"), str::to_owned);
            let names: BTreeSet<String> = names.iter().map(|name| format!("`{name}`")).collect();
            writeln!(page, "- [{path}]({link}): {}", joined(&names, ", ")).unwrap();
        }
    }
    page
}

fn joined(words: &BTreeSet<String>, between: &str) -> String {
    words.iter().map(String::as_str).collect::<Vec<_>>().join(between)
}

/// A requirement.
struct Row {
    id: &'static str,
    section: &'static str,
    requirement: &'static str,
}

const fn row(id: &'static str, section: &'static str, requirement: &'static str) -> Row {
    Row { id, section, requirement }
}

/// The client's; the gateway's rows (G01 and on) have their place after them.
const ROWS: &[Row] = &[
    row("C01", "3", "requests have version 0; what is reserved is sent as 0 and not read"),
    row("C02", "3.1", "one request in flight at a time; the others wait, and follow as it is answered"),
    row("C03", "3.1", "sent again after 250 ms, then after ever doubled waits, nine times; given up after 127.75 s"),
    row("C04", "3.1", "port unreachable ends the retries at once"),
    row("C05", "3.1", "what was concluded from silence is forgotten when the network, the gateway or its word changes"),
    row("C06", "3.1", "a deletion is sent at least once, and not pursued past the end of the lease"),
    row("C07", "3.2, 3.3", "an answer from anybody but the gateway is dropped"),
    row("C08", "3.2, 3.4", "beside a result other than 0 no address, port or lifetime is read"),
    row("C09", "3.2.1", "announcements are heard on 224.0.0.1:5350, by several clients of a host"),
    row("C10", "3.2.1", "announcements from anybody but the gateway are dropped; the gateway's lead to the epoch rule"),
    row("C11", "3.3", "a lifetime of 7200 s by default; an external port of 0 means any"),
    row("C12", "3.3", "renewed at half of the lifetime granted, then at ever later points until it ends"),
    row("C13", "3.3", "a renewal suggests the port that was assigned"),
    row(
        "C14",
        "3.4",
        "a deletion has lifetime 0 and external port 0; with internal port 0 it deletes all of its protocol",
    ),
    row("C15", "3.5", "an unknown result code fails its request, and does nothing else"),
    row("C16", "3.5", "answers are known by what they say; late and repeated ones do no harm"),
    row("C17", "3.5", "an unsupported version is understood from 8 bytes on, with opcode 128 or 0 (erratum 3618)"),
    row("C18", "3.6", "an epoch more than 2 s below 7/8 of what it should be means that the gateway lost its state"),
    row("C19", "3.7", "after that everything is asked for again, one by one, on its port, from a random 0 to 5 s on"),
    row("C20", "3.8", "a gateway without NAT-PMP is told apart from every other failure"),
    row("C21", "3", "addresses that are not what NAT-PMP is meant for are told to the user, who may go on"),
    row("C22", "3.4", "all mappings that an earlier holder of the address left can be deleted"),
    row("C23", "field", "internal port 0 can be mapped, and is never deleted by itself"),
    row("C24", "field", "a renewal that brings another port is a change, not an error"),
    row("C25", "field", "what is kept is tried again after any failure, with growing pauses, and heals"),
    row("C26", "field", "no field of a grant is trusted: too long is cut, nothing is no mapping"),
    row("C27", "field", "after a sleep, what is overdue is renewed once, without a burst"),
    row("C28", "field", "nothing overflows in years of running"),
    row("G01", "3, 3.5", "a request of another version gets the 8-byte answer that says so"),
    row("G02", "3.5", "opcodes from 128 on get no answer"),
    row("G03", "3.5", "opcodes 3 to 127: the whole request comes back, with the top bit and result 5"),
    row("G04", "3.2", "opcode 0 gets the external address, or 0.0.0.0 with a failure"),
    row("G05", "3.6", "every answer has the seconds since the table was last empty by accident"),
    row("G06", "3.2.1", "boot, a new external address and lost state are announced ten times, at doubled gaps"),
    row("G07", "3.3", "a mapping leads to the source address of its request"),
    row("G08", "3.3", "a request for what is mapped brings the port it has, and its lease begins anew"),
    row("G09", "3.3", "UDP and TCP are mapped apart; the other protocol's port is reserved for the same client"),
    row("G10", "3.3", "for a port that cannot be had another one is given; if there is none, result 4"),
    row("G11", "3.3", "requests from the external side are not served"),
    row("G12", "3.3", "no lease is longer than asked for"),
    row("G13", "3.4", "a deletion succeeds, also of what does not exist"),
    row("G14", "3.4", "all mappings of one client and protocol can be deleted at once, and only those"),
    row("G15", "3.4", "what the administrator mapped is not deleted by its client"),
    row("G16", "3.4", "a lease that ends takes its mapping with it"),
    row("G17", "3.5", "a failure has the internal port, external port 0, lifetime 0 and the right epoch"),
    row("G18", "3.5", "without an external address result 3; with mapping switched off result 2"),
    row("G19", "3.6", "the epoch begins again at 0 when the table was lost, and goes on when it was restored"),
    row("G20", "3.8", "with NAT switched off nothing is answered or announced"),
    row("G21", "3.4", "when a mapping ends, its TCP connections are reset"),
    row("G22", "4.3.4", "a client reaches another by the external address"),
    row("G23", "field", "what is too short is not answered; no client can take the whole table"),
    row("G24", "field", "no answer is larger than 16 bytes or its request"),
];

const WRITE: &str = "NATPMP_WRITE_CHECKLIST";
const COMMAND: &str = "NATPMP_WRITE_CHECKLIST=1 cargo test -p natpmp-testkit --test checklist";
