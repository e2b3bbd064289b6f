//! The subcommands that do one thing and end.

use std::time::Duration;

use natpmp_lab::{Lab, Protocol, echo, wait_until};

use super::{NATPMP, SOON, natpmp, succeed};

#[test]
fn gateway_tells_the_default_gateway_and_asks_nobody() {
    let Some(lab) = Lab::or_skip() else { return };
    assert_eq!(succeed(lab.client(), &["gateway"]).event("gateway")["gateway"], "192.168.1.1:5351");
    let plain = lab.client().spawn(NATPMP, &["gateway"]).finish(SOON);
    assert_eq!(plain.code, Some(0), "{plain}");
    assert!(plain.stdout.iter().any(|line| line.contains("192.168.1.1")), "{plain}");
}

#[test]
fn external_address_tells_the_routers_address_as_it_is_now() {
    let Some(lab) = Lab::or_skip() else { return };
    let _gateway = lab.miniupnpd().start();
    for address in [lab.external_address(), "11.99.0.7".parse().unwrap()] {
        lab.router().change_external_address(address);
        let reported = succeed(lab.client(), &["external-address"]).event("external-address");
        assert_eq!(reported["external_address"], address.to_string());
        assert_eq!(reported["gateway"], "192.168.1.1:5351");
        let plain = lab.client().spawn(NATPMP, &["external-address"]).finish(SOON);
        assert!(plain.stdout.iter().any(|line| line.contains(&address.to_string())), "{plain}");
    }
}

/// C01, C14: a mapping lets packets through, its deletion closes it to new flows, and the other protocol has no part in either.
#[test]
fn a_packet_from_the_internet_reaches_the_client_from_map_to_unmap() {
    let Some(lab) = Lab::or_skip() else { return };
    let _gateway = lab.miniupnpd().start();
    let _echoes = [Protocol::Udp, Protocol::Tcp].map(|protocol| echo(lab.client(), protocol, 4000));
    for (protocol, name, other) in [(Protocol::Udp, "udp", Protocol::Tcp), (Protocol::Tcp, "tcp", Protocol::Udp)] {
        assert!(!lab.leads_to_client(protocol, 4000), "closed before it is mapped");

        let mapped = succeed(lab.client(), &["map", name, "4000", "--lifetime", "600"]).event("mapped");
        assert_eq!(mapped["protocol"], name);
        assert_eq!(mapped["internal_port"], 4000);
        assert_eq!(mapped["external_port"], 4000, "the internal port is suggested by default");
        assert_eq!(mapped["lifetime"], 600);
        assert_eq!(mapped["gateway"], "192.168.1.1:5351");
        assert!(lab.leads_to_client(protocol, 4000));
        assert!(!lab.leads_to_client(other, 4000));

        let unmapped = succeed(lab.client(), &["unmap", name, "4000"]).event("unmapped");
        assert_eq!((&unmapped["protocol"], &unmapped["internal_port"]), (&name.into(), &4000.into()));
        assert!(!lab.leads_to_client(protocol, 4000), "closed after it is deleted");
    }
}

#[test]
fn another_external_port_can_be_asked_for_and_one_that_is_taken_brings_the_next() {
    let Some(lab) = Lab::or_skip_with(2, &[]) else {
        return;
    };
    let _gateway = lab.miniupnpd().start();
    let _echo = echo(lab.client(), Protocol::Udp, 4000);
    let ask = ["map", "udp", "4000", "--external", "5000"];
    assert_eq!(succeed(lab.client(), &ask).event("mapped")["external_port"], 5000);
    assert!(lab.leads_to_client(Protocol::Udp, 5000));
    assert_ne!(succeed(&lab.clients()[1], &ask).event("mapped")["external_port"], 5000);
    assert!(lab.leads_to_client(Protocol::Udp, 5000), "the first holder keeps it");
}

