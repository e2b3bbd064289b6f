//! A gateway that restarts, and has forgotten the mapping.

use std::io::{BufRead, BufReader, Read};
use std::net::Ipv4Addr;
use std::process::Stdio;
use std::time::Duration;

use crate::Scale;
use crate::answering::Gateway;
use crate::peers::{CRAB_NAT, NATPMPC_LOOP, Peers, Running, SMOL, STD};
use crate::report::{Cell, Table, median, thousands};

pub fn measure(scale: &Scale, peers: &Peers) -> Vec<Table> {
    let mut table = Table::new(
        "Time without the mapping after a restart of the gateway",
        &["announced: median", "longest", "not announced: median", "longest"],
        format!(
            "From the gateway's return, with an empty table, to the request that makes the mapping again. It is renewed every {} s; \
             the {} restarts are spread over that time. `crab_nat` is a task that renews at half of the lifetime, `natpmpc` a \
             shell loop. RFC 6886 has a client wait for a random 0 to 5 s before it makes a mapping anew (section 3.7).",
            scale.lifetime.as_secs() / 2,
            thousands(scale.restarts.into())
        ),
    );
    let names: Vec<_> = peers.of(&[STD, SMOL, CRAB_NAT, NATPMPC_LOOP]).collect();
    let times: Vec<[Vec<Duration>; 2]> = std::thread::scope(|threads| {
        let start = |(number, &name): (usize, &&'static str)| {
            [true, false].map(|is_announced| {
                let third = number as u8 * 2 + u8::from(is_announced);
                let run = move |restart| {
                    let address = Ipv4Addr::new(127, 74, third, restart + 1);
                    threads.spawn(move || recovery(scale, peers, name, address, restart, is_announced))
                };
                (0..scale.restarts).map(run).collect::<Vec<_>>()
            })
        };
        let all: Vec<_> = names.iter().enumerate().map(start).collect();
        let join = |runs: Vec<std::thread::ScopedJoinHandle<'_, Duration>>| {
            runs.into_iter().map(|run| run.join().expect("it was measured")).collect()
        };
        all.into_iter().map(|pair| pair.map(join)).collect()
    });
    for (name, times) in names.into_iter().zip(times) {
        let cells = times.map(|times| {
            let longest = *times.iter().max().expect("there are some");
            [Cell::time(median(times).expect("there are some")), Cell::time(longest)]
        });
        table.row(name, cells.into_iter().flatten().collect());
    }
    vec![table]
}

/// Of the `restart`-th, counted from 0.
fn recovery(scale: &Scale, peers: &Peers, name: &str, address: Ipv4Addr, restart: u8, is_announced: bool) -> Duration {
    let gateway = Gateway::start(address);
    let mut command = peers.command(name, "keep", address);
    // It is killed at last: so many renewals are never reached.
    command.args(["1", &scale.lifetime.as_secs().to_string(), "1000"]);
    let mut child = Running::start(command.stdin(Stdio::null()).stdout(Stdio::piped()));
    let mut output = BufReader::new(child.0.stdout.take().expect("it is piped"));
    output.read_line(&mut String::new()).expect("all are open");
    let interval = scale.lifetime / 2;
    let share = (f64::from(restart) + 0.5) / f64::from(scale.restarts);
    std::thread::sleep(interval.mul_f64(0.95 * share));
    drop(gateway);
    std::thread::sleep(interval / 30);
    let gateway = Gateway::restart(address);
    if is_announced {
        gateway.announce(interval * 2);
    }
    let bound = std::time::Instant::now() + interval * 3;
    let time = loop {
        if let Some(time) = gateway.first_mapping() {
            break time;
        }
        assert!(std::time::Instant::now() < bound, "{name} makes its mapping again");
        std::thread::sleep(Duration::from_millis(100));
    };
    drop(child);
    let _ = output.read_to_end(&mut Vec::new());
    time
}
