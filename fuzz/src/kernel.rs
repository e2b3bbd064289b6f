//! **Invariant.** Of any bytes or text that the kernel or `nft` may give, reading ends and does not panic; no more is found than fits into
//! what came, and what is found in a part of it is found in the whole. Of the routes that are understood at most one is the one that
//! counts; it comes first, and is the gateway that is discovered. The removal of a flow names that flow and no other.

use std::net::Ipv4Addr;

use natpmp_std::DiscoverError;
use natpmp_std::fuzzing::{self, Gateways};

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
            check(&fuzzing::gateways_by_netlink(links, parts.rest(), [lower, upper]));
        }
        2 => {
            let devices = String::from_utf8_lossy(parts.part());
            check(&fuzzing::gateways_by_text(&String::from_utf8_lossy(parts.rest()), &devices));
        }
        3 => flow(parts.rest()),
        _ => leftover(&String::from_utf8_lossy(parts.rest())),
    }
}

fn netlink(bytes: &[u8]) {
    let whole = fuzzing::netlink(bytes);
    assert!(whole.messages <= bytes.len() / 16);
    assert!(whole.attributes <= bytes.len() / 4);
    assert!(whole.hops <= bytes.len() / 4, "each has a header, or belongs to a route of its own");
    assert!(whole.routes.max(whole.links).max(whole.answers) <= whole.messages);
    let part = fuzzing::netlink(&bytes[..bytes.len() / 2]);
    assert!(part.messages <= whole.messages && part.attributes <= whole.attributes && part.hops <= whole.hops);
    assert!(!part.is_news || whole.is_news);
}

fn check((candidates, result): &Gateways) {
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
        assert!(!candidate.reason.to_string().is_empty());
        assert_ne!(candidate.gateway, Some(Ipv4Addr::UNSPECIFIED));
    }
}

fn flow(bytes: &[u8]) {
    let Some((_, ends, is_named_in_removal)) = fuzzing::flow(bytes) else { return };
    assert!(is_named_in_removal);
    // Both ends stand in the bytes.
    for end in ends {
        assert!(bytes.windows(4).any(|window| window == end.ip().octets()));
        assert!(bytes.windows(2).any(|window| window == end.port().to_be_bytes()));
    }
}

fn leftover(listed: &str) {
    let mappings = fuzzing::leftover(listed);
    // `1 : 1.1.1.1 . 1`
    assert!(mappings.len() <= listed.len() / 15);
    for (mapping, external) in mappings {
        for part in [mapping.external_port.to_string(), mapping.internal.ip().to_string(), external.to_string()] {
            assert!(listed.contains(&part), "{part}");
        }
    }
}

const LONGEST: usize = 4_096;
