//! Completions and the manual page.

use std::io::Write;
use std::process::{Command, Stdio};

use natpmp_lab::Running;

use super::{NATPMP, SOON};

fn print(arguments: &[&str]) -> String {
    let mut command = Command::new(NATPMP);
    command.args(arguments);
    let finished = Running::spawn(command).finish(SOON);
    assert_eq!(finished.code, Some(0), "{finished}");
    assert!(finished.stderr.is_empty(), "{finished}");
    finished.stdout.join("\n")
}

#[test]
fn every_shell_has_a_completion_script_that_knows_the_subcommands_and_options() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = print(&["completions", shell]);
        for word in SUBCOMMANDS {
            assert!(script.contains(word), "{shell}: {word}");
        }
        for option in OPTIONS {
            // fish names an option without its dashes.
            assert!(script.contains(option.trim_start_matches('-')), "{shell}: {option}");
        }
    }
}

#[test]
fn the_manual_page_names_every_subcommand_and_option() {
    let page = print(&["man"]);
    assert!(page.contains(".TH natpmp 1"), "{page}");
    // Roff writes a dash as `\-`.
    let text = page.replace("\\-", "-").replace("\\fB", "").replace("\\fR", "").replace("\\fI", "");
    for word in SUBCOMMANDS.iter().chain(OPTIONS) {
        assert!(text.contains(word), "{word} is missing\n{text}");
    }
    for word in ["NATPMP_EVENT", "NATPMP_GATEWAY", "Exit codes", "127.75"] {
        assert!(text.contains(word), "{word} is missing\n{text}");
    }
}

/// Where `man` is installed, it has nothing to complain of.
#[test]
fn the_manual_page_can_be_rendered() {
    let page = print(&["man"]);
    let renderer = Command::new("man")
        .args(["--warnings", "-l", "-"])
        .env("MANPAGER", "cat")
        .env("MANWIDTH", "100")
        .env("LC_ALL", "C")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut renderer) = renderer else {
        println!("skipped: there is no man here");
        return;
    };
    renderer.stdin.take().unwrap().write_all(page.as_bytes()).unwrap();
    let rendered = renderer.wait_with_output().unwrap();
    let (text, complaints) = (String::from_utf8_lossy(&rendered.stdout), String::from_utf8_lossy(&rendered.stderr));
    assert!(rendered.status.success() && complaints.is_empty(), "{complaints}");
    assert!(text.contains("external-address") && text.contains("--refresh-interval"), "{text}");
}

const SUBCOMMANDS: &[&str] =
    &["gateway", "external-address", "map", "keep", "unmap", "unmap-all", "watch", "completions", "man"];

const OPTIONS: &[&str] = &[
    "--gateway",
    "--bind",
    "--interface",
    "--json",
    "--timeout",
    "--verbose",
    "--version",
    "--help",
    "--external",
    "--lifetime",
    "--refresh-interval",
    "--on-change",
    "--port-file",
];
