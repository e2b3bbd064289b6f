//! The firmware of `natpmp-proto/examples/firmware`, in QEMU on the link of a lab: its client behind the real `miniupnpd`, its gateway with
//! `natpmpc` and our own `natpmp keep`.
//!
//! The images are in the directory that `NATPMP_FIRMWARE` names, as `build-for-the-lab.sh` leaves them there. Without them, root, or the programs
//! that a lab takes, each test says why it is skipped; `NATPMP_REQUIRE_LAB=1` makes that a failure.

mod by_hand;
mod changes;
mod client;
mod dhcp;
mod gateway;
mod machine;

use std::time::Duration;

use super::NATPMP;

/// Long enough for all that is waited for here, the RFC's pauses included. A board's clock falls behind where QEMU does not get its share of the
/// processor.
const SOON: Duration = Duration::from_secs(40);
