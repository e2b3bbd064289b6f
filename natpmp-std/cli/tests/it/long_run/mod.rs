//! `natpmp keep` for a long time, while all goes wrong: gateways are killed and started again, links go down, packets are lost,
//! addresses change and hosts sleep, at random and from a seed. All along it is asked, in flows that did not exist before, whether the
//! mappings work: after each fault they must, within [`BOUND`]. At the end nothing may be left, neither a rule nor a process,
//! and `keep` may not have grown.
//!
//! As it stands each test goes on for some seconds, and for two faults at least. For longer, and for other faults:
//!
//! ```sh
//! NATPMP_LONG_RUN_SECONDS=1200 NATPMP_LONG_RUN_SEED=7 cargo test -p natpmp-cli --test it long_run:: -- --nocapture
//! ```
//!
//! Each test says its seed and what came of it. The same seed brings the same faults in the same order.
//!
//! Without root or the programs that a lab takes, all but the tests in [`loopback`] say why they are skipped; `NATPMP_REQUIRE_LAB=1`
//! makes that a failure.

mod kept;
mod lab_world;
mod log;
mod loopback;
mod router;
mod run;

use std::time::Duration;

use lab_world::LabWorld;
use router::Kind;

use super::{Directory, NATPMP, SOON};

/// Side by side: each waits most of the time.
#[test]
fn keep_outlives_whatever_happens_to_its_network_and_its_gateway() {
    std::thread::scope(|scope| {
        let kinds = [Kind::Miniupnpd, Kind::Nftables, Kind::Relay];
        let runs = kinds.map(|kind| (kind, scope.spawn(move || LabWorld::endure(kind))));
        let failed: Vec<Kind> =
            runs.into_iter().filter_map(|(kind, run)| run.join().is_err().then_some(kind)).collect();
        assert_eq!(failed, []);
    });
}

/// How long after the end of a fault all mappings work again. A pause between attempts is 8 s at most after outages as short as these;
/// after a restart up to 5 s go by before the first request (RFC 6886, section 3.7); the rest is what a busy machine takes.
const BOUND: Duration = Duration::from_secs(15);
