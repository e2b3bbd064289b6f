#![cfg(target_os = "linux")]

use std::error::Error as _;
use std::io;
use std::net::Ipv4Addr;

use super::linux::{default_routes, interfaces};
use super::routes::{DefaultRoute, Routes};
use super::{DiscoverError, FoundGateway};

const HEADING: &str = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT   \n";

/// What the kernel of this host prints for an address.
fn hex(address: &str) -> String {
    let address: Ipv4Addr = address.parse().unwrap();
    format!("{:08X}", u32::from_ne_bytes(address.octets()))
}

fn line(interface: &str, destination: &str, gateway: &str, flags: u16, metric: u32, mask: &str) -> String {
    format!(
        "{interface}\t{}\t{}\t{flags:04X}\t0\t0\t{metric}\t{}\t0\t0\t0      \n",
        hex(destination),
        hex(gateway),
        hex(mask)
    )
}

fn default_via(interface: &str, gateway: &str, metric: u32) -> String {
    line(interface, "0.0.0.0", gateway, 0x3, metric, "0.0.0.0")
}

fn subnet(interface: &str) -> String {
    line(interface, "192.168.1.0", "0.0.0.0", 0x1, 100, "255.255.255.0")
}

fn routes(lines: &[String]) -> Routes {
    Routes {
        default: default_routes(&format!("{HEADING}{}", lines.concat())),
        interfaces: ["lo", "eth0", "wlan0", "ppp0", "tun0"].map(str::to_owned).to_vec(),
    }
}

fn found(address: &str, interface: &str) -> FoundGateway {
    FoundGateway { address: address.parse().unwrap(), interface: interface.to_owned() }
}

#[test]
fn the_default_route_names_the_gateway_and_its_interface() {
    let routes = routes(&[default_via("eth0", "192.168.1.1", 100), subnet("eth0")]);
    assert_eq!(routes.gateway(None).unwrap(), found("192.168.1.1", "eth0"));
}

/// The text as kernels really print it, so that `hex` above is not only compared with itself.
#[test]
fn an_address_is_read_in_the_byte_order_of_the_host() {
    let text = if cfg!(target_endian = "little") {
        "eth0\t00000000\t0102A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"
    } else {
        "eth0\t00000000\tC0A80201\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"
    };
    let gateway = Ipv4Addr::new(192, 168, 2, 1);
    assert_eq!(default_routes(text)[0].gateway, Some(gateway));
}

#[test]
fn of_several_default_routes_the_lowest_metric_wins() {
    let routes = routes(&[
        default_via("wlan0", "10.0.0.1", 600),
        default_via("eth0", "192.168.1.1", 100),
        default_via("tun0", "10.8.0.1", 200),
    ]);
    assert_eq!(routes.gateway(None).unwrap(), found("192.168.1.1", "eth0"));
}

#[test]
fn of_equal_metrics_the_first_in_the_table_wins() {
    let routes = routes(&[default_via("wlan0", "10.0.0.1", 100), default_via("eth0", "192.168.1.1", 100)]);
    assert_eq!(routes.gateway(None).unwrap(), found("10.0.0.1", "wlan0"));
}

#[test]
fn the_largest_metric_is_read_as_such() {
    let routes =
        routes(&[default_via("wlan0", "10.0.0.1", u32::MAX), default_via("eth0", "192.168.1.1", 4_000_000_000)]);
    assert_eq!(routes.default[0].metric, u32::MAX);
    assert_eq!(routes.gateway(None).unwrap(), found("192.168.1.1", "eth0"));
}

#[test]
fn an_interface_asked_for_wins_over_a_lower_metric() {
    let routes = routes(&[
        default_via("eth0", "192.168.1.1", 100),
        default_via("wlan0", "10.0.0.2", 700),
        default_via("wlan0", "10.0.0.1", 600),
    ]);
    let gateway = routes.gateway(Some("wlan0")).unwrap();
    assert_eq!(gateway, found("10.0.0.1", "wlan0"));
}

