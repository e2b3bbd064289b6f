//! The machine beside its model.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use natpmp_proto::gateway::{Config, Gateway, NatRequest, PortRange};
use natpmp_proto::{Instant, Protocol};

use super::row::{All, Key, Row};
use super::{CAPACITY, DENIED, HIGH, LIMIT, LONGEST, LOW};

/// Both, in step.
pub(super) struct Run {
    pub(super) gateway: Box<Gateway<CAPACITY>>,
    pub(super) now: Instant,
    pub(super) rows: BTreeMap<Key, Row>,
    pub(super) deletions: BTreeMap<(Ipv4Addr, Protocol), All>,
    /// What the NAT was asked and has not answered.
    pub(super) due: Vec<NatRequest>,
    pub(super) is_eager: bool,
    pub(super) is_on: bool,
    pub(super) is_allowed: bool,
    pub(super) address: Option<Ipv4Addr>,
    /// Counts the external addresses.
    pub(super) addresses: u32,
    pub(super) epoch: (Instant, u32),
    /// How many of the present row, and when the next is due.
    pub(super) announced: u32,
    pub(super) announce_at: Instant,
    pub(super) datagrams: u16,
}

impl Run {
    pub(super) fn new(seed: u64, is_eager: bool) -> Self {
        let config = Config::new()
            .seed(seed)
            .longest_lifetime(LONGEST)
            .per_client(LIMIT as u16)
            .ports(PortRange::new(LOW, HIGH).unwrap())
            .deny(PortRange::new(DENIED[0], DENIED[1]).unwrap())
            .unwrap();
        let mut run = Self {
            gateway: Box::new(Gateway::new(config)),
            now: Instant::from_secs(1_000),
            rows: BTreeMap::new(),
            deletions: BTreeMap::new(),
            due: Vec::new(),
            is_eager,
            is_on: true,
            is_allowed: true,
            address: None,
            addresses: 0,
            epoch: (Instant::from_secs(1_000), 0),
            announced: 0,
            announce_at: Instant::from_secs(1_000),
            datagrams: 0,
        };
        run.gateway.start(run.now, 0);
        run.set_address(Some(0));
        run
    }
}
