//! The time to the first mapping, over a link that takes time, and one that loses.

use std::net::Ipv4Addr;
use std::time::Duration;

use crate::Scale;
use crate::answering::{Gateway, Link};
use crate::peers::{CRAB_NAT, LIBNATPMP, NATPMP_ASYNC, NATPMP_BLOCKING, NATPMPC, Outcome, Peers, SMOL, STD};
use crate::report::{Cell, Report, Table, median};

pub fn measure(scale: &Scale, peers: &Peers, report: &mut Report) {
    let names: Vec<_> = peers.of(&[STD, SMOL, CRAB_NAT, NATPMP_BLOCKING, NATPMP_ASYNC, LIBNATPMP, NATPMPC]).collect();
    let mut table = Table::new(
        "Time to the first mapping",
        &["20 ms each way", "20 ms and 30 % loss, each way: median", "longest", "not mapped"],
        format!(
            "From the making of a client to the answer; of `natpmpc` the whole process, which asks for the external address \
             first. Without loss the median of {} runs, one after the other; with it, of {} runs in which the same datagrams \
             are lost for all, those without a mapping counted as infinitely long. *Not mapped*: the client gave up, or had not \
             done either after {} s.",
            scale.delayed,
            scale.lossy,
            scale.loss_patience.as_secs()
        ),
    );
    let delayed: Vec<_> = names.iter().map(|name| with_delay(scale, peers, name)).collect();
    let lossy: Vec<Vec<Outcome>> = std::thread::scope(|threads| {
        let start = |(number, &name): (usize, &&'static str)| {
            let run = move |seed| threads.spawn(move || with_loss(scale, peers, name, number as u8, seed));
            (0..scale.lossy).map(run).collect::<Vec<_>>()
        };
        let all: Vec<_> = names.iter().enumerate().map(start).collect();
        all.into_iter().map(|runs| runs.into_iter().map(|run| run.join().expect("it was measured")).collect()).collect()
    });
    for ((name, delayed), outcomes) in names.into_iter().zip(delayed).zip(lossy) {
        let seconds = |outcome: &Outcome| match outcome {
            Outcome::Open(time) => time.as_secs_f64(),
            Outcome::Failed(..) | Outcome::Waits(_) => f64::INFINITY,
        };
        let times: Vec<f64> = outcomes.iter().map(seconds).collect();
        let longest = times.iter().copied().filter(|time| time.is_finite()).max_by(f64::total_cmp);
        let (failed, waits) = outcomes.iter().fold((0, 0), |(failed, waits), outcome| match outcome {
            Outcome::Open(_) => (failed, waits),
            Outcome::Failed(..) => (failed + 1, waits),
            Outcome::Waits(_) => (failed, waits + 1),
        });
        let not_mapped = match (failed, waits) {
            (_, 0) => Cell::count(failed),
            _ => Cell::count(failed + waits).with(&format!(", of which {waits} still wait")),
        };
        let middle = median(times).filter(|time| time.is_finite());
        table.row(
            name,
            vec![
                Cell::time(delayed),
                middle.map_or_else(|| Cell::text("never"), Cell::seconds),
                longest.map_or_else(Cell::not_measured, |time| Cell::text(Cell::seconds(time).to_string())),
                not_mapped,
            ],
        );
    }
    report.add(table);
}

fn with_delay(scale: &Scale, peers: &Peers, name: &str) -> Duration {
    let link = Link { delay: DELAY, ..Link::default() };
    let times = (0..scale.delayed).map(|_| {
        let _gateway = Gateway::behind(DELAYED, link);
        match peers.first(name, DELAYED, PATIENCE) {
            Outcome::Open(time) => time,
            _ => panic!("{name} has its mapping"),
        }
    });
    median(times.collect()).expect("there are some")
}

fn with_loss(scale: &Scale, peers: &Peers, name: &str, number: u8, seed: u8) -> Outcome {
    let address = Ipv4Addr::new(127, 72, number, seed + 1);
    let _gateway = Gateway::behind(address, Link { delay: DELAY, loss: LOSS, seed: seed.into() });
    peers.first(name, address, scale.loss_patience)
}

const DELAY: Duration = Duration::from_millis(20);
const LOSS: u8 = 30;
const PATIENCE: Duration = Duration::from_secs(10);
const DELAYED: Ipv4Addr = Ipv4Addr::new(127, 71, 0, 1);
