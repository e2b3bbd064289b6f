//! What the parts of netfilter have in common, and the generation of its rule set.

use std::io;

use crate::message::{NLM_F_ACK, array, find};
use crate::socket::Socket;

/// The header between that of a message and its attributes: the family, and a number whose meaning depends on the message.
#[must_use]
pub const fn header(family: u8, resource: u16) -> [u8; 4] {
    let [high, low] = resource.to_be_bytes();
    [family, VERSION, high, low]
}

/// Asks for the number of the rule set's generation: every transaction of nftables, whoever commits it, begins another one.
///
/// # Errors
/// What the system said; [`io::ErrorKind::Unsupported`] if the kernel has no nftables.
pub fn generation(socket: &mut Socket) -> io::Result<u32> {
    let mut found = None;
    let kind = u16::from_be_bytes([NFTABLES, NFT_MSG_GETGEN]);
    socket.ask(kind, NLM_F_ACK, &header(0, 0), |answer| found = generation_in(answer.body).or(found))?.accepted()?;
    found.ok_or_else(|| io::ErrorKind::Unsupported.into())
}

fn generation_in(body: &[u8]) -> Option<u32> {
    let value = find(body.get(header(0, 0).len()..)?, NFTA_GEN_ID)?;
    Some(u32::from_be_bytes(array(value, 0)?))
}

/// The part of netfilter that tracks connections.
pub const CONNTRACK: u8 = 1;
/// The part of netfilter that has the rules.
pub const NFTABLES: u8 = 10;
/// The family of IPv4.
pub const IPV4: u8 = 2;
/// The group that hears of every change of the rules.
pub const GROUP_NFTABLES: u32 = 1 << 6;

const VERSION: u8 = 0;
const NFT_MSG_GETGEN: u8 = 16;
const NFTA_GEN_ID: u16 = 1;
