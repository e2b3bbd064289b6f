//! **Invariant.** Whatever several clients ask of a gateway, whatever bytes they send, whatever its NAT does late, out of order or
//! not at all, and whatever the administrator changes in between: after each step the gateway has answered as a correct one, as
//! `natpmp_testkit::model::gateway` has it from the RFC. It says yes only to what the NAT holds, gives no port twice, no client more than
//! its share, no answer longer than 16 bytes or the request, and announces on time. At the end of all leases nothing is open.

/// Reads what happens from these bytes, at most 200 steps, and lets it happen to one gateway.
///
/// # Panics
/// If the invariant does not hold.
pub fn run(bytes: &[u8]) {
    natpmp_testkit::model::gateway::run(bytes);
}
