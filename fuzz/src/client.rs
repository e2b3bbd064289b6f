//! **Invariant.** Whatever a client is told to do, whatever bytes come from its gateway or from others, whatever happens to the
//! network, the gateway and the clock: the client does only what a correct one does, as `natpmp_testkit::model::client` has it
//! from the RFC. It has one request in flight, never sends faster than the schedule, nor to anybody but its gateway, tells events that make
//! sense one after the other, and comes to rest. When all faults are over, what is wanted is open again, and client and gateway agree.

/// Reads what happens from these bytes, at most 100 steps, and lets it happen to one client.
///
/// # Panics
/// If the invariant does not hold.
pub fn run(bytes: &[u8]) {
    natpmp_testkit::model::client::run(bytes);
}
