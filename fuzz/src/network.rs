//! **Invariant.** However bad the network between several clients and their gateway is, however slow its NAT, whoever sleeps,
//! restarts, or gets another address: when the faults are over, every mapping that a client keeps is open, with the client, the gateway and
//! the NAT agreeing on it; what no client wants is gone at the end of its lease.

/// Reads what happens from these bytes, at most 100 steps, and lets it happen to clients and a gateway.
///
/// # Panics
/// If the invariant does not hold.
pub fn run(bytes: &[u8]) {
    natpmp_testkit::model::client_and_gateway::run(bytes);
}
