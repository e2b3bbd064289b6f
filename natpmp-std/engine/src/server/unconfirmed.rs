//! The mappings of the start, until the NAT has said what it makes of them.
//!
//! A server takes up the mappings of its state file, and those of its administrator, as soon as there is an external address. One that is
//! killed before the NAT has confirmed them has promised them all the same: they stay in the file until then.

use std::collections::HashMap;

use natpmp_proto::Instant;
use natpmp_proto::gateway::NatMapping;

use super::handle::SharedState;
use super::store::unix_time;
use super::{StoredMapping, StoredState};

/// The mappings of the start that the NAT has not confirmed or refused yet.
#[derive(Debug)]
pub(super) struct UnconfirmedMappings {
    phase: Phase,
    /// Those of the state file, with the end of each lease in seconds since 1970.
    stored: HashMap<NatMapping, u64>,
}

/// Whether the machine has the mappings already. Neither phase has a deadline: the first ends with an external address.
#[derive(Debug)]
enum Phase {
    /// There was no external address yet.
    Waiting { statics: Vec<NatMapping>, stored: Vec<StoredMapping> },
    /// The machine has them, and asks the NAT for them.
    Restored,
}

impl UnconfirmedMappings {
    /// All mappings of the administrator and of the state file.
    pub(super) fn new(statics: Vec<NatMapping>, stored: Vec<StoredMapping>) -> Self {
        let expiries = stored.iter().map(|stored| (stored.mapping, stored.expires_at)).collect();
        Self { phase: Phase::Waiting { statics, stored }, stored: expiries }
    }

    /// Hands them to the machine, the first time that this is called.
    pub(super) fn restore(&mut self, state: &mut SharedState) {
        let Phase::Waiting { statics, stored } = std::mem::replace(&mut self.phase, Phase::Restored) else { return };
        for mapping in statics {
            if !state.gateway.add_static(&mapping) {
                log::warn!("{mapping:?} cannot be mapped: its port or its client's port is taken");
            }
        }
        let now = unix_time();
        for StoredMapping { mapping, expires_at } in stored {
            let left = u32::try_from(expires_at.saturating_sub(now)).unwrap_or(u32::MAX);
            if !state.gateway.restore(&mapping, left) {
                self.settle(&mapping);
                log::debug!("{mapping:?} is not taken up again");
            }
        }
    }

    /// The NAT has confirmed or refused this mapping, or will not be asked for it.
    pub(super) fn settle(&mut self, mapping: &NatMapping) {
        self.stored.remove(mapping);
    }

    /// Forgets those of the state file.
    pub(super) fn clear(&mut self) {
        if let Phase::Waiting { stored, .. } = &mut self.phase {
            stored.clear();
        }
        self.stored.clear();
    }

    /// The state to be saved: what the machine has, and what is unconfirmed.
    pub(super) fn to_stored(&self, shared: &SharedState, now: Instant) -> StoredState {
        let mut state = shared.to_stored(now);
        let unconfirmed = self.stored.iter();
        state.mappings.extend(unconfirmed.map(|(&mapping, &expires_at)| StoredMapping { mapping, expires_at }));
        state
    }
}
