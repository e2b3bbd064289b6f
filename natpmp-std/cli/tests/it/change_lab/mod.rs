//! `natpmp keep` while the network changes under it: real interfaces, addresses and routes, a real `miniupnpd` and real packets.
//!
//! What each test ends with is the same: the JSON events, the runs of the hook and the contents of the port file tell one story, each
//! change once.
//!
//! Without root or the programs that a lab takes, each test says why it is skipped; `NATPMP_REQUIRE_LAB=1` makes that a failure.

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

use natpmp_lab::{GATEWAY, Lab};
use natpmp_testkit::gateway::{Gateway, Served};

use keeping::Keep;

use super::{NATPMP, SOON, ip};

/// A gateway with faults on the router, in the place of `miniupnpd`. It makes no mappings in the kernel.
fn faulty(lab: &Lab, gateway: Gateway) -> Served {
    lab.router().host().within(|| Served::start_at(gateway, GATEWAY))
}

/// Changes are looked at after 200 ms; the rest is what a busy machine takes.
const AT_ONCE: Duration = Duration::from_millis(1_500);
/// How every story begins that begins with a mapping of UDP or TCP 4000.
const OPENED: [&str; 2] = ["external-address 11.22.33.44", "mapped 4000 11.22.33.44"];
