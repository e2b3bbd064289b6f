//! What it costs to depend on a client: time, crates, and the size of a program that maps a port.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::peers::Peers;
use crate::report::{Cell, Report, Table, median};
use crate::{Scale, source};

/// A program of `programs/`, and what it depends on.
struct Program {
    name: &'static str,
    source: &'static str,
    /// Lines of its Cargo.toml; `{root}` is the root of this repository.
    dependencies: &'static str,
    /// Built once only, since it takes so long.
    is_large: bool,
}

const PROGRAMS: [Program; 6] = [
    Program {
        name: "natpmp-std",
        source: "on_std.rs",
        dependencies: "natpmp-std = { path = '{root}/natpmp-std' }",
        is_large: false,
    },
    Program {
        name: "natpmp-smol",
        source: "on_smol.rs",
        dependencies: "natpmp-smol = { path = '{root}/natpmp-smol' }\nasync-io = '2'",
        is_large: false,
    },
    Program {
        name: "natpmp-proto",
        source: "on_proto.rs",
        dependencies: "natpmp-proto = { path = '{root}/natpmp-proto' }",
        is_large: false,
    },
    Program { name: "natpmp", source: "on_natpmp.rs", dependencies: "natpmp = '=0.5.0'", is_large: false },
    Program {
        name: "crab_nat",
        source: "on_crab_nat.rs",
        dependencies: "crab_nat = '=0.8.1'\ntokio = { version = '1', features = ['rt'] }",
        is_large: false,
    },
    Program {
        name: "portmapper",
        source: "on_portmapper.rs",
        dependencies: "portmapper = '=0.20.0'\ntokio = { version = '1', features = ['rt'] }",
        is_large: true,
    },
];

pub fn measure(scale: &Scale, _: &Peers, report: &mut Report) {
    if scale.builds == 0 {
        return;
    }
    let mut table = Table::new(
        "Building a program that maps a port",
        &["clean build", "crates", "size"],
        format!(
            "`cargo build --release` in an empty target directory, on all processors; the median of {} builds, of `portmapper` one. \
             Default features, and the executor's crate where the client needs one; sources were fetched before. *Crates* counts \
             all that are compiled for this system, the client itself included. *Size* is that of the program, stripped, \
             otherwise as cargo's release profile has it. The programs are in \
             [peers/programs](peers/programs). `libnatpmp` is linked as a shared library of the system (20 KiB more), and comes \
             compiled.",
            scale.builds
        ),
    );
    for program in &PROGRAMS {
        eprintln!("building with {}", program.name);
        let project = Project::new(program);
        let crates = project.crates();
        let builds = if program.is_large { 1 } else { scale.builds };
        let time = median((0..builds).map(|_| project.build()).collect()).expect("there are some");
        let name = if program.name == "natpmp" { "natpmp, blocking" } else { program.name };
        table.row(name, vec![Cell::time(time), Cell::count(crates as u64), Cell::kib(project.size())]);
        project.remove();
    }
    if let Some(size) = of_libnatpmp() {
        table.row("libnatpmp", vec![Cell::not_measured(), Cell::not_measured(), Cell::kib(size)]);
    }
    report.add(table);
}

/// A package of its own, in the target directory.
struct Project(PathBuf);

impl Project {
    fn new(program: &Program) -> Self {
        let project = Self(source().join("target/building").join(program.name));
        project.remove();
        std::fs::create_dir_all(project.0.join("src")).expect("a directory");
        let root = source().join("../../..").canonicalize().expect("the root of the repository");
        let dependencies = program.dependencies.replace("{root}", root.to_str().expect("a path in Unicode"));
        let manifest = format!(
            "[workspace]\n[package]\nname = 'maps-a-port'\nversion = '0.0.0'\nedition = '2024'\n[dependencies]\n{dependencies}\n\
             [profile.release]\nstrip = true\n"
        );
        std::fs::write(project.0.join("Cargo.toml"), manifest).expect("a manifest");
        let copy = |from: &Path, to: &str| {
            std::fs::copy(from, project.0.join(to)).expect("it is copied");
        };
        copy(&source().join("programs").join(program.source), "src/main.rs");
        // The same versions as here.
        copy(&source().join("Cargo.lock"), "Cargo.lock");
        project
    }

    fn crates(&self) -> usize {
        let tree = ["tree", "--offline", "--edges=normal,build", "--prefix=none", "--no-dedupe", "--format={p}"];
        let output = self.cargo(&tree).stderr(Stdio::inherit()).output().expect("cargo runs");
        assert!(output.status.success(), "the crates are known");
        let text = String::from_utf8_lossy(&output.stdout);
        let crates: HashSet<_> = text.lines().filter_map(|line| line.split(" (").next()).collect();
        // One of them is the program.
        crates.len() - 1
    }

    fn build(&self) -> Duration {
        let _ = std::fs::remove_dir_all(self.target());
        let begun = Instant::now();
        let status = self.cargo(&["build", "--release", "--offline", "--quiet"]).status().expect("cargo runs");
        assert!(status.success(), "it is built");
        begun.elapsed()
    }

    fn size(&self) -> u64 {
        std::fs::metadata(self.target().join("release/maps-a-port")).expect("it was built").len()
    }

    fn cargo(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("cargo");
        command
            .args(arguments)
            .current_dir(&self.0)
            .env("CARGO_TARGET_DIR", self.target())
            .env("CARGO_INCREMENTAL", "0");
        command
    }

    fn target(&self) -> PathBuf {
        self.0.join("target")
    }

    fn remove(&self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The smallest program in C.
fn of_libnatpmp() -> Option<u64> {
    let program = source().join("target/on_libnatpmp");
    let mut compiler = Command::new("cc");
    compiler.args(["-O2", "-s", "-o"]).arg(&program).arg(source().join("programs/on_libnatpmp.c")).arg("-lnatpmp");
    let is_built = compiler.stderr(Stdio::null()).status().is_ok_and(|status| status.success());
    is_built.then(|| std::fs::metadata(program).expect("it was built").len())
}
