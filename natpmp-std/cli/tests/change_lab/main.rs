//! `natpmp keep` while the network changes under it: real interfaces, addresses and routes, a real `miniupnpd` and real packets.
//!
//! What each test ends with is the same: the JSON events, the runs of the hook and the contents of the port file tell one story, each
//! change once.
//!
//! Without root or the programs that a lab takes, each test says why it is skipped; `NATPMP_REQUIRE_LAB=1` makes that a failure.
#![cfg(target_os = "linux")]
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "in a test a broken assumption should end the test at once"
)]

mod addresses;
mod gateways;
mod idle;
mod interfaces;
mod keeping;
mod outages;
mod renewals;
mod story;
mod vpn;
mod waiting;

use std::time::Duration;

use natpmp_lab::{GATEWAY, Host, Lab};
use natpmp_testkit::gateway::{Gateway, Served};

use keeping::Keep;

/// The command `ip`, in its own words.
fn ip(host: &Host, words: &str) {
    host.ip(&words.split(' ').collect::<Vec<_>>());
}

/// A gateway with faults on the router, in the place of `miniupnpd`. It makes no mappings in the kernel.
fn faulty(lab: &Lab, gateway: Gateway) -> Served {
    lab.router().host().within(|| Served::start_at(gateway, GATEWAY))
}

const NATPMP: &str = env!("CARGO_BIN_EXE_natpmp");
/// Long enough for anything that is not meant to wait.
const SOON: Duration = Duration::from_secs(10);
/// News of a change are looked at after 200 ms; the rest is what a busy machine takes.
const AT_ONCE: Duration = Duration::from_millis(1_500);
/// How every story begins that begins with a mapping of UDP or TCP 4000.
const OPENED: [&str; 2] = ["external-address 11.22.33.44", "mapped 4000 11.22.33.44"];
