//! Wrong usage: exit code 2, the value, and what would be right.

use std::process::Command;

use natpmp_lab::{Finished, Running};

use super::{NATPMP, SOON};

fn run(line: &str) -> Finished {
    let mut command = Command::new(NATPMP);
    command.args(line.split_whitespace());
    Running::spawn(command).finish(SOON)
}

#[test]
fn a_wrong_value_is_named_with_what_would_be_right() {
    for (line, value, remedy) in [
        ("map icmp 4000", "icmp", "udp, tcp, both"),
        ("map udp 65536", "65536", "0..=65535"),
        ("map udp http", "http", "invalid digit"),
        ("map udp 4000 --external 70000", "70000", "0..=65535"),
        ("map udp 4000 --lifetime 0", "0", "1..=4294967295"),
        ("map udp 4000 --lifetime 4294967296", "4294967296", "1..=4294967295"),
        ("keep udp 4000 --refresh-interval 0", "0", "1..=4294967295"),
        ("unmap udp 0", "0", "1..=65535"),
        ("unmap-all all", "all", "udp, tcp, both"),
        ("external-address --gateway router.lan", "router.lan", "IPv4 address"),
        ("external-address --gateway [::1]:5351", "[::1]:5351", "IPv4 address"),
        ("external-address --gateway 192.168.1.1:0", "192.168.1.1:0", "5351"),
        ("external-address --gateway 224.0.0.1", "224.0.0.1", "natpmp gateway"),
        ("external-address --bind eth0", "eth0", "IPv4 address"),
        ("external-address --timeout 0", "0", "0.01 to 86400"),
        ("external-address --timeout soon", "soon", "number of seconds"),
        ("completions tcsh", "tcsh", "bash"),
        ("mapp udp 4000", "mapp", "map"),
        ("map udp 4000 --lifetme 5", "--lifetme", "--lifetime"),
        ("keep udp 4000 --on-chang true", "--on-chang", "--on-change"),
        ("map udp 4000 5000", "5000", "--help"),
    ] {
        let finished = run(line);
        assert_eq!(finished.code, Some(2), "{line}\n{finished}");
        assert!(finished.stdout.is_empty(), "{line}\n{finished}");
        let text = finished.stderr.join("\n");
        assert!(text.contains(value) && text.contains(remedy), "{line}\n{finished}");
    }
}

#[test]
fn what_is_missing_is_named() {
    for (line, missing) in
        [("", "Usage"), ("map", "PROTOCOL"), ("keep udp", "INTERNAL_PORT"), ("unmap-all", "PROTOCOL")]
    {
        let finished = run(line);
        assert_eq!(finished.code, Some(2), "{line}\n{finished}");
        assert!(finished.stdout.is_empty(), "{line}\n{finished}");
        assert!(finished.stderr.join("\n").contains(missing), "{line}\n{finished}");
    }
}

/// It does not offer what it refuses.
#[test]
fn the_help_of_serve_says_nothing_of_the_options_of_clients() {
    let finished = run("serve --help");
    let text = finished.stdout.join("\n");
    for option in ["--gateway", "--bind", "--interface", "--timeout"] {
        assert!(!text.contains(option), "{option}\n{finished}");
    }
    assert!(
        text.contains("--internal") && text.contains("--json") && text.contains("twice as many at once"),
        "{finished}"
    );
    for given in ["serve --bind 127.0.0.1", "--bind 127.0.0.1 serve"] {
        let refused = run(&format!("{given} --internal 127.0.0.1 --external 127.0.0.2 --backend relay"));
        assert_eq!(refused.code, Some(2), "{refused}");
        assert!(refused.stderr.join("\n").contains("--bind is for clients"), "{refused}");
    }
}

#[test]
fn help_and_version_are_results() {
    for (line, words) in [
        ("--version", &["natpmp", env!("CARGO_PKG_VERSION")][..]),
        ("--help", &["Exit codes:", "external-address", "unmap-all", "--json", "--timeout"]),
        ("keep --help", &["--on-change", "NATPMP_EXTERNAL_PORT", "--port-file", "--refresh-interval"]),
        // How the default differs from the RFC's patience.
        ("map --help", &["7.75", "127.75", "--external", "--lifetime"]),
    ] {
        let finished = run(line);
        assert_eq!(finished.code, Some(0), "{line}\n{finished}");
        assert!(finished.stderr.is_empty(), "{line}\n{finished}");
        let text = finished.stdout.join("\n");
        for word in words {
            assert!(text.contains(word), "{line}: {word}\n{finished}");
        }
    }
}
