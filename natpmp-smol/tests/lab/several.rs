//! Several gateways at once.

use natpmp_lab::{Lab, Protocol, echo};

use super::{SOON, start};

/// Both gateways have the same address, as home routers do: the interface alone tells them apart.
#[test]
fn one_program_keeps_a_mapping_on_each_of_two_gateways() {
    let Some(first) = Lab::or_skip() else { return };
    let Some(second) = Lab::or_skip() else { return };
    add_uplink(&first, &second);
    second.router().change_external_address([11, 99, 0, 7].into());
    let _gateways = [&first, &second].map(|lab| lab.miniupnpd().start());
    let _echo = echo(first.client(), Protocol::Tcp, 6881);

    let mut program = start(first.client(), "several_gateways", &["eth0", "eth1"]);
    let mut missing = vec![
        "eth0: the external address of 192.168.1.1:5351 is 11.22.33.44",
        "eth1: the external address of 192.168.1.1:5351 is 11.99.0.7",
        "eth0: tcp 6881 is open on port 6881",
        "eth1: tcp 6881 is open on port 6881",
    ];
    while !missing.is_empty() {
        let reported = program.line(SOON, |line| missing.contains(&line));
        missing.retain(|line| *line != reported);
    }
    for lab in [&first, &second] {
        assert_eq!(lab.router().mappings().len(), 1);
        assert!(lab.internet().reaches(Protocol::Tcp, (lab.external_address(), 6881)));
    }

    program.end_input();
    let finished = program.finish(SOON);
    assert_eq!(finished.code, Some(0), "{finished}");
    for lab in [&first, &second] {
        assert_eq!(lab.router().mappings(), Vec::<String>::new());
    }
}

#[test]
fn a_gateway_that_is_not_there_holds_up_nobody() {
    let Some(first) = Lab::or_skip() else { return };
    let Some(second) = Lab::or_skip() else { return };
    add_uplink(&first, &second);
    first.router().drop_requests();
    let _gateway = second.miniupnpd().start();
    let mut program = start(first.client(), "several_gateways", &["eth0", "eth1"]);
    program.line(SOON, |line| line == "eth1: tcp 6881 is open on port 6881");
}

/// A second way out for the client of the first lab: by `eth1`, through the router of the second.
fn add_uplink(first: &Lab, second: &Lab) {
    first.connect(second, "eth1", [192, 168, 1, 50].into());
    let client = first.client();
    client.ip(&["route", "add", "default", "via", "192.168.1.1", "dev", "eth1", "metric", "100"]);
    // What came in there is answered there.
    client.ip(&["route", "add", "default", "via", "192.168.1.1", "dev", "eth1", "table", "2"]);
    client.ip(&["rule", "add", "from", "192.168.1.50", "table", "2"]);
}
