//! A NAT that keeps a record, is slow and fails as it is told to.

use std::collections::BTreeMap;
use std::net::SocketAddrV4;
use std::time::Duration;

use natpmp_proto::Protocol;
use natpmp_proto::gateway::{NatFailure, NatMapping, NatRequest};

use crate::random::Random;

/// What the NAT has, by its own word.
#[derive(Debug, Default)]
pub struct Nat {
    /// Who is behind each port.
    pub held: BTreeMap<(Protocol, u16), SocketAddrV4>,
    /// The longest time it takes.
    pub delay: Duration,
    /// In percent.
    pub failures: u8,
    /// How many things it was asked and has not done.
    pub(super) pending: usize,
    /// Counts its reboots.
    pub(super) life: u64,
}

impl Nat {
    /// It begins anew.
    pub(super) fn forget(&mut self) {
        self.held.clear();
        (self.pending, self.life) = (0, self.life + 1);
    }

    pub(super) fn work(&mut self, request: &NatRequest, random: &mut Random) -> Result<(), NatFailure> {
        let NatMapping { protocol, internal, external_port } = *request.mapping();
        let id = (protocol, external_port);
        self.pending -= 1;
        if random.chance(self.failures) {
            let failure = if random.chance(50) { NatFailure::Network } else { NatFailure::Resources };
            if matches!(request, NatRequest::Install(_)) {
                self.held.remove(&id);
            }
            return Err(failure);
        }
        match request {
            NatRequest::Install(_) => {
                for other in Protocol::ALL {
                    let holder = self.held.get(&(other, external_port));
                    assert!(holder.is_none_or(|holder| holder.ip() == internal.ip()), "G09: it is another client's");
                }
                let before = self.held.insert(id, internal);
                assert!(before.is_none_or(|before| before == internal), "it is another mapping's");
            }
            NatRequest::Remove(_) => assert_eq!(self.held.remove(&id), Some(internal), "it does not have it"),
        }
        Ok(())
    }
}
