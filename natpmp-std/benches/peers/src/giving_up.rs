//! A gateway that is silent, and one whose port is closed.

use std::net::Ipv4Addr;
use std::time::Duration;

use crate::Scale;
use crate::answering::bind;
use crate::peers::{CRAB_NAT, LIBNATPMP, NATPMP_ASYNC, NATPMP_BLOCKING, NATPMPC, Outcome, Peers, SMOL, STD, STD_QUICK};
use crate::report::{Cell, Table};

pub fn measure(scale: &Scale, peers: &Peers) -> Vec<Table> {
    let names: Vec<_> =
        peers.of(&[STD, STD_QUICK, SMOL, CRAB_NAT, NATPMP_BLOCKING, NATPMP_ASYNC, LIBNATPMP, NATPMPC]).collect();
    let outcomes: Vec<[Outcome; 2]> = std::thread::scope(|threads| {
        let silences: Vec<_> = (1..)
            .zip(&names)
            .map(|(number, &name)| {
                let gateway = Ipv4Addr::new(127, 73, 0, number);
                threads.spawn(move || {
                    let _socket = bind(gateway);
                    peers.first(name, gateway, scale.silence_patience)
                })
            })
            .collect();
        // While those wait, one after the other: side by side it would be their starts that are measured.
        std::thread::sleep(Duration::from_secs(1));
        let closed = (1..).zip(&names).map(|(number, &name)| {
            let patience =
                if name == NATPMP_ASYNC { CLOSED_PATIENCE.min(scale.silence_patience) } else { scale.silence_patience };
            peers.first(name, Ipv4Addr::new(127, 73, 1, number), patience)
        });
        let closed: Vec<_> = closed.collect();
        let silences = silences.into_iter().map(|run| run.join().expect("it was measured"));
        silences.zip(closed).map(<[Outcome; 2]>::from).collect()
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

/// Of who never hears of it: no longer than the others wait for a silent gateway.
const CLOSED_PATIENCE: Duration = Duration::from_secs(30);
