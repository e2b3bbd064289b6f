//! Instructions in place of time, counted by valgrind's callgrind: the same in every run, whatever else the machine does.
//!
//! `cargo bench -p natpmp-proto --bench instructions`
//!
//! Each case is a process of its own, in which callgrind collects while `measured` runs: what goes before is not counted.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    reason = "a benchmark whose assumptions fail should end"
)]

mod work;

use std::hint::black_box;
use std::process::{Command, Stdio};

use natpmp_proto::Protocol;
use natpmp_proto::wire::{Request, Response};

use work::client::Keeper;
use work::gateway::{FILLS, Fill, INTERNAL, Served, client, mapping, new, stranger};
use work::wire::{OF_PCP, REQUESTS, RESPONSES};

fn main() {
    // A gateway for 65,534 mappings is made on the stack here, which has to be large enough.
    let thread = std::thread::Builder::new().stack_size(64 << 20);
    thread.spawn(run).unwrap().join().unwrap();
}

fn run() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["case", "wire", name, what] => wire(name, what),
        ["case", "client", step, slots] => match slots {
            "1" => client_step::<1>(step),
            "16" => client_step::<16>(step),
            "256" => client_step::<256>(step),
            _ => client_step::<1_024>(step),
        },
        ["case", "gateway", request, size, fill] => {
            let fill = FILLS.into_iter().find(|each| format!("{each:?}") == fill).unwrap();
            match size {
                "16" => gateway_request::<16>(request, fill),
                "256" => gateway_request::<256>(request, fill),
                "4096" => gateway_request::<4_096>(request, fill),
                _ => gateway_request::<65_534>(request, fill),
            }
        }
        // `cargo test --benches` only wants to see it start.
        _ if !arguments.iter().any(|argument| argument == "--bench") => {}
        _ if !has_valgrind() => println!("skipped: valgrind is not installed"),
        _ => measure(),
    }
}

fn measure() {
    println!("| packet | encode | decode |\n| --- | --- | --- |");
    let requests = REQUESTS.iter().map(|(name, _)| ("request", *name));
    for (kind, name) in requests.chain(RESPONSES.iter().map(|(name, _)| ("response", *name))) {
        let cells = ["encode", "decode"].map(|way| count(&["wire", name, &format!("{way} {kind}")]));
        println!("| {kind}: {name} | {} | {} |", cells[0], cells[1]);
    }
    println!("| response of PCP | | {} |", count(&["wire", "PCP", "decode response"]));

    println!("\n| client with | 1 | 16 | 256 | 1,024 slots |\n| --- | --- | --- | --- | --- |");
    for step in STEPS {
        let cells = ["1", "16", "256", "1024"].map(|slots| count(&["client", step, slots]));
        println!("| {step} | {} |", cells.join(" | "));
    }

    println!("\n| gateway for | 16 | 256 | 4,096 | 65,534 mappings |\n| --- | --- | --- | --- | --- |");
    for request in GATEWAY_REQUESTS {
        let cells = ["16", "256", "4096", "65534"]
            .map(|size| FILLS.map(|fill| count(&["gateway", request, size, &format!("{fill:?}")])).join(" / "));
        println!("| {request} | {} |", cells.join(" | "));
    }
}

/// Instructions of one of the `TURNS`.
fn count(case: &[&str]) -> String {
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null", "--toggle-collect=*measured*"]);
    command.arg(std::env::current_exe().unwrap()).arg("case").args(case);
    let output = command.stdin(Stdio::null()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{case:?}: {text}");
    let collected = text.lines().find_map(|line| line.split("Collected :").nth(1)?.trim().parse::<u64>().ok());
    (collected.unwrap() / TURNS).to_string()
}

/// This, and what it calls, is counted.
#[inline(never)]
fn measured<T>(work: impl FnOnce() -> T) -> T {
    work()
}

fn wire(name: &str, what: &str) {
    let request = REQUESTS.iter().find(|(its_name, _)| *its_name == name).map(|(_, request)| request);
    let response = RESPONSES.iter().find(|(its_name, _)| *its_name == name).map(|(_, response)| response);
    let bytes = match (what, response) {
        ("decode request", _) => request.unwrap().encode().to_vec(),
        ("decode response", Some(response)) => response.encode().to_vec(),
        _ => OF_PCP.to_vec(),
    };
    for _ in 0..TURNS {
        match what {
            "encode request" => drop(black_box(measured(|| black_box(request.unwrap()).encode()))),
            "encode response" => drop(black_box(measured(|| black_box(response.unwrap()).encode()))),
            "decode request" => drop(black_box(measured(|| Request::decode(black_box(&bytes))))),
            _ => drop(black_box(measured(|| Response::decode(black_box(&bytes))))),
        }
    }
}

fn client_step<const N: usize>(step: &str) {
    let mut keeper = Keeper::<N>::new();
    for _ in 0..TURNS {
        match step {
            POLL => drop(measured(|| keeper.poll())),
            DROPPED => measured(|| keeper.drop(black_box(&[0, 129, 0, 0]))),
            TIMEOUT => {
                keeper.come_to_renewal();
                measured(|| keeper.send());
                let answer = keeper.answer().unwrap();
                let _ = keeper.take(&answer);
            }
            _ => {
                keeper.come_to_renewal();
                keeper.send();
                let answer = keeper.answer().unwrap();
                let _ = measured(|| keeper.take(&answer));
            }
        }
    }
}

fn gateway_request<const N: usize>(request: &str, fill: Fill) {
    let mut served = Served::<N>::filled(fill);
    let count = served.gateway.len();
    for turn in 0..TURNS as usize {
        let (from, bytes) = match request {
            ADDRESS => (client(0), Request::ExternalAddress.encode()),
            // In an order that has nothing to do with that of the table.
            RENEWAL => mapping(turn * 40_503 % count),
            NEW => (stranger(0), new()),
            _ => (stranger(0), Request::delete(Protocol::Udp, INTERNAL).encode()),
        };
        if request == DELETION {
            served.ask_and_wait(from, &new());
        }
        measured(|| served.ask_and_wait(from, black_box(&bytes)));
        if request == NEW {
            served.ask_and_wait(from, &Request::delete(Protocol::Udp, INTERNAL).encode());
        }
    }
}

fn has_valgrind() -> bool {
    Command::new("valgrind").arg("--version").stdout(Stdio::null()).status().is_ok_and(|status| status.success())
}

const TURNS: u64 = 100;
const POLL: &str = "poll with nothing to do";
const TIMEOUT: &str = "timeout: a renewal goes out";
const DATAGRAM: &str = "datagram: its answer is taken and told";
const DROPPED: &str = "datagram that answers nothing";
const STEPS: [&str; 4] = [POLL, TIMEOUT, DATAGRAM, DROPPED];
const ADDRESS: &str = "external address";
const RENEWAL: &str = "renewal";
const NEW: &str = "new mapping and its outcome";
const DELETION: &str = "deletion and its outcome";
const GATEWAY_REQUESTS: [&str; 4] = [ADDRESS, RENEWAL, NEW, DELETION];
