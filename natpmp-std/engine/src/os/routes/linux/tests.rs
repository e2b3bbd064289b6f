//! The main table as text, and that both ways of reading it agree.

use std::net::Ipv4Addr;

use natpmp_lab::Lab;

use super::super::choice::{Hop, Part, Route, RoutingTables};
use super::super::{DiscoverError, FoundGateway};
use super::{from_proc, interfaces, is_on_link_by_proc, read_netlink, read_proc};

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

fn halves_via(interface: &str, gateway: &str) -> [String; 2] {
    ["0.0.0.0", "128.0.0.0"].map(|half| line(interface, half, gateway, 0x3, 0, "128.0.0.0"))
}

fn subnet(interface: &str) -> String {
    line(interface, "192.168.1.0", "0.0.0.0", 0x1, 100, "255.255.255.0")
}

fn routes(lines: &[String]) -> RoutingTables {
    let devices = ["lo", "eth0", "wlan0", "ppp0", "tun0"].map(|name| format!("{name}: 0 0\n"));
    from_proc(&format!("{HEADING}{}", lines.concat()), &devices.concat())
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
    assert_eq!(from_proc(text, "").gateway(None).unwrap(), found("192.168.2.1", "eth0"));
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
    assert_eq!(routes.routes[0].metric, Some(u32::MAX));
    assert_eq!(routes.gateway(None).unwrap(), found("192.168.1.1", "eth0"));
}

#[test]
fn halves_of_the_addresses_win_over_the_default_route() {
    let [lower, upper] = halves_via("tun0", "10.8.0.1");
    let eth0 = default_via("eth0", "192.168.1.1", 0);
    assert_eq!(routes(&[lower.clone(), upper.clone()]).gateway(None).unwrap(), found("10.8.0.1", "tun0"));
    let shadowed = routes(&[lower, eth0, upper]);
    assert_eq!(shadowed.clone().gateway(None).unwrap(), found("10.8.0.1", "tun0"));
    assert_eq!(shadowed.gateway(Some("eth0")).unwrap(), found("192.168.1.1", "eth0"));
}

#[test]
fn one_half_alone_is_not_taken_for_the_default_route() {
    for half in halves_via("tun0", "10.8.0.1") {
        let routes = routes(&[half, default_via("eth0", "192.168.1.1", 100)]);
        assert_eq!(routes.gateway(None).unwrap(), found("192.168.1.1", "eth0"));
    }
}

#[test]
fn longer_prefixes_to_the_whole_internet_are_followed() {
    let lines: Vec<String> =
        (0..8).map(|n| line("tun0", &format!("{}.0.0.0", n * 32), "10.8.0.1", 0x3, 0, "224.0.0.0")).collect();
    let lines = [lines, vec![default_via("eth0", "192.168.1.1", 100)]].concat();
    assert_eq!(routes(&lines).gateway(None).unwrap(), found("10.8.0.1", "tun0"));
    assert_eq!(routes(&lines).gateway(Some("tun0")).unwrap(), found("10.8.0.1", "tun0"));
}

#[test]
fn a_mask_of_zero_with_a_destination_is_not_the_default_route() {
    let odd = line("eth0", "10.0.0.0", "192.168.1.1", 0x3, 0, "0.0.0.0");
    assert!(routes(&[odd]).routes.is_empty());
}

#[test]
fn a_route_that_is_down_is_passed_over() {
    let down = line("eth0", "0.0.0.0", "192.168.1.1", 0x2, 0, "0.0.0.0");
    let routes = routes(&[down, default_via("wlan0", "10.0.0.1", 600)]);
    assert_eq!(routes.routes.len(), 1);
    assert_eq!(routes.gateway(None).unwrap(), found("10.0.0.1", "wlan0"));
}

/// The kernel would reject packets; only some of these routes have the flag for it.
#[test]
fn a_route_that_rejects_leads_nowhere_if_it_comes_first() {
    for flags in [0x201, 0x1] {
        let reject = |metric| line("*", "0.0.0.0", "0.0.0.0", flags, metric, "0.0.0.0");
        let first = routes(&[reject(0), default_via("eth0", "192.168.1.1", 100)]);
        assert_eq!(first.routes.len(), 1);
        assert!(matches!(first.gateway(None), Err(DiscoverError::NoDefaultRoute)));
        let last = routes(&[default_via("eth0", "192.168.1.1", 100), reject(9001)]);
        assert_eq!(last.gateway(None).unwrap(), found("192.168.1.1", "eth0"));
    }
}

