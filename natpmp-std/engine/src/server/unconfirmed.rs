//! What a state had, until the NAT has it. A gateway that is killed or ended before that has promised it all the same: it stays in the file.

use std::collections::HashMap;

use natpmp_proto::Instant;
use natpmp_proto::gateway::NatMapping;

use super::shared::Core;
use super::{State, StoredMapping};

/// The mappings that the NAT was not asked for yet or has said nothing of yet, and when their leases end.
#[derive(Debug, Default)]
pub(super) struct TakenUp(HashMap<NatMapping, u64>);

impl TakenUp {
    /// All that a state had.
    pub(super) fn of(mappings: &[StoredMapping]) -> Self {
        Self(mappings.iter().map(|stored| (stored.mapping, stored.expires_at)).collect())
    }

    /// The NAT has said whether it has this mapping, or it will not be asked.
    pub(super) fn settle(&mut self, mapping: &NatMapping) {
        self.0.remove(mapping);
    }

    /// The state at this moment.
    pub(super) fn state(&self, core: &Core, now: Instant) -> State {
        let mut state = core.state(now);
        state.mappings.extend(self.0.iter().map(|(&mapping, &expires_at)| StoredMapping { mapping, expires_at }));
        state
    }
}
