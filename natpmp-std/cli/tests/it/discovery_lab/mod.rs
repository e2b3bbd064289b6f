//! Discovery in the lab: real routing tables, rules and links, and the kernel's own choice among them.
//!
//! Without root or the programs that a lab takes, each test says why it is skipped; `NATPMP_REQUIRE_LAB=1` makes that a
//! failure.

mod choosing;
mod listing;
mod policy;
mod shadowing;
mod watching;

use natpmp_lab::{Host, Lab};
use natpmp_std::{DiscoverError, discover_gateway, discover_gateway_on, list_gateways};

use super::{NATPMP, SOON, ip};

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
fn listed(host: &Host) -> Vec<(String, String)> {
    let candidates = host.within(list_gateways).unwrap();
    candidates.into_iter().map(|candidate| (candidate.interface.clone(), candidate.reason())).collect()
}

fn reasons<const N: usize>(expected: [(&str, &str); N]) -> Vec<(String, String)> {
    expected.into_iter().map(|(interface, reason)| (interface.to_owned(), reason.to_owned())).collect()
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

// The reasons in the words of `gateway --all`.
const CHOSEN: &str = "the kernel's route to the internet";
const CHOSEN_WITHOUT_GATEWAY: &str =
    "the kernel's route to the internet, but it has no gateway address: point-to-point link";
const NO_GATEWAY_ADDRESS: &str = "no gateway address: point-to-point link";
const INTERFACE_DOWN: &str = "interface is down";
const HIGHER_METRIC: &str = "a route with a lower metric comes first";
const COMES_LATER: &str = "a route that is as good comes first";
const HALF_ONLY: &str = "for half of the addresses only";
const REJECTED: &str = "another route or a rule rejects what would go by it";
const POLICY_ROUTING: &str = "only reached by policy routing";