#[test]
fn both_maps_the_same_external_port_for_udp_and_tcp() {
    let Some(lab) = Lab::or_skip() else { return };
    let _gateway = lab.miniupnpd().start();
    let protocols = [Protocol::Udp, Protocol::Tcp];
    let _echoes = protocols.map(|protocol| echo(lab.client(), protocol, 4000));
    let mapped = succeed(lab.client(), &["map", "both", "4000", "--external", "5000"]);
    let reported: Vec<_> =
        mapped.events("mapped").map(|event| (event["protocol"].clone(), event["external_port"].clone())).collect();
    assert_eq!(reported.len(), 2, "{mapped}");
    assert!(
        reported.contains(&("udp".into(), 5000.into())) && reported.contains(&("tcp".into(), 5000.into())),
        "{mapped}"
    );
    assert!(protocols.iter().all(|&protocol| lab.leads_to_client(protocol, 5000)));

    succeed(lab.client(), &["unmap", "both", "4000"]);
    assert_eq!(lab.router().mappings(), Vec::<String>::new());
}

/// C14: all mappings of the protocol go, and those of another client stay.
#[test]
fn unmap_all_removes_what_this_client_mapped_and_nothing_of_another() {
    let Some(lab) = Lab::or_skip_with(2, &[]) else {
        return;
    };
    let _gateway = lab.miniupnpd().start();
    for port in ["4000", "4001", "4002"] {
        succeed(lab.client(), &["map", "tcp", port]);
    }
    succeed(&lab.clients()[1], &["map", "tcp", "5000"]);
    assert_eq!(lab.router().mappings().len(), 4);
    assert_eq!(succeed(lab.client(), &["unmap-all", "tcp"]).event("unmapped-all")["protocol"], "tcp");
    let left = lab.router().mappings();
    assert!(left.len() == 1 && left[0].contains("5000"), "{left:?}");
}

#[test]
fn unmapping_what_was_never_mapped_is_done_already() {
    let Some(lab) = Lab::or_skip() else { return };
    let _gateway = lab.miniupnpd().start();
    succeed(lab.client(), &["unmap", "udp", "4000"]);
    succeed(lab.client(), &["unmap-all", "udp"]);
}

#[test]
fn a_lease_that_nobody_renews_ends_by_itself() {
    let Some(lab) = Lab::or_skip() else { return };
    let _gateway = lab.miniupnpd().start();
    let _echo = echo(lab.client(), Protocol::Udp, 4000);
    succeed(lab.client(), &["map", "udp", "4000", "--lifetime", "2"]);
    assert!(lab.leads_to_client(Protocol::Udp, 4000));
    assert!(wait_until(Duration::from_secs(8), || lab.router().mappings().is_empty()));
    assert!(!lab.leads_to_client(Protocol::Udp, 4000));
}

/// C03: what is lost is sent again after 250 ms.
#[test]
fn a_lost_request_costs_a_quarter_of_a_second() {
    let Some(lab) = Lab::or_skip() else { return };
    let _gateway = lab.miniupnpd().start();
    lab.router().lose_every_other_request();
    let mapped = natpmp(lab.client(), &["map", "udp", "4000"]);
    assert_eq!(mapped.code, Some(0), "{mapped}");
    assert!((Duration::from_millis(250)..Duration::from_secs(3)).contains(&mapped.took), "{mapped}");
}

#[test]
fn the_gateway_the_local_address_and_the_interface_can_be_given() {
    let Some(lab) = Lab::or_skip() else { return };
    let _gateway = lab.miniupnpd().start();
    // Nothing is left for discovery to find.
    lab.client().ip(&["route", "delete", "default"]);
    let address = lab.client().address().to_string();
    for given in [
        vec!["--gateway", "192.168.1.1"],
        vec!["--gateway", "192.168.1.1:5351"],
        vec!["--gateway", "192.168.1.1", "--bind", &address],
        vec!["--gateway", "192.168.1.1", "--interface", "eth0"],
    ] {
        let arguments: Vec<&str> = ["external-address"].into_iter().chain(given).collect();
        assert_eq!(succeed(lab.client(), &arguments).event("external-address")["gateway"], "192.168.1.1:5351");
    }
}