#[test]
fn half_of_the_addresses_is_not_the_default_route() {
    let halves = [
        line("tun0", "0.0.0.0", "10.8.0.1", 0x3, 0, "128.0.0.0"),
        line("tun0", "128.0.0.0", "10.8.0.1", 0x3, 0, "128.0.0.0"),
    ];
    assert!(matches!(routes(&halves).gateway(None), Err(DiscoverError::NoDefaultRoute)));

    let [first, second] = halves;
    let shadowed = routes(&[first, second, default_via("eth0", "192.168.1.1", 100)]);
    assert_eq!(shadowed.gateway(None).unwrap(), found("192.168.1.1", "eth0"));
}

#[test]
fn a_mask_of_zero_with_a_destination_is_not_the_default_route() {
    let odd = line("eth0", "10.0.0.0", "192.168.1.1", 0x3, 0, "0.0.0.0");
    assert!(routes(&[odd]).default.is_empty());
}

#[test]
fn a_route_that_is_down_or_rejects_is_passed_over() {
    let down = line("eth0", "0.0.0.0", "192.168.1.1", 0x2, 0, "0.0.0.0");
    let reject = line("*", "0.0.0.0", "0.0.0.0", 0x201, 0, "0.0.0.0");
    assert!(routes(&[down, reject]).default.is_empty());
}

#[test]
fn a_default_route_without_gateway_is_passed_over_for_one_with() {
    let point_to_point = line("ppp0", "0.0.0.0", "0.0.0.0", 0x1, 0, "0.0.0.0");
    let routes = routes(&[point_to_point, default_via("eth0", "192.168.1.1", 100)]);
    assert_eq!(routes.gateway(None).unwrap(), found("192.168.1.1", "eth0"));
}

#[test]
fn only_default_routes_without_gateway_are_an_error_that_names_them() {
    let point_to_point = [
        line("tun0", "0.0.0.0", "0.0.0.0", 0x1, 50, "0.0.0.0"),
        line("ppp0", "0.0.0.0", "0.0.0.0", 0x1, 0, "0.0.0.0"),
        line("ppp0", "0.0.0.0", "0.0.0.0", 0x3, 60, "0.0.0.0"),
    ];
    let error = routes(&point_to_point).gateway(None).unwrap_err();
    assert!(
        matches!(&error, DiscoverError::NoGatewayAddress { interfaces } if *interfaces == ["ppp0", "tun0"]),
        "{error:?}"
    );
    let error = routes(&point_to_point).gateway(Some("tun0")).unwrap_err();
    assert!(matches!(&error, DiscoverError::NoGatewayAddress { interfaces } if *interfaces == ["tun0"]), "{error:?}");
    assert!(error.to_string().contains("leads into tun0"), "{error}");
}

#[test]
fn a_gateway_is_only_one_with_its_flag_and_its_address() {
    let no_flag = line("ppp0", "0.0.0.0", "192.168.1.1", 0x1, 0, "0.0.0.0");
    let no_address = line("ppp0", "0.0.0.0", "0.0.0.0", 0x3, 0, "0.0.0.0");
    for route in default_routes(&format!("{no_flag}{no_address}")) {
        assert_eq!(route.gateway, None);
    }
}

#[test]
fn no_default_route_is_an_error_that_says_where_it_looked() {
    let error = routes(&[subnet("eth0")]).gateway(None).unwrap_err();
    assert!(matches!(error, DiscoverError::NoDefaultRoute));
    assert_eq!(
        error.to_string(),
        "no IPv4 default route in the routing table (/proc/net/route): \
         connect to a network, or give the gateway's address"
    );
}

#[test]
fn an_interface_without_default_route_is_told_which_ones_have_one() {
    let routes = routes(&[
        default_via("wlan0", "10.0.0.1", 600),
        default_via("eth0", "192.168.1.1", 100),
        line("tun0", "0.0.0.0", "10.8.0.1", 0x3, 0, "128.0.0.0"),
    ]);
    let error = routes.gateway(Some("tun0")).unwrap_err();
    let DiscoverError::NoRouteOnInterface { interface, default_routes } = &error else {
        panic!("{error:?}");
    };
    assert_eq!(interface, "tun0");
    assert_eq!(*default_routes, [found("192.168.1.1", "eth0"), found("10.0.0.1", "wlan0")]);
    assert_eq!(
        error.to_string(),
        "no IPv4 default route through tun0 in the routing table (/proc/net/route) \
         (there is 192.168.1.1 through eth0, 10.0.0.1 through wlan0): \
         give the gateway's address, or another interface"
    );
}

