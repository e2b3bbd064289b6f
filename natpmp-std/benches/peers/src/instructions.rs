//! Instructions in place of time, counted by callgrind: the same in every run, but what the kernel does is not seen.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::answering::Gateway;
use crate::codec::{DECODER, MACHINE, NATPMP};
use crate::peers::{CRAB_NAT, LIBNATPMP, NATPMP_ASYNC, Peers, SMOL, STD};
use crate::report::{Cell, Report, Table};
use crate::{Scale, source};

pub fn measure(scale: &Scale, peers: &Peers, report: &mut Report) {
    if scale.is_quick {
        return;
    }
    if !Command::new("valgrind").arg("--version").stdout(Stdio::null()).status().is_ok_and(|status| status.success()) {
        eprintln!("instructions are not counted, since it is not installed: valgrind");
        return;
    }
    let Some(program) = built_for_valgrind() else { return };
    let mut table = Table::new(
        "Instructions of a mapping request and its answer",
        &["in memory"],
        "In user space, counted by callgrind, for one more of many: what the start costs is taken off.",
    );
    for name in [MACHINE, DECODER, NATPMP] {
        let count = |count: usize| {
            let mut command = Command::new("valgrind");
            command.args(CALLGRIND).arg(&program).args(["in-memory", name, &count.to_string()]);
            collected(&mut command)
        };
        let cell = for_one(count);
        table.row(name, vec![if name == DECODER { Cell::text(cell.to_string()) } else { cell }]);
    }
    report.add(table);

    let _gateway = Gateway::start(GATEWAY);
    let mut table = Table::new(
        "Instructions of a call",
        &["external address", "mapping"],
        "The same with sockets, the clients' own threads and executors included. The kernel's part is not seen. Of a block that `rep stosb` clears every byte counts as one instruction.",
    );
    for name in peers.of(&[STD, SMOL, CRAB_NAT, NATPMP_ASYNC, LIBNATPMP]) {
        let cell = |job| {
            for_one(|count| {
                let command = peers.command_of(&program, name, job, GATEWAY);
                let mut counted = Command::new("valgrind");
                counted.args(CALLGRIND).arg(command.get_program()).args(command.get_args()).arg(count.to_string());
                collected(&mut counted)
            })
        };
        table.row(name, vec![cell("addresses"), cell("mappings")]);
    }
    report.add(table);
}

/// This program once more, with another way to call the system; `None` if that cannot be had.
fn built_for_valgrind() -> Option<PathBuf> {
    eprintln!("building what runs under valgrind");
    let target = source().join("target/counted");
    let mut cargo = Command::new("cargo");
    cargo.args(["build", "--offline", "--locked", "--release", "--features=counted", "--quiet", "--target-dir"]);
    let is_built = cargo.arg(&target).current_dir(source()).status().is_ok_and(|status| status.success());
    if !is_built {
        eprintln!("instructions are not counted, since that cannot be built");
    }
    is_built.then(|| target.join("release/natpmp-peers"))
}

fn for_one(count: impl Fn(usize) -> u64) -> Cell {
    Cell::count((count(FEW + MORE) - count(FEW)) / MORE as u64)
}

fn collected(command: &mut Command) -> u64 {
    let output = command.stdin(Stdio::null()).output().expect("valgrind runs");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "it ends well under valgrind: {text}");
    let count = text.lines().find_map(|line| line.split("Collected :").nth(1)?.trim().parse().ok());
    count.unwrap_or_else(|| panic!("callgrind tells its count: {text}"))
}

const CALLGRIND: [&str; 2] = ["--tool=callgrind", "--callgrind-out-file=/dev/null"];
const FEW: usize = 200;
const MORE: usize = 1_000;
const GATEWAY: Ipv4Addr = Ipv4Addr::new(127, 69, 0, 1);