#[test]
fn a_gateway_is_only_one_with_its_flag_and_its_address() {
    let no_flag = line("ppp0", "0.0.0.0", "192.168.1.1", 0x1, 0, "0.0.0.0");
    let no_address = line("ppp0", "0.0.0.0", "0.0.0.0", 0x3, 1, "0.0.0.0");
    for route in routes(&[no_flag, no_address]).routes {
        assert_eq!(route.hops[0].gateway, None);
    }
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
        let hop = Hop { interface: "eth0".to_owned(), gateway: Some(Ipv4Addr::new(192, 168, 1, 1)), is_up: true };
        let only = Route { part: Part::All, table: Some(254), metric: Some(100), hops: vec![hop] };
        let table = format!("{malformed}{good}{malformed}");
        assert_eq!(from_proc(&table, "").routes, [only], "{malformed:?}");
    }
}

#[test]
fn a_table_cut_anywhere_gives_at_most_its_own_route() {
    let table = format!("{HEADING}{}", default_via("eth0", "192.168.1.1", 100));
    for end in 0..=table.len() {
        let cut = from_proc(&table[..end], "").routes;
        assert!(cut.len() <= 1, "{end}: {cut:?}");
        for route in cut {
            assert_eq!(route.hops[0].gateway, Some(Ipv4Addr::new(192, 168, 1, 1)), "{end}");
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
    let routes = super::read().unwrap();
    assert!(routes.interfaces.iter().any(|name| name == "lo"), "{routes:?}");
}

#[test]
fn an_interface_that_this_host_does_not_have_is_not_found() {
    let error = crate::os::routes::discover_gateway_on("no-such-interface").unwrap_err();
    assert!(matches!(error, DiscoverError::NoSuchInterface { .. }), "{error:?}");
}

/// As far as the main table decides.
#[test]
fn the_text_of_the_table_leads_to_the_same_choice_as_the_kernel_itself() {
    let Some(lab) = Lab::or_skip() else { return };
    let client = lab.client();
    let agree = |step: &str| {
        let (asked, read) = client.within(|| (read_netlink().unwrap(), read_proc().unwrap()));
        assert_eq!(asked.ways, read.ways, "{step}");
        assert_eq!(asked.candidates(), read.candidates(), "{step}");
        assert_eq!(asked.interfaces, read.interfaces, "{step}");
        client.within(|| {
            [[192, 168, 1, 7], [11, 22, 33, 1], [127, 0, 0, 1], [10, 99, 0, 1]]
                .map(|octets| is_on_link_by_proc(octets.into()).unwrap())
        })
    };
    assert_eq!(agree("the lab as it is"), [true, false, false, false]);
    client.ip(&["route", "add", "10.99.0.0/16", "dev", "eth0"]);
    assert_eq!(agree("one more subnet"), [true, false, false, true]);
    client.ip(&["route", "replace", "10.99.0.0/16", "dev", "lo"]);
    assert_eq!(agree("nowhere but here"), [true, false, false, false]);
    for (step, route) in [
        ("a second default route", "add default via 192.168.1.5 metric 300"),
        ("one of a better metric is not there", "add default via 192.168.1.6 metric 200"),
        ("one half", "add 0.0.0.0/1 via 192.168.1.7"),
        ("both halves", "add 128.0.0.0/1 via 192.168.1.7"),
        ("one half rejected", "add unreachable 128.0.0.0/1 metric 5"),
        ("more than that", "add blackhole 198.0.0.0/8"),
        ("and the other half", "add prohibit 62.0.0.0/8"),
    ] {
        let route: Vec<&str> = ["route"].into_iter().chain(route.split(' ')).collect();
        client.ip(&route);
        let _ = agree(step);
    }
    client.ip(&["route", "flush", "table", "main"]);
    assert_eq!(agree("none"), [false; 4]);
}
