//! One call after the other.

use std::net::Ipv4Addr;
use std::time::Duration;

use crate::Scale;
use crate::answering::Gateway;
use crate::peers::{CRAB_NAT, LIBNATPMP, NATPMP_ASYNC, Peers, SMOL, STD, run};
use crate::report::{Cell, Report, Table, median, thousands};

pub fn measure(scale: &Scale, peers: &Peers, report: &mut Report) {
    let _gateway = Gateway::start(GATEWAY);
    let mut table = Table::new(
        "Calls, one after the other",
        &["external address", "mapping"],
        format!(
            "Wall time of a call, in {} calls in a row to a gateway on the same host that answers at once; the median of {} such \
             runs, in turns. A call of natpmp-std goes to the thread that keeps its mappings and back. `crab_nat` opens a \
             socket for each call.",
            thousands(scale.calls as u64),
            scale.repeats
        ),
    );
    let names: Vec<_> = peers.of(&[STD, SMOL, CRAB_NAT, NATPMP_ASYNC, LIBNATPMP]).collect();
    let mut times = vec![[Vec::new(), Vec::new()]; names.len()];
    for _ in 0..scale.repeats {
        for (name, times) in names.iter().zip(&mut times) {
            for (job, times) in ["addresses", "mappings"].into_iter().zip(times) {
                let mut command = peers.command(name, job, GATEWAY);
                let output = run(command.arg(scale.calls.to_string()), PATIENCE);
                let (output, _) = output.unwrap_or_else(|| panic!("{name} is done with {job}"));
                times.push(output.trim().parse::<f64>().unwrap_or_else(|_| panic!("{name} succeeds with {job}")));
            }
        }
    }
    for (name, times) in names.into_iter().zip(times) {
        let cell = |times| Cell::seconds(median(times).expect("there are some") / 1e9 / scale.calls as f64);
        table.row(name, times.map(cell).into());
    }
    report.add(table);
}

const PATIENCE: Duration = Duration::from_secs(120);
const GATEWAY: Ipv4Addr = Ipv4Addr::new(127, 70, 0, 1);
