//! **Invariant.** Of any bytes or text that the kernel may give, reading ends and does not panic; no more is found than fits into
//! what came, and what is found in a part of it is found in the whole. Of the routes that are understood at most one is the one that
//! counts; it comes first, and is the gateway that is discovered. The removal of a flow names that flow and no other.

use std::net::Ipv4Addr;

use natpmp_engine::os::netlink::{Link, Route, matters};
use natpmp_engine::os::routes::{DiscoverError, RoutingTables};
use natpmp_nat::Protocol;
use natpmp_nat::nftables::conntrack::{Flow, flow_named_in};
use natpmp_nat::nftables::mappings_in_message;
use natpmp_netlink::{Attributes, BatchAnswers, Messages};

use crate::reader::Reader;

/// Reads these bytes as the first one says.
///
/// # Panics
/// If the invariant does not hold.
pub fn run(bytes: &[u8]) {
    let bytes = &bytes[..bytes.len().min(LONGEST)];
    let mut parts = Reader::new(bytes);
    match parts.u8() % 5 {
        0 => netlink(parts.rest()),
        1 => {
            let [lower, upper, links] = [parts.part(), parts.part(), parts.part()];
            check(RoutingTables::from_netlink(links, parts.rest(), [lower, upper]));
        }
        2 => {
            let devices = String::from_utf8_lossy(parts.part());
            check(RoutingTables::from_proc(&String::from_utf8_lossy(parts.rest()), &devices));
        }
        3 => flow(parts.rest()),
        _ => leftover(parts.rest()),
    }
}

/// How much was found in messages.
#[derive(Default)]
struct Found {
    messages: usize,
    attributes: usize,
    links: usize,
    routes: usize,
    /// Where the routes lead next.
    hops: usize,
    /// Messages that answer the first question.
    answers: usize,
    /// Messages that belong to a transaction and are no answers.
    echoes: usize,
    is_news: bool,
}

impl Found {
    /// Reads messages of netlink in all the ways that there are.
    fn in_bytes(bytes: &[u8]) -> Self {
        let mut found = Self { is_news: matters(bytes), ..Self::default() };
        for message in Messages::new(bytes) {
            found.messages += 1;
            found.attributes += Attributes::new(message.body).count();
            found.links += usize::from(Link::read(message.body).is_some());
            if let Some(route) = Route::read(message.body) {
                found.routes += 1;
                found.hops += route.hops.len();
            }
        }
        let _ = natpmp_netlink::read(bytes, 1, &mut false, |_| found.answers += 1);
        let mut answers = BatchAnswers::new(1, 3);
        answers.read(bytes, |_| found.echoes += 1);
        if let Err(refusal) = answers.outcome() {
            assert!(refusal.message.is_none_or(|message| message < 3));
        }
        found
    }
}

fn netlink(bytes: &[u8]) {
    let whole = Found::in_bytes(bytes);
    assert!(whole.messages <= bytes.len() / 16);
    assert!(whole.attributes <= bytes.len() / 4);
    assert!(whole.hops <= bytes.len() / 4, "each has a header, or belongs to a route of its own");
    assert!(whole.routes.max(whole.links).max(whole.answers).max(whole.echoes) <= whole.messages);
    let part = Found::in_bytes(&bytes[..bytes.len() / 2]);
    assert!(part.messages <= whole.messages && part.attributes <= whole.attributes && part.hops <= whole.hops);
    assert!(!part.is_news || whole.is_news);
}

fn check(tables: RoutingTables) {
    let candidates = &tables.candidates();
    let result = &tables.gateway(None);
    let chosen: Vec<usize> = (0..candidates.len()).filter(|&at| candidates[at].is_chosen()).collect();
    match result {
        Ok(found) => {
            assert_eq!(chosen, [0], "{candidates:?}");
            assert_eq!((candidates[0].gateway, &candidates[0].interface), (Some(found.address), &found.interface));
        }
        Err(DiscoverError::NoDefaultRoute | DiscoverError::NoGatewayAddress { .. }) => {
            assert!(chosen.is_empty(), "{candidates:?}");
        }
        Err(other) => panic!("{other}"),
    }
    for candidate in candidates {
        assert!(!candidate.reason().is_empty());
        assert_ne!(candidate.gateway, Some(Ipv4Addr::UNSPECIFIED));
    }
}

fn flow(bytes: &[u8]) {
    let Some(flow) = Flow::from_message(bytes) else { return };
    assert_eq!(flow_named_in(&flow.removal()), Some((flow.protocol, flow.original, flow.id)));
    // Both ends stand in the bytes.
    for end in [flow.original.from, flow.original.to] {
        assert!(bytes.windows(4).any(|window| window == end.ip().octets()));
        assert!(bytes.windows(2).any(|window| window == end.port().to_be_bytes()));
    }
}

fn leftover(bytes: &[u8]) {
    let [datagrams, streams] = Protocol::ALL.map(|protocol| mappings_in_message(protocol, bytes));
    assert_eq!(datagrams.len(), streams.len());
    // Key and value, each with their headers.
    assert!(datagrams.len() <= bytes.len() / 32);
    for mapping in datagrams.into_iter().chain(streams) {
        let stands = |part: &[u8]| bytes.windows(part.len()).any(|window| window == part);
        assert!(stands(&mapping.internal.ip().octets()) && stands(&mapping.internal.port().to_be_bytes()));
        assert!(stands(&mapping.external_port.to_be_bytes()));
    }
}

const LONGEST: usize = 4_096;
