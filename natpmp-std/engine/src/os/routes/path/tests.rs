//! Ways to addresses, as they come and go in a lab.

use std::net::Ipv4Addr;
use std::time::Duration;

use natpmp_lab::{Host, Lab, wait_until};

use super::{Path, by_socket, is_on_link, path_to};

#[test]
fn a_neighbour_is_on_link_and_nobody_else() {
    let Some(lab) = Lab::or_skip() else { return };
    let client = lab.client();
    let on_link = |octets: [u8; 4]| client.within(|| is_on_link(octets.into()));
    assert!(on_link([192, 168, 1, 1]));
    assert!(!on_link([11, 22, 33, 1]), "behind the gateway");
    assert!(!on_link([127, 0, 0, 1]) && !on_link([192, 168, 1, 11]), "this host itself");
    assert!(!on_link([192, 168, 1, 255]), "all of them");
    client.ip(&["route", "add", "unreachable", "192.168.1.7"]);
    assert!(!on_link([192, 168, 1, 7]));
    client.ip(&["route", "add", "10.99.0.0/16", "dev", "lo"]);
    assert!(!on_link([10, 99, 0, 1]), "it comes back");
    client.ip(&["route", "delete", "default"]);
    assert!(!on_link([11, 22, 33, 1]));
    client.ip(&["route", "add", "default", "dev", "eth0"]);
    assert!(on_link([11, 22, 33, 1]), "a link without a gateway reaches all");
}

#[test]
fn a_path_stays_equal_until_packets_leave_another_way() {
    let Some(lab) = Lab::or_skip() else { return };
    let client = lab.client();
    let path = || to(client, GATEWAY, None, None);
    let first = path().unwrap();
    assert_eq!((first.source, first.is_up), (Ipv4Addr::new(192, 168, 1, 11), true));
    assert_ne!(first.interface_index, 0);

    client.ip(&["route", "add", "10.9.0.0/16", "via", "192.168.1.1"]);
    client.ip(&["address", "add", "192.168.1.99/24", "dev", "eth0"]);
    client.ip(&["route", "delete", "default"]);
    assert_eq!(path(), Some(first), "nothing that is about it");

    client.ip(&["route", "add", "192.168.1.1", "dev", "eth0", "src", "192.168.1.99"]);
    let other = path().unwrap();
    assert_eq!(other, Path { source: Ipv4Addr::new(192, 168, 1, 99), ..first });
    client.ip(&["route", "replace", "unreachable", "192.168.1.1"]);
    assert_eq!(path(), None);
    client.ip(&["route", "delete", "192.168.1.1"]);
    assert_eq!(path(), Some(first));

    client.ip(&["link", "set", "eth0", "down"]);
    assert_eq!(path(), None);
    client.ip(&["link", "set", "eth0", "up"]);
    assert!(wait_until(SOON, || path() == Some(first)), "{:?}", path());
    lab.router().host().ip(&["link", "set", "port0", "down"]);
    // The kernel takes up to some seconds to notice.
    assert!(wait_until(SOON, || path() == Some(Path { is_up: false, ..first })), "the cable is out: {:?}", path());
}

#[test]
fn a_path_that_was_asked_for_by_interface_or_source_goes_that_way() {
    let Some(lab) = Lab::or_skip() else { return };
    let client = lab.client();
    client.ip(&["link", "add", "veth0", "type", "veth", "peer", "name", "veth1"]);
    for veth in ["veth0", "veth1"] {
        client.ip(&["link", "set", veth, "up"]);
    }
    client.ip(&["address", "add", "10.0.0.2/24", "dev", "veth0"]);
    let first = to(client, GATEWAY, None, None).unwrap();
    assert_eq!(to(client, GATEWAY, Some("eth0"), None), Some(first));
    assert_eq!(to(client, GATEWAY, None, Some(first.source)), Some(first));

    let other = to(client, GATEWAY, Some("veth0"), None).unwrap();
    assert_ne!(other.interface_index, first.interface_index);
    assert_eq!(other.source, Ipv4Addr::new(10, 0, 0, 2));
    let other = to(client, GATEWAY, None, Some(other.source)).unwrap();
    assert_eq!((other.interface_index, other.source), (first.interface_index, Ipv4Addr::new(10, 0, 0, 2)));

    assert_eq!(to(client, GATEWAY, Some("eth7"), None), None);
    assert_eq!(to(client, GATEWAY, None, Some(Ipv4Addr::new(10, 9, 9, 9))), None);
    assert!(to(client, Ipv4Addr::LOCALHOST, None, None).is_some());
}

#[test]
fn a_socket_tells_the_source_at_least() {
    let Some(lab) = Lab::or_skip() else { return };
    let client = lab.client();
    let path = |interface, source| client.within(|| by_socket(GATEWAY, interface, source));
    let expected = Path { interface_index: 0, source: Ipv4Addr::new(192, 168, 1, 11), is_up: true };
    assert_eq!(path(None, None), Some(expected));
    assert_eq!(path(Some("eth0"), Some(expected.source)), Some(expected));
    assert_eq!(path(Some("eth7"), None), None);
    assert_eq!(path(None, Some(Ipv4Addr::new(10, 9, 9, 9))), None);
    client.ip(&["link", "set", "eth0", "down"]);
    assert_eq!(path(None, None), None);
}

fn to(client: &Host, address: Ipv4Addr, interface: Option<&str>, source: Option<Ipv4Addr>) -> Option<Path> {
    client.within(|| path_to(address, interface, source))
}

const SOON: Duration = Duration::from_secs(10);
const GATEWAY: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 1);
