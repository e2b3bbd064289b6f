//! Discovery in the lab: real routing tables, rules and links, and the kernel's own choice among them.
//!
//! Without root or the programs that a lab takes, each test says why it is skipped; `NATPMP_REQUIRE_LAB=1` makes that a
//! failure.
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

mod choosing;
mod listing;
mod policy;
mod shadowing;
mod watching;

use natpmp_lab::{Host, Lab};
use natpmp_std::{DiscoverError, RouteReason, discover_gateway, discover_gateway_on, list_gateways};

/// The command `ip`, in its own words.
fn ip(host: &Host, words: &str) {
    host.ip(&words.split(' ').collect::<Vec<_>>());
}

/// One more network on a host: an interface with this address. Its other end stays on the host too; nobody answers
/// there.
fn network(host: &Host, interface: &str, address: &str) {
    ip(host, &format!("link add {interface} type veth peer name {interface}-end"));
    ip(host, &format!("link set {interface}-end up"));
    ip(host, &format!("link set {interface} up"));
    ip(host, &format!("address add {address} dev {interface}"));
}

/// What is discovered on a host: address and interface.
fn discovered(host: &Host) -> Result<String, DiscoverError> {
    host.within(discover_gateway).map(|found| format!("{} {}", found.address, found.interface))
}

fn discovered_on(host: &Host, interface: &str) -> Result<String, DiscoverError> {
    host.within(|| discover_gateway_on(interface)).map(|found| found.address.to_string())
}

/// All candidates: interface and reason.
fn listed(host: &Host) -> Vec<(String, RouteReason)> {
    let candidates = host.within(list_gateways).unwrap();
    candidates.into_iter().map(|candidate| (candidate.interface, candidate.reason)).collect()
}

fn told<const N: usize>(expected: [(&str, RouteReason); N]) -> Vec<(String, RouteReason)> {
    expected.into_iter().map(|(interface, reason)| (interface.to_owned(), reason)).collect()
}

/// The interface and the hints of an error that says that the route names no gateway.
fn without_address(error: &DiscoverError) -> (String, Vec<String>) {
    let DiscoverError::NoGatewayAddress { interface, others } = error else { panic!("{error:?}") };
    (interface.clone(), others.iter().map(|other| other.address.to_string()).collect())
}

/// A lab whose client has a second network, wlan0, with a gateway of its own: its default route has a higher metric.
fn two_networks() -> Option<Lab> {
    let lab = Lab::or_skip()?;
    network(lab.client(), "wlan0", "10.0.0.2/24");
    ip(lab.client(), "route add default via 10.0.0.1 metric 600");
    Some(lab)
}
