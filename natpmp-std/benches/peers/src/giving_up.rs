//! A gateway that is silent, and one whose port is closed.

use std::net::Ipv4Addr;

use crate::Scale;
use crate::answering::bind;
use crate::peers::{CRAB_NAT, LIBNATPMP, NATPMP_ASYNC, NATPMP_BLOCKING, NATPMPC, Outcome, Peers, SMOL, STD, STD_QUICK};
use crate::report::{Cell, Table};

pub fn measure(scale: &Scale, peers: &Peers) -> Vec<Table> {
    let names: Vec<_> =
        peers.of(&[STD, STD_QUICK, SMOL, CRAB_NAT, NATPMP_BLOCKING, NATPMP_ASYNC, LIBNATPMP, NATPMPC]).collect();
    let outcomes: Vec<[Outcome; 2]> = std::thread::scope(|threads| {
        let start = |(number, &name): (usize, &&'static str)| {
            let silent = Ipv4Addr::new(127, 73, 0, number as u8 + 1);
            let closed = Ipv4Addr::new(127, 73, 1, number as u8 + 1);
            let silent = threads.spawn(move || {
                let _socket = bind(silent);
                peers.first(name, silent, scale.silence_patience)
            });
            [silent, threads.spawn(move || peers.first(name, closed, scale.silence_patience))]
        };
        let all: Vec<_> = names.iter().enumerate().map(start).collect();
        all.into_iter().map(|pair| pair.map(|run| run.join().expect("it was measured"))).collect()
    });
    let mut table = Table::new(
        "Time to give up",
        &["a silent gateway", "a closed port"],
        "What a call for a mapping does until it fails, with what it says then. How patient to be with silence is a choice: \
         127.75 s is the RFC's own schedule, and the default of natpmp-std and natpmp-smol; *quick* is their other preset. So these times are not \
         ranked.",
    );
    for (name, outcomes) in names.into_iter().zip(outcomes) {
        table.row(name, outcomes.map(cell).into());
    }
    vec![table]
}

fn cell(outcome: Outcome) -> Cell {
    match outcome {
        Outcome::Open(_) => panic!("there is nobody to make a mapping"),
        Outcome::Failed(time, error) => Cell::text(format!("{}: {error}", Cell::time(time))),
        Outcome::Waits(bound) => Cell::text(format!("still waits after {} s", bound.as_secs())),
    }
}
