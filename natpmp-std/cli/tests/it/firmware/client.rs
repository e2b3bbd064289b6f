//! The client's firmware behind the real `miniupnpd`. `client-dhcp` asks for leases of 4 s, `client-static` for 7200 s.

use std::time::Duration;

use natpmp_lab::{Lab, Protocol, Running, back_within, wait_until};

use super::SOON;
use super::dhcp::{Dhcp, Offer};
use super::machine::{Firmware, replace};

#[test]
fn firmware_takes_an_address_and_a_port_and_answers_the_internet() {
    let Some((firmware, lab)) = Firmware::with_lab_or_skip(&[]) else { return };
    let _gateway = lab.miniupnpd().start();
    replace(lab.client());
    let _dhcp = Dhcp::start(lab.router().host(), offer(&lab, 7_200));
    let mut board = firmware.boot("client-dhcp", lab.client());
    board.line(SOON, said("address: 192.168.1.11/24"));
    board.line(SOON, said("external address: 11.22.33.44 (public)"));
    let mapped = board.line(SOON, said("mapped: udp 4000 is open on port 4000 for 4 s"));
    println!("{mapped}: the time since boot, at the board's own clock");
    assert!(lab.leads_to_client(Protocol::Udp, 4000));
    board.line(SOON, said("answered: 11.22.33.1:"));
}

/// C09, C18, C19: the lease is long and the epoch does not tell, so that the announcement alone does.
#[test]
fn firmware_hears_that_the_gateway_has_restarted() {
    let Some((firmware, lab)) = Firmware::with_lab_or_skip(&[]) else { return };
    let mut gateway = lab.miniupnpd().system_uptime(true).start();
    replace(lab.client());
    let mut board = firmware.boot("client-static", lab.client());
    open(&lab, &mut board);
    gateway.stop();
    lab.router().forget_mappings();
    assert!(!lab.leads_to_client(Protocol::Udp, 4000));
    let is_back = || lab.leads_to_client(Protocol::Udp, 4000);
    back_within(SOON, "firmware, a gateway that restarted", || gateway.start(), is_back);
}

/// C04: nobody listens on the port for a while, and the kernel of the router says so.
#[test]
fn firmware_is_told_port_unreachable_and_finds_the_gateway_again() {
    let Some((firmware, lab)) = Firmware::with_lab_or_skip(&[]) else { return };
    let mut gateway = lab.miniupnpd().start();
    replace(lab.client());
    let _dhcp = Dhcp::start(lab.router().host(), offer(&lab, 7_200));
    let mut board = firmware.boot("client-dhcp", lab.client());
    open(&lab, &mut board);
    gateway.crash();
    lab.router().forget_mappings();
    board.line(SOON, |line| line.contains("failed: udp 4000:") && line.contains("port unreachable"));
    board.line(SOON, said("lost: udp 4000: Expired"));
    let is_back = || lab.leads_to_client(Protocol::Udp, 4000);
    back_within(SOON, "firmware, a gateway that was gone", || gateway.start(), is_back);
}

/// C03, C25: a router that drops everything, and then does not.
#[test]
fn firmware_outlives_the_silence_of_the_gateway() {
    let Some((firmware, lab)) = Firmware::with_lab_or_skip(&[]) else { return };
    let _gateway = lab.miniupnpd().start();
    replace(lab.client());
    let _dhcp = Dhcp::start(lab.router().host(), offer(&lab, 7_200));
    let mut board = firmware.boot("client-dhcp", lab.client());
    open(&lab, &mut board);
    lab.router().drop_requests();
    board.line(SOON, said("failed: udp 4000: the gateway does not answer"));
    let mend = || lab.router().let_requests_through();
    let is_back = || lab.leads_to_client(Protocol::Udp, 4000);
    back_within(SOON, "firmware, a gateway that was silent", mend, is_back);
    board.line(SOON, said("mapped: udp 4000"));
}

/// Not even ARP is answered: what could not leave is replaced by what is asked now, and does not come as a burst when the cable is there.
#[test]
fn firmware_whose_cable_is_plugged_in_late_asks_for_what_it_wants_by_then() {
    let Some((firmware, lab)) = Firmware::with_lab_or_skip(&[]) else { return };
    let _gateway = lab.miniupnpd().start();
    replace(lab.client());
    lab.client().ip(&["link", "set", "eth0", "down"]);
    let mut board = firmware.boot("client-static", lab.client());
    board.line(SOON, said("external address: none: the gateway does not answer"));
    // After a pause of 2 s at most it is the mapping's turn.
    let since = board.age();
    assert!(wait_until(SOON, || board.age() > since + Duration::from_secs(3)));
    // Questions that come before any request to map.
    lab.router().nft(
        "table inet order {
            counter early { }
            set mapping { type ipv4_addr; flags dynamic; }
            chain input {
                type filter hook input priority -20; policy accept;
                iifname \"lan0\" udp dport 5351 jump requests
            }
            chain requests {
                @th,72,8 1 add @mapping { ip saddr } return
                ip saddr @mapping return
                counter name early
            }
         }",
    );
    let mend = || lab.client().ip(&["link", "set", "eth0", "up"]);
    let is_back = || lab.router().mappings().len() == 1;
    back_within(SOON, "firmware, a cable that was plugged in late", mend, is_back);
    board.line(SOON, said("mapped: udp 4000"));
    board.line(SOON, said("external address: 11.22.33.44"));
    let rules = lab.router().rules();
    let (_, early) = rules.split_once("counter early {").expect("it is listed");
    assert!(early.trim_start().starts_with("packets 0 "), "what could not leave came after all: {early}");
    assert!(lab.leads_to_client(Protocol::Udp, 4000));
}

/// Clients that come back together after a power failure must not ask in step.
#[test]
fn no_two_boots_of_the_firmware_have_the_same_seed() {
    let Some((firmware, _lab)) = Firmware::with_lab_or_skip(&[]) else { return };
    let seed = || {
        let line = firmware.boot_alone("client-static").line(SOON, |line| line.contains("seed: "));
        line.split_once("seed: ").unwrap().1.to_owned()
    };
    assert_ne!(seed(), seed());
}

/// Waits until the board's port is open and answers.
pub(crate) fn open(lab: &Lab, board: &mut Running) {
    board.line(SOON, said("mapped: udp 4000"));
    assert!(wait_until(SOON, || lab.leads_to_client(Protocol::Udp, 4000)));
}

pub(crate) fn said(what: &str) -> impl Fn(&str) -> bool {
    move |line| line.contains(what)
}

/// The client's place in the lab, by DHCP.
pub(crate) fn offer(lab: &Lab, lease: u32) -> Offer {
    Offer { address: lab.client().address(), router: lab.router().host().address(), lease, is_silent: false }
}
