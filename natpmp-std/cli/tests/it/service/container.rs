//! The container file, as far as it can be judged without a container: what it takes, what it starts, and as whom.

use std::path::Path;
use std::process::Command;

use super::files::{blocks, read};
use super::{Directory, NATPMP, said};

/// What the build gets to see is enough for cargo, and is there.
#[test]
fn what_is_copied_is_the_whole_workspace() {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    let directory = Directory::new();
    for copied in instructions("COPY").iter().filter(|copied| !copied.starts_with("--from")) {
        let mut words: Vec<&str> = copied.split(' ').collect();
        let target = directory.0.join(words.pop().unwrap());
        for source in words {
            let mut command = Command::new("cp");
            command.args(["-r".as_ref(), root.join(source).as_os_str(), target.as_os_str()]);
            assert_eq!(said(&mut command), (true, String::new()), "{copied}");
        }
    }
    let built = instructions("RUN").into_iter().find(|run| run.starts_with("cargo build")).unwrap();
    let package = built.split(' ').skip_while(|word| *word != "--package").nth(1).unwrap();
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["metadata", "--no-deps", "--offline", "--locked", "--format-version", "1"]).current_dir(&directory.0);
    let (is_good, text) = said(&mut cargo);
    assert!(is_good, "{text}");
    let metadata: serde_json::Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let package = packages.iter().find(|known| known["name"] == package).expect("the package that is built");
    let targets = package["targets"].as_array().unwrap();
    let binary = targets.iter().find(|target| target["kind"][0] == "bin").expect("it has a program");
    let from =
        instructions("COPY").into_iter().find_map(|copied| copied.strip_prefix("--from=build ").map(str::to_owned));
    let source = format!("/src/target/release/{} ", binary["name"].as_str().unwrap());
    assert!(from.unwrap().starts_with(&source));
}

#[test]
fn it_starts_the_program_that_was_copied_as_an_ordinary_user() {
    let entry: Vec<String> = serde_json::from_str(&only("ENTRYPOINT")).unwrap();
    let copied = instructions("COPY").into_iter().find(|copied| copied.starts_with("--from=build ")).unwrap();
    assert_eq!(copied.rsplit(' ').next(), Some(&entry[0][..]));
    let user = only("USER");
    let ids: Vec<u32> = user.split(':').map(|id| id.parse().expect("a number")).collect();
    assert!(ids.len() == 2 && ids.iter().all(|&id| id != 0), "{user}");
    assert_eq!(only("STOPSIGNAL"), "SIGTERM");
    // What it starts with is understood.
    let default: Vec<String> = serde_json::from_str(&only("CMD")).unwrap();
    assert!(said(Command::new(NATPMP).args(&entry[1..]).args(default)).0);
}

#[test]
fn it_is_healthy_while_there_is_a_port() {
    let entry: Vec<String> = serde_json::from_str(&only("ENTRYPOINT")).unwrap();
    let port_file = entry.last().unwrap();
    let check = only("HEALTHCHECK");
    let (_, check) = check.split_once(" CMD ").unwrap();
    assert!(check.contains(port_file.as_str()), "{check}");
    let directory = Directory::new();
    let own = directory.file("port");
    let is_healthy = || {
        said(Command::new("/bin/sh").args(["-c", &check.replace(port_file.as_str(), &own)])) == (true, String::new())
    };
    assert!(!is_healthy(), "there is no file");
    std::fs::write(&own, "").unwrap();
    assert!(!is_healthy(), "there is no port");
    std::fs::write(&own, "4000\n").unwrap();
    assert!(is_healthy());
}

/// The options for the program, as the README has them, and the directory that is mounted.
#[test]
fn the_container_of_the_readme_has_the_directory_of_its_port_and_options_that_are_understood() {
    let entry: Vec<String> = serde_json::from_str(&only("ENTRYPOINT")).unwrap();
    let directory = Path::new(entry.last().unwrap()).parent().unwrap().to_str().unwrap();
    let lines = blocks("sh").concat().replace("\\\n", " ");
    let runs: Vec<&str> = lines.lines().filter(|line| line.starts_with("podman run ")).collect();
    assert!(!runs.is_empty());
    for run in runs {
        assert!(run.contains("--cap-drop=all") && run.contains("--read-only"), "{run}");
        let mounts: Vec<&str> =
            run.split_whitespace().skip_while(|word| *word != "--tmpfs" && *word != "--volume").collect();
        assert!(mounts[1].split(':').any(|part| part == directory), "{run}");
        let options = run.split_whitespace().skip_while(|word| *word != "natpmp").skip(1);
        let parsed = said(Command::new(NATPMP).arg("keep").args(options).arg("--help"));
        assert!(parsed.0, "{run}: {}", parsed.1);
    }
}

fn instructions(name: &str) -> Vec<String> {
    let text = read("Containerfile");
    let start = format!("{name} ");
    text.lines().filter_map(|line| line.strip_prefix(&start)).map(str::to_owned).collect()
}

fn only(name: &str) -> String {
    let [value] = &instructions(name)[..] else { panic!("{name} is not there once") };
    value.clone()
}
