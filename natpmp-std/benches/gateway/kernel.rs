//! The gateway with the kernel's NAT, and `miniupnpd`, on the router of a lab.

use std::time::Duration;

use natpmp_lab::{GATEWAY, Lab};
use natpmp_proto::wire::Encoded;

use super::load::{Latency, Load, deletion, mapping, mappings};
use super::process::{self, Process};
use super::user_space::{ECHO, Row, Subject, compare};

/// What one server did, and how it came to its mappings.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Filled {
    pub(crate) row: Row,
    /// How long all of them took, asked for at once.
    pub(crate) took: Duration,
    /// By how many calls of the NAT, if that is known.
    pub(crate) batches: Option<u64>,
    /// One new mapping beside those.
    pub(crate) one_more: Latency,
    /// The deletion of one of those.
    pub(crate) one_less: Latency,
}

/// The echo loop, and the two gateways.
pub(crate) fn measure(lab: &Lab) -> (Vec<Row>, Vec<Filled>) {
    let limit = Process::start(Some(lab.router().host()), &["echo", "192.168.1.1:5352"]);
    let mut all: Vec<_> = SIZES.into_iter().map(|size| ours(lab, &limit, size)).collect();
    all.extend(peer(lab, &limit));
    all.into_iter().unzip()
}

fn ours(lab: &Lab, limit: &Process, size: usize) -> (Row, Filled) {
    let mut server = Process::start(Some(lab.router().host()), &["nftables", &GATEWAY.to_string()]);
    let id = server.id();
    lab.client().within(|| {
        let mut load = Load::new(id, GATEWAY);
        let before = server.batches();
        let (count, took) = load.fill(&mappings(size), Duration::from_secs(60));
        let size = count;
        let batches = Some(server.batches() - before);
        let one_more = load.latency_of(&new_mappings());
        let one_less = load.latency_of(&new_mappings().map(deletion));
        let rows = compare(&mut [limit_of(limit), Subject { who: OURS, id, load }], size, ROUNDS, SLICE);
        (rows[0], Filled { row: rows[1], took, batches, one_more, one_less })
    })
}

fn peer(lab: &Lab, limit: &Process) -> Vec<(Row, Filled)> {
    let _daemon = lab.miniupnpd().option("max_lifetime=86400").start();
    let id = std::fs::read_to_string(lab.directory().join("miniupnpd.pid")).unwrap().trim().parse().unwrap();
    process::pin(Some(id), 0);
    let patience = std::env::var("NATPMP_BENCH_PATIENCE").ok().and_then(|seconds| seconds.parse().ok());
    let mut left = Duration::from_secs(patience.unwrap_or(60));
    let (mut all, mut filled) = (Vec::new(), Duration::ZERO);
    lab.client().within(|| {
        for size in PEER_SIZES {
            let mut load = Load::new(id, GATEWAY).slowly();
            let before: usize = all.last().map_or(0, |(_, last): &(_, Filled)| last.row.size);
            let (count, took) = load.fill(&mappings(size)[before..], left);
            left = left.saturating_sub(took);
            filled += took;
            let one_more = load.latency_of(&new_mappings());
            let one_less = load.latency_of(&new_mappings().map(deletion));
            let mut subjects = [limit_of(limit), Subject { who: PEER, id, load }];
            let rows = compare(&mut subjects, before + count, 3, SLICE * 5);
            all.push((rows[0], Filled { row: rows[1], took: filled, batches: None, one_more, one_less }));
        }
    });
    all
}

fn limit_of(limit: &Process) -> Subject {
    Subject { who: ECHO, id: limit.id(), load: Load::new(limit.id(), limit.address) }
}

/// Of ports beyond all others.
fn new_mappings() -> [Encoded; 20] {
    std::array::from_fn(|number| mapping(LARGEST + number))
}

pub(crate) const OURS: &str = "natpmp-std, nftables";
pub(crate) const PEER: &str = "miniupnpd";
const SIZES: [usize; 5] = [10, 1_000, 5_000, 10_000, 60_000];
const PEER_SIZES: [usize; 4] = [10, 100, 1_000, 5_000];
const LARGEST: usize = 60_000;
const ROUNDS: usize = 5;
const SLICE: Duration = Duration::from_millis(120);