#[test]
fn an_interface_that_does_not_exist_is_told_from_one_without_route() {
    let error = routes(&[default_via("eth0", "192.168.1.1", 100)]).gateway(Some("eth1")).unwrap_err();
    assert!(matches!(error, DiscoverError::NoSuchInterface { .. }), "{error:?}");
    assert_eq!(error.to_string(), r#"no network interface is named "eth1": there is lo, eth0, wlan0, ppp0, tun0"#);
}

#[test]
fn without_a_list_of_interfaces_none_is_said_not_to_exist() {
    let routes = Routes { interfaces: Vec::new(), ..routes(&[]) };
    let error = routes.gateway(Some("eth1")).unwrap_err();
    assert!(matches!(error, DiscoverError::NoRouteOnInterface { .. }), "{error:?}");
    assert_eq!(
        error.to_string(),
        "no IPv4 default route through eth1 in the routing table (/proc/net/route): \
         give the gateway's address, or another interface"
    );
}

#[test]
fn an_unreadable_table_keeps_the_reason() {
    let error = DiscoverError::Unreadable(io::ErrorKind::PermissionDenied.into());
    assert!(error.to_string().contains("permission denied"), "{error}");
    assert!(error.source().is_some());
}

#[test]
fn malformed_lines_are_passed_over_and_the_rest_is_read() {
    let good = default_via("eth0", "192.168.1.1", 100);
    for malformed in [
        "",
        "\n",
        "eth0\n",
        "eth0\t00000000\n",
        "eth0\t00000000\t0101A8C0\t0003\t0\t0\n",
        "eth0\t00000000\t0101A8C0\t0003\t0\t0\t0\n",
        "eth0\t0000000\t0101A8C0\t0003\t0\t0\t0\t00000000\n",
        "eth0\t00000000\t0101A8C0FF\t0003\t0\t0\t0\t00000000\n",
        "eth0\t00000000\tGGGGGGGG\t0003\t0\t0\t0\t00000000\n",
        "eth0\t00000000\t0101A8C0\tXXXX\t0\t0\t0\t00000000\n",
        "eth0\t00000000\t0101A8C0\t0003\t0\t0\t99999999999\t00000000\n",
        "eth0\t00000000\t0101A8C0\t0003\t0\t0\t-1\t00000000\n",
        "\u{e9}th\u{f8}\t\u{e9}\u{e9}\u{e9}\u{e9}\t0101A8C0\t0003\t0\t0\t0\t00000000\n",
    ] {
        let table = format!("{malformed}{good}{malformed}");
        let only =
            DefaultRoute { interface: "eth0".to_owned(), gateway: Some(Ipv4Addr::new(192, 168, 1, 1)), metric: 100 };
        assert_eq!(default_routes(&table), [only], "{malformed:?}");
    }
}

#[test]
fn a_table_cut_anywhere_gives_at_most_its_own_route() {
    let table = format!("{HEADING}{}", default_via("eth0", "192.168.1.1", 100));
    for end in 0..=table.len() {
        let cut = default_routes(&table[..end]);
        assert!(cut.len() <= 1, "{end}: {cut:?}");
        for route in cut {
            assert_eq!(route.gateway, Some(Ipv4Addr::new(192, 168, 1, 1)), "{end}");
        }
    }
}

#[test]
fn interfaces_are_listed_without_the_heading() {
    let devices = "\
Inter-|   Receive                            |  Transmit
 face |bytes    packets errs drop fifo frame |bytes    packets errs drop
    lo: 1804360    1712    0    0    0     0  1804360    1712    0    0
  eth0:123456789 12345    0    0    0     0 12345678    1234    0    0
";
    assert_eq!(interfaces(devices), ["lo", "eth0"]);
}

#[test]
fn the_tables_of_this_host_are_read_without_error() {
    let routes = super::linux::read().unwrap();
    assert!(routes.interfaces.iter().any(|name| name == "lo"), "{routes:?}");
}

#[test]
fn an_interface_that_this_host_does_not_have_is_not_found() {
    let error = super::discover_gateway_on("no-such-interface").unwrap_err();
    assert!(matches!(error, DiscoverError::NoSuchInterface { .. }), "{error:?}");
}
