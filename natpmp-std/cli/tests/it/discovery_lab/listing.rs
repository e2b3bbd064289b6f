//! `natpmp gateway` and `natpmp gateway --all`.

use natpmp_lab::{Finished, Host, Lab, Value};

use super::{NATPMP, SOON, ip, network, two_networks};

#[test]
fn all_gateways_are_listed_as_a_table() {
    let Some(lab) = two_networks() else { return };
    let client = lab.client();
    network(client, "ppp0", "10.7.0.2/32");
    ip(client, "route add default dev ppp0 metric 1000");
    let finished = natpmp(client, &["--all"]);
    assert_eq!(finished.code, Some(0), "{finished}");
    assert_eq!(
        finished.stdout,
        [
            "gateway      interface  metric",
            "192.168.1.1  eth0       0       chosen: the kernel's route to the internet",
            "10.0.0.1     wlan0      600     a route with a lower metric comes first",
            "-            ppp0       1000    no gateway address: point-to-point link",
        ],
        "{finished}"
    );
}

#[test]
fn all_gateways_are_listed_one_json_object_a_line() {
    let Some(lab) = two_networks() else { return };
    let client = lab.client();
    network(client, "ppp0", "10.7.0.2/32");
    ip(client, "route add default dev ppp0 metric 1000");
    let finished = natpmp(client, &["--all", "--json"]);
    assert_eq!(finished.code, Some(0), "{finished}");
    let lines: Vec<Value> = finished.events("gateway").collect();
    assert_eq!((lines.len(), finished.stdout.len()), (3, 3), "{finished}");
    let fields = |line: &Value| {
        ["gateway", "interface", "metric", "table", "chosen", "reason"].map(|name| line[name].to_string()).join(" ")
    };
    assert_eq!(
        lines.iter().map(fields).collect::<Vec<_>>(),
        [
            r#""192.168.1.1:5351" "eth0" 0 254 true "the kernel's route to the internet""#,
            r#""10.0.0.1:5351" "wlan0" 600 254 false "a route with a lower metric comes first""#,
            r#"null "ppp0" 1000 254 false "no gateway address: point-to-point link""#,
        ]
    );
}

#[test]
fn with_an_interface_only_its_gateways_are_listed() {
    let Some(lab) = two_networks() else { return };
    let finished = natpmp(lab.client(), &["--all", "--interface", "wlan0"]);
    assert_eq!(finished.code, Some(0), "{finished}");
    assert!(finished.stdout.len() == 2 && finished.stdout[1].starts_with("10.0.0.1  wlan0"), "{finished}");
}

#[test]
fn where_there_is_none_the_exit_code_says_so() {
    let Some(lab) = Lab::or_skip() else { return };
    let client = lab.client();
    let none = |arguments: &[&str], lines: usize, words: &str| {
        let finished = natpmp(client, arguments);
        assert_eq!((finished.code, finished.stdout.len()), (Some(8), lines), "{arguments:?} {finished}");
        assert!(finished.stderr.join("\n").contains(words), "{words}: {finished}");
    };
    none(&["--all", "--interface", "lo"], 0, "192.168.1.1 through eth0");
    none(&["--all", "--interface", "eth7"], 0, "no network interface is named");
    ip(client, "route delete default");
    none(&["--all"], 0, "no IPv4 default route leads to the internet");
    let failed = natpmp(client, &["--all", "--json"]);
    assert!(failed.code == Some(8) && failed.event("failed")["error"].is_string(), "{failed}");

    ip(client, "route add default dev eth0");
    none(&["--all"], 2, "names no gateway");
    none(&[], 0, "names no gateway");
}

#[test]
fn a_gateway_that_is_given_leaves_nothing_to_list() {
    let Some(lab) = Lab::or_skip() else { return };
    let finished = natpmp(lab.client(), &["--all", "--gateway", "192.168.1.1"]);
    assert_eq!(finished.code, Some(2), "{finished}");
}

#[test]
fn the_gateway_of_a_vpn_is_the_one_that_is_printed() {
    let Some(lab) = two_networks() else { return };
    let client = lab.client();
    assert_eq!(natpmp(client, &[]).stdout, ["192.168.1.1"]);
    assert_eq!(natpmp(client, &["--interface", "wlan0"]).stdout, ["10.0.0.1"]);
    ip(client, "route add 0.0.0.0/1 via 10.0.0.1");
    ip(client, "route add 128.0.0.0/1 via 10.0.0.1");
    assert_eq!(natpmp(client, &[]).stdout, ["10.0.0.1"]);
    assert_eq!(natpmp(client, &["--json"]).stdout, [r#"{"event":"gateway","gateway":"10.0.0.1:5351"}"#]);
}

fn natpmp(host: &Host, arguments: &[&str]) -> Finished {
    let arguments: Vec<&str> = ["gateway"].into_iter().chain(arguments.iter().copied()).collect();
    host.spawn(NATPMP, &arguments).finish(SOON)
}
